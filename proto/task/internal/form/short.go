package form

import (
	"fmt"
	"strings"

	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task/internal/document"
)

// A File is a FileForm, or the name of a file that is copied.
type File FileForm

// BindNode reads a name or a mapping.
func (f *File) BindNode(b *document.Binder, n *document.Node, at string) {
	if n.Kind == document.Text {
		b.Bind(n, at, &f.Path)
		return
	}
	if n.Kind != document.Map {
		b.Mismatch(n, at, "the name of a file, or a mapping with path and source or content")
		return
	}
	b.Bind(n, at, (*FileForm)(f))
}

// maxArguments is also in the tag of StepForm.Argv.
const maxArguments = 4096

// A Step is a StepForm, or its argv alone.
type Step StepForm

// BindNode reads an argument list or a mapping.
func (s *Step) BindNode(b *document.Binder, n *document.Node, at string) {
	switch n.Kind {
	case document.List:
		if len(n.Items) > maxArguments {
			b.Fail(at, fmt.Sprintf("has %d arguments", len(n.Items)), fmt.Sprintf("at most %d", maxArguments))
			return
		}
		b.Bind(n, at, &s.Argv)
	case document.Map:
		b.Bind(n, at, (*StepForm)(s))
		if argv := n.Get("argv"); argv == nil || argv.Kind != document.List {
			return
		}
		at = document.Join(at, "argv")
	case document.Text:
		words := strings.Fields(n.Source)
		for i, w := range words {
			if strings.ContainsAny(w, "{}[],&*#?|<>=!%@`'\"") {
				words[i] = fmt.Sprintf("%q", w)
			}
		}
		b.Mismatch(n, at, "a list of arguments, since no shell reads them: ["+strings.Join(words, ", ")+"]")
		return
	default:
		b.Mismatch(n, at, "a list of arguments, or a mapping with argv and timeout")
		return
	}
	if len(s.Argv) == 0 || strings.TrimSpace(string(s.Argv[0])) == "" {
		b.Fail(at, "names no program", "the program and its arguments, as in [cc, -O2, kernel.c]")
	}
}

// An Objective is an ObjectiveForm, or "minimize_METRIC".
type Objective ObjectiveForm

// BindNode reads the short form or a mapping.
func (o *Objective) BindNode(b *document.Binder, n *document.Node, at string) {
	if n.Kind == document.Map {
		b.Bind(n, at, (*ObjectiveForm)(o))
		return
	}
	const expected = `"minimize_METRIC" or "maximize_METRIC", or a mapping with metric and direction`
	if n.Kind != document.Text {
		b.Mismatch(n, at, expected)
		return
	}
	direction, metric := n.Source, ""
	if i := strings.IndexAny(n.Source, "_ "); i >= 0 {
		direction, metric = n.Source[:i], strings.TrimSpace(n.Source[i+1:])
	}
	nearest := nearestDirection(direction)
	if nearest == direction && metric != "" && !strings.ContainsAny(metric, " \t\n") {
		o.Direction, o.Metric = direction, metric
		return
	}
	p := document.Problem{Line: n.Line, Column: n.Column, Field: at, Message: "is " + n.Describe(), Expected: expected}
	if nearest != "" && metric != "" {
		p.Nearest = nearest + "_" + strings.ReplaceAll(metric, " ", "_")
	}
	b.Add(p)
}

// nearestDirection also knows the usual abbreviations.
func nearestDirection(word string) string {
	word = strings.ToLower(word)
	for direction, others := range map[string][]string{"minimize": {"min", "minimise", "minimum"}, "maximize": {"max", "maximise", "maximum"}} {
		for _, o := range others {
			if word == o {
				return direction
			}
		}
	}
	return space.Nearest(word, []string{"minimize", "maximize"})
}

// An SLOMetric is an SLOMetricForm, or the threshold of the mean alone.
type SLOMetric SLOMetricForm

// BindNode reads a threshold or a mapping.
func (m *SLOMetric) BindNode(b *document.Binder, n *document.Node, at string) {
	if n := promise(b, n, at); n != nil {
		b.Bind(n, at, (*SLOMetricForm)(m))
	}
}

// An SLOTerm is an SLOTermForm, or its threshold alone.
type SLOTerm SLOTermForm

// BindNode reads a threshold or a mapping.
func (t *SLOTerm) BindNode(b *document.Binder, n *document.Node, at string) {
	if n := promise(b, n, at); n != nil {
		b.Bind(n, at, (*SLOTermForm)(t))
	}
}

// promise is the mapping that a promise stands for; nil where it is neither
// that nor a threshold.
func promise(b *document.Binder, n *document.Node, at string) *document.Node {
	_, number := n.Number()
	switch {
	case n.Kind == document.Map:
		return n
	case number || n.Kind == document.Text:
		return &document.Node{Kind: document.Map, Line: n.Line, Column: n.Column,
			Entries: []document.Entry{{Key: "threshold", Line: n.Line, Column: n.Column, Value: n}}}
	}
	b.Mismatch(n, at, `a threshold, as in 0.5 or "500ms", or a mapping with threshold and weight`)
	return nil
}

// Conditions say when parameters exist, in the order of the file.
type Conditions []PlacedCondition

// A PlacedCondition knows where its expression stands in the file.
type PlacedCondition struct {
	Condition
	Path string
}

// A Condition says when a parameter exists.
type Condition struct {
	// The parameter that does not always exist.
	Parameter string `json:"parameter" expected:"the name of a parameter"`
	// A boolean expression over parameters that stand before it.
	When string `json:"when" expected:"a boolean expression, as in algo == 'tiled'"`
}

// BindNode reads a mapping of parameters to expressions, or a list.
func (c *Conditions) BindNode(b *document.Binder, n *document.Node, at string) {
	switch n.Kind {
	case document.Map:
		for _, e := range n.Entries {
			p := PlacedCondition{Condition: Condition{Parameter: e.Key}, Path: document.Join(at, e.Key)}
			b.Bind(e.Value, p.Path, &p.When)
			*c = append(*c, p)
		}
	case document.List:
		for i, item := range n.Items {
			p := PlacedCondition{Path: document.Join(document.Item(at, i), "when")}
			b.Bind(item, document.Item(at, i), &p.Condition)
			*c = append(*c, p)
		}
	default:
		b.Mismatch(n, at, "a mapping of parameters to expressions, as in {tile: algo == 'tiled'}")
	}
}
