package v1

import (
	"fmt"
	"strings"
)

// A Problem is how the API refuses: an RFC 9457 problem document, with the
// next step and, for a task file, every finding.
type Problem struct {
	Type   string    `json:"type" doc:"identifies the kind of problem" example:"about:blank"`
	Title  string    `json:"title"`
	Status int       `json:"status"`
	Detail string    `json:"detail" doc:"what went wrong this time"`
	Next   string    `json:"next" doc:"what to do about it"`
	Errors []Finding `json:"errors,omitempty" doc:"every single thing that is wrong"`
}

// A Finding is one thing that is wrong, or doubtful, in a request or task file.
type Finding struct {
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"`
	Column   int    `json:"column,omitempty"`
	Field    string `json:"field,omitempty" doc:"dotted path in the file or request"`
	Severity string `json:"severity" enum:"error,warning"`
	Message  string `json:"message"`
	Expected string `json:"expected,omitempty"`
	Nearest  string `json:"nearest,omitempty" doc:"the valid name that is nearest to what was given"`
}

// String writes a finding as compilers do: file:line:column: field: message.
func (f Finding) String() string {
	var b strings.Builder
	if f.File != "" {
		fmt.Fprintf(&b, "%s:", f.File)
		if f.Line > 0 {
			fmt.Fprintf(&b, "%d:%d:", f.Line, f.Column)
		}
		b.WriteByte(' ')
	}
	if f.Severity == "warning" {
		b.WriteString("warning: ")
	}
	if f.Field != "" {
		fmt.Fprintf(&b, "%s: ", f.Field)
	}
	b.WriteString(f.Message)
	if f.Expected != "" {
		fmt.Fprintf(&b, "; expected %s", f.Expected)
	}
	if f.Nearest != "" {
		fmt.Fprintf(&b, "; did you mean %q?", f.Nearest)
	}
	return b.String()
}

// Error is the detail with the next step behind it.
func (p *Problem) Error() string {
	if p.Next == "" {
		return p.Detail
	}
	return p.Detail + " (" + p.Next + ")"
}

// GetStatus is the HTTP status that the problem is sent with.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType turns JSON into the media type of problem documents.
func (p *Problem) ContentType(ct string) string {
	if ct == "application/json" {
		return "application/problem+json"
	}
	return ct
}
