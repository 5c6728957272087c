package form

import (
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/fleetune/fleetune/proto/task/internal/document"
)

// A Word is a text that may be written as a number or boolean too: what counts
// is how it is written.
type Word string

// BindNode reads a scalar as it is written.
func (w *Word) BindNode(b *document.Binder, n *document.Node, at string) {
	if !n.Scalar() {
		b.Mismatch(n, at, "a text")
		return
	}
	if strings.ContainsRune(n.Source, 0) {
		b.Fail(at, "holds a NUL byte, which no program can be given", "")
		return
	}
	*w = Word(n.Source)
}

// Texts is a list of texts, or a single one.
type Texts []string

// BindNode reads one text or a list of them.
func (t *Texts) BindNode(b *document.Binder, n *document.Node, at string) {
	if n.Kind == document.Text {
		*t = Texts{n.Source}
		return
	}
	if n.Kind != document.List {
		b.Mismatch(n, at, "a text or a list of texts")
		return
	}
	for i, item := range n.Items {
		var s string
		b.Bind(item, document.Item(at, i), &s)
		*t = append(*t, s)
	}
}

// Options are a sampler's settings, kept as JSON.
type Options map[string]json.RawMessage

// BindNode keeps whatever stands there.
func (o *Options) BindNode(b *document.Binder, n *document.Node, at string) {
	if n.Kind != document.Map {
		b.Mismatch(n, at, "a mapping of names to values")
		return
	}
	*o = Options{}
	for _, e := range n.Entries {
		data, err := e.Value.MarshalJSON()
		if err != nil {
			b.Fail(document.Join(at, e.Key), err.Error(), "a finite number")
			continue
		}
		(*o)[e.Key] = data
	}
}

// A Point gives parameters their values.
type Point map[string]any

// BindNode reads a mapping of names to scalars.
func (p *Point) BindNode(b *document.Binder, n *document.Node, at string) {
	if n.Kind != document.Map {
		b.Mismatch(n, at, "a mapping of parameters to values")
		return
	}
	*p = Point{}
	for _, e := range n.Entries {
		if !e.Value.Scalar() {
			b.Mismatch(e.Value, document.Join(at, e.Key), "a number, a text, true or false")
			continue
		}
		(*p)[e.Key] = e.Value.Value()
	}
}

// A Path is a relative, slash-separated path that stays in its folder.
type Path string

const maxPath = 255

// BindNode reads a path in its shortest form.
func (p *Path) BindNode(b *document.Binder, n *document.Node, at string) {
	var s string
	before := len(b.Problems)
	if b.Bind(n, at, &s); len(b.Problems) > before {
		return
	}
	if reason := confine(s); reason != "" {
		b.Add(document.Problem{Line: n.Line, Column: n.Column, Field: at,
			Message: "is " + n.Describe() + ", " + reason, Expected: "a path inside the folder, as in \"src/kernel.c\""})
		return
	}
	*p = Path(path.Clean(s))
}

// confine says why a path is none that could be used.
func confine(s string) string {
	switch {
	case strings.TrimSpace(s) == "":
		return "which names no file"
	case len(s) > maxPath:
		return fmt.Sprintf("which is longer than %d bytes", maxPath)
	case strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) >= 0:
		return "which holds a control character"
	case strings.Contains(s, `\`):
		return "which holds a backslash; folders are separated by /"
	case strings.HasPrefix(s, "/"):
		return "which is absolute"
	case strings.HasSuffix(s, "/"):
		return "which is a folder"
	}
	clean := path.Clean(s)
	if clean == ".." || strings.HasPrefix(clean, "../") {
		return "which leaves the folder"
	}
	if clean == "." {
		return "which is the folder itself"
	}
	return ""
}

// A VariableName names an environment variable.
type VariableName string

// BindNode reads and checks a variable's name.
func (v *VariableName) BindNode(b *document.Binder, n *document.Node, at string) {
	var s string
	before := len(b.Problems)
	if b.Bind(n, at, &s); len(b.Problems) > before {
		return
	}
	if reason := CheckVariable(s); reason != "" {
		b.Add(document.Problem{Line: n.Line, Column: n.Column, Field: at,
			Message: "is " + n.Describe() + ", " + reason, Expected: VariableExpected})
		return
	}
	*v = VariableName(s)
}

// VariableExpected says what a variable's name looks like.
const VariableExpected = "letters, digits and underscores, no digit first, as in OMP_NUM_THREADS"

var variablePattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)

// CheckVariable says why a name cannot be an environment variable's, or "".
func CheckVariable(name string) string {
	switch {
	case !variablePattern.MatchString(name):
		return "which is no name of a variable"
	case strings.HasPrefix(name, "EXP_"):
		return "which is Fleetune's own: names that start with EXP_ are set by the worker"
	}
	return ""
}
