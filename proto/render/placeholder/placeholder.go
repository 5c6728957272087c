// Package placeholder reads the {{NAME}} placeholders of a task's texts. It
// only finds them: what a name stands for, and how its value is written, is
// decided by package render. The task decoder uses it to check names early.
//
// The grammar is small on purpose, because templates are source code in any
// language and most double braces in them are not ours:
//
//	{{NAME}}            the value of NAME
//	{{NAME:-fallback}}  the same, or the fallback where NAME has no value
//	{{!NAME}}           the text {{NAME}} itself
//
// NAME starts with a letter or underscore and goes on with letters, digits,
// underscores, dots and dashes; blanks may stand around it. Whatever else
// follows two opening braces is text, so `{{1, 2}, {3, 4}}` needs no escape.
package placeholder

import (
	"regexp"
	"strings"
)

// Builtins are the names that a worker fills in at run time. Programs find
// them as environment variables too. They stand in argv and env only: a file
// is rendered before their values exist.
func Builtins() []string {
	return []string{
		"EXP_DEVICES",       // identifiers of the leased devices, separated by commas
		"EXP_DIR",           // the experiment's folder, where programs start
		"EXP_INPUT_DIR",     // where inputs writes and the others read
		"EXP_MIN_DURATION",  // how long to measure at least, in seconds
		"EXP_OUTPUT_DIR",    // where check and reference write their outputs
		"EXP_REFERENCE_DIR", // reference only: the same folder as EXP_OUTPUT_DIR
		"EXP_REPEATS",       // samples the result file must hold at least
		"EXP_RESULT_PATH",   // where run puts its result file, by rename
		"EXP_RUN_ID",        // what the result file must name as its run
		"EXP_SAMPLES_PATH",  // where run may tell its samples while it takes them
		"EXP_SEED",          // 1 to 2147483647, fresh for every set of inputs
		"EXP_WARMUPS",       // runs to throw away before the first sample
	}
}

// BuiltinsOf lists the builtins that have a value in a step: build, inputs,
// check, reference or run.
func BuiltinsOf(step string) []string {
	names := []string{"EXP_DIR", "EXP_RUN_ID"}
	if step == "build" {
		return names // it runs before there are devices or inputs
	}
	names = append(names, "EXP_DEVICES", "EXP_INPUT_DIR", "EXP_SEED")
	switch step {
	case "check":
		names = append(names, "EXP_OUTPUT_DIR")
	case "reference":
		names = append(names, "EXP_OUTPUT_DIR", "EXP_REFERENCE_DIR")
	case "run":
		names = append(names, "EXP_MIN_DURATION", "EXP_OUTPUT_DIR", "EXP_REPEATS",
			"EXP_RESULT_PATH", "EXP_SAMPLES_PATH", "EXP_WARMUPS")
	}
	return names
}

// A Segment is literal text, or a placeholder when Name is set.
type Segment struct {
	// Text is the literal, or the fallback of a placeholder that has one.
	Text string
	Name string
	// Fallback says that the placeholder has a fallback, which may be empty.
	Fallback bool
	// Offset of the segment in the template, in bytes.
	Offset int
}

var pattern = regexp.MustCompile(
	`\{\{[ \t]*(!?)([A-Za-z_][A-Za-z0-9_.\-]*?)(:-[^{}\n]*?)?[ \t]*\}\}`)

// Parse splits a template in one pass. Every text is a valid template.
func Parse(template string) []Segment {
	var out []Segment
	last := 0
	literal := func(text string, at int) {
		if text == "" {
			return
		}
		if n := len(out); n > 0 && out[n-1].Name == "" {
			out[n-1].Text += text
			return
		}
		out = append(out, Segment{Text: text, Offset: at})
	}
	for _, m := range pattern.FindAllStringSubmatchIndex(template, -1) {
		literal(template[last:m[0]], last)
		last = m[1]
		name := template[m[4]:m[5]]
		if m[3] > m[2] { // {{!NAME}}
			literal(strings.Replace(template[m[0]:m[1]], "!", "", 1), m[0])
			continue
		}
		s := Segment{Name: name, Offset: m[0]}
		if m[6] >= 0 {
			s.Fallback, s.Text = true, template[m[6]+len(":-"):m[7]]
		}
		out = append(out, s)
	}
	literal(template[last:], last)
	return out
}

// Names lists the names a template asks for, in order of first appearance.
func Names(template string) []string {
	var names []string
	seen := map[string]bool{}
	for _, s := range Parse(template) {
		if s.Name != "" && !seen[s.Name] {
			seen[s.Name] = true
			names = append(names, s.Name)
		}
	}
	return names
}
