package form

import (
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task/internal/document"
)

// Parameters are what may vary, in the order of the file.
type Parameters []space.Parameter

// A ParameterForm is a parameter written as a mapping.
type ParameterForm struct {
	// What kind of values the parameter takes; categorical is another word
	// for choice.
	Type string `json:"type" jsonschema:"enum=choice,enum=integer,enum=continuous,enum=boolean,enum=categorical" expected:"\"choice\", \"integer\", \"continuous\" or \"boolean\""`
	// The values of a choice, in order.
	Values []Value `json:"values,omitempty"`
	// Another word for values.
	Choices []Value `json:"choices,omitempty"`
	// The lowest value of an integer or continuous parameter.
	Low *float64 `json:"low,omitempty"`
	// The highest value, included.
	High *float64 `json:"high,omitempty"`
	// Values are low, low + step, low + 2*step and so on.
	Step float64 `json:"step,omitempty"`
	// Ratios matter, not differences; low must be above 0.
	Log bool `json:"log,omitempty" jsonschema:"default=false"`
}

// A Value is a number, a text or a boolean.
type Value struct{ V any }

// BindNode reads a scalar.
func (v *Value) BindNode(b *document.Binder, n *document.Node, at string) {
	if v.V = n.Value(); v.V == nil {
		b.Mismatch(n, at, "a number, a text, true or false")
		return
	}
	if _, finite := n.Number(); n.Kind == document.Float && !finite {
		b.Mismatch(n, at, "a finite number")
	}
}

// BindsNull lets empty parameters be reported instead of being skipped.
func (p *Parameters) BindsNull() {}

// BindNode reads every form of a parameter. An empty list drops its parameter
// with a warning.
func (p *Parameters) BindNode(b *document.Binder, n *document.Node, at string) {
	if n.Kind != document.Map {
		b.Mismatch(n, at, "a mapping of names to what they may be, as in {tile: [8, 16, 32]}")
		return
	}
	for i, e := range n.Entries {
		if repeated(n, i) {
			continue // reported as a duplicate key
		}
		if parameter, ok := bindParameter(b, e, document.Join(at, e.Key)); ok {
			*p = append(*p, parameter)
		}
	}
}

func repeated(n *document.Node, i int) bool {
	for j := range i {
		if n.Entries[j].Key == n.Entries[i].Key {
			return true
		}
	}
	return false
}

func bindParameter(b *document.Binder, e document.Entry, at string) (space.Parameter, bool) {
	p := space.Parameter{Name: e.Key, Type: space.Choice}
	switch {
	case e.Value.Kind == document.Map:
		return p, bindParameterForm(b, e.Value, at, &p)
	case e.Value.Scalar():
		var v Value
		b.Bind(e.Value, at, &v)
		p.Values = []any{v.V}
		return p, true
	case e.Value.Kind == document.List:
		var values []Value
		b.Bind(e.Value, at, &values)
		return p, listed(b, at, values, &p)
	}
	b.Mismatch(e.Value, at, "a list of values, one value, or a mapping with a type")
	return p, false
}

// listed takes the values of a choice; without any the parameter is dropped.
func listed(b *document.Binder, at string, values []Value, p *space.Parameter) bool {
	if len(values) == 0 {
		b.Add(document.Problem{Field: at, Warning: true,
			Message: "has no values and " + LeftOut})
		return false
	}
	for _, v := range values {
		p.Values = append(p.Values, v.V)
	}
	return true
}

func bindParameterForm(b *document.Binder, n *document.Node, at string, p *space.Parameter) bool {
	var f ParameterForm
	before := len(b.Problems)
	b.Bind(n, at, &f)
	if typo(b, n, before) {
		return false
	}
	p.Type, p.Step, p.Log = space.Type(f.Type), f.Step, f.Log
	if f.Low != nil {
		p.Low = *f.Low
	}
	if f.High != nil {
		p.High = *f.High
	}
	switch f.Type {
	case "choice", "categorical":
		p.Type = space.Choice
		return bindChoice(b, n, at, &f, p)
	case "integer", "continuous":
		if missing(b, at, "low", f.Low) || missing(b, at, "high", f.High) {
			return false
		}
	}
	for _, v := range append(f.Values, f.Choices...) {
		p.Values = append(p.Values, v.V) // the space says that they have no meaning here
	}
	return true
}

func missing(b *document.Binder, at, key string, value *float64) bool {
	if value == nil {
		b.Fail(document.Join(at, key), "is missing", "the bounds low and high, both included")
	}
	return value == nil
}

// typo says whether binding reported an error, and adds what a type in another
// tongue is called here.
func typo(b *document.Binder, n *document.Node, before int) bool {
	failed := false
	for i := before; i < len(b.Problems); i++ {
		failed = failed || !b.Problems[i].Warning
		kind := n.Get("type")
		if kind == nil || b.Problems[i].Line != kind.Line || b.Problems[i].Column != kind.Column {
			continue
		}
		switch kind.Source {
		case "int", "long", "range":
			b.Problems[i].Nearest = "integer"
		case "float", "double", "real", "number", "uniform":
			b.Problems[i].Nearest = "continuous"
		case "bool", "flag":
			b.Problems[i].Nearest = "boolean"
		case "list", "enum", "ordinal":
			b.Problems[i].Nearest = "choice"
		}
	}
	return failed
}

func bindChoice(b *document.Binder, n *document.Node, at string, f *ParameterForm, p *space.Parameter) bool {
	switch {
	case n.Get("values") != nil && n.Get("choices") != nil:
		b.Fail(document.Join(at, "choices"), "stands beside values, which means the same", "one of the two")
		return false
	case n.Get("values") == nil && n.Get("choices") == nil:
		b.Fail(document.Join(at, "values"), "is missing", "the values of the choice, as in [8, 16, 32]")
		return false
	}
	return listed(b, at, append(f.Values, f.Choices...), p)
}

// LeftOut ends the warning about a parameter that is dropped.
const LeftOut = "is left out"
