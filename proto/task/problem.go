package task

import (
	"fmt"
	"strings"

	"github.com/fleetune/fleetune/proto/task/internal/document"
)

// Severity says how bad a problem is.
type Severity string

// The severities. A task with an error is refused; a warning is likely to be a
// mistake, but the task means something without it.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// A Problem is one mistake in a task file.
type Problem struct {
	File string `json:"file"`
	// Line and Column count from 1; the column counts letters.
	Line   int `json:"line"`
	Column int `json:"column"`
	// Field is the dotted path of the value, empty for the file as a whole.
	Field    string   `json:"field,omitempty"`
	Severity Severity `json:"severity"`
	// Message says what is wrong, Expected what would be right, and Nearest
	// what was probably meant.
	Message  string `json:"message"`
	Expected string `json:"expected,omitempty"`
	Nearest  string `json:"nearest,omitempty"`
}

// String is one line, in the form that editors and terminals make clickable.
func (p Problem) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d:%d: ", p.File, p.Line, p.Column)
	if p.Severity == Warning {
		b.WriteString("warning: ")
	}
	if p.Field != "" {
		b.WriteString(p.Field + ": ")
	}
	b.WriteString(p.Message)
	if p.Expected != "" {
		b.WriteString("; expected " + p.Expected)
	}
	if p.Nearest != "" {
		fmt.Fprintf(&b, "; did you mean %q?", p.Nearest)
	}
	return b.String()
}

func problemsOf(file string, found []document.Problem) []Problem {
	found = found[:min(len(found), document.MaxProblems)]
	problems := make([]Problem, 0, len(found))
	for _, p := range found {
		severity := Error
		if p.Warning {
			severity = Warning
		}
		problems = append(problems, Problem{File: file, Line: p.Line, Column: p.Column, Field: p.Field,
			Severity: severity, Message: p.Message, Expected: p.Expected, Nearest: p.Nearest})
	}
	return problems
}
