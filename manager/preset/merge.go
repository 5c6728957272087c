package preset

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
)

// A Strategy says what becomes of a parameter that several presets have.
type Strategy string

// The strategies.
const (
	// Union keeps every value once, in order of appearance.
	Union Strategy = "union"
	// Intersection keeps the parameters that all presets have and the values
	// that they share, sorted.
	Intersection Strategy = "intersection"
	// LastWins takes the values of the last preset.
	LastWins Strategy = "last_wins"
)

// Strategies lists them.
func Strategies() []Strategy { return []Strategy{Union, Intersection, LastWins} }

// A Conflict is a parameter on which presets do not agree.
type Conflict struct {
	Parameter string `json:"parameter"`
	// Reason why an intersection lost it.
	Reason string `json:"reason,omitempty"`
	// OverriddenBy names the preset whose values were taken.
	OverriddenBy   string `json:"overridden_by,omitempty"`
	PreviousValues []any  `json:"previous_values,omitempty"`
	NewValues      []any  `json:"new_values,omitempty"`
}

// Merged is what several presets make together.
type Merged struct {
	Parameters Parameters
	// Applied are the presets' names, in order.
	Applied   []string
	Conflicts []Conflict
}

// Merge joins presets in their order. One preset is itself. The error says
// that there is none, that the strategy is unknown, or that no engine takes the
// arguments of all; it wraps ErrUnmergeable.
func Merge(strategy Strategy, presets ...Preset) (Merged, error) {
	if len(presets) == 0 {
		return Merged{}, fmt.Errorf("%w: preset_ids: names none", ErrUnmergeable)
	}
	m := Merged{Conflicts: []Conflict{}}
	for _, p := range presets {
		m.Applied = append(m.Applied, p.Name)
	}
	if len(presets) == 1 {
		m.Parameters = presets[0].Parameters
		return m, nil
	}
	if err := sameRuntime(presets); err != nil {
		return Merged{}, err
	}
	switch strategy {
	case Union:
		m.union(presets)
	case Intersection:
		m.intersection(presets)
	case LastWins:
		m.lastWins(presets)
	default:
		return Merged{}, fmt.Errorf("%w: merge_strategy: is %q; expected one of %v", ErrUnmergeable, strategy, Strategies())
	}
	if len(m.Parameters) == 0 {
		m.Parameters = Parameters{}
	}
	return m, nil
}

// sameRuntime refuses presets of several engines: what they make together, none
// of them would start with. A preset that names no engine goes with any.
func sameRuntime(presets []Preset) error {
	var first *Preset
	for i, p := range presets {
		switch {
		case p.Runtime == "":
		case first == nil:
			first = &presets[i]
		case p.Runtime != first.Runtime:
			return fmt.Errorf("%w: preset_ids: %s is for %s and %s for %s; expected presets of one engine", ErrUnmergeable, first.Name, first.Runtime, p.Name, p.Runtime)
		}
	}
	return nil
}

func (m *Merged) union(presets []Preset) {
	for _, p := range presets {
		for _, parameter := range p.Parameters {
			i := m.find(parameter.Name)
			for _, v := range parameter.Values {
				if !contains(m.Parameters[i].Values, v) {
					m.Parameters[i].Values = append(m.Parameters[i].Values, v)
				}
			}
		}
	}
}

func (m *Merged) lastWins(presets []Preset) {
	for _, p := range presets {
		for _, parameter := range p.Parameters {
			before, known := m.Parameters.get(parameter.Name)
			i := m.find(parameter.Name)
			m.Parameters[i].Values = parameter.Values
			if known && !equal(before, parameter.Values) {
				m.Conflicts = append(m.Conflicts, Conflict{Parameter: parameter.Name, OverriddenBy: p.Name,
					PreviousValues: before, NewValues: parameter.Values})
			}
		}
	}
}

func (m *Merged) intersection(presets []Preset) {
	var names []string
	for _, p := range presets {
		for _, parameter := range p.Parameters {
			if !slices.Contains(names, parameter.Name) {
				names = append(names, parameter.Name)
			}
		}
	}
	for _, name := range names {
		values, err := shared(name, presets)
		if err != nil {
			m.Conflicts = append(m.Conflicts, Conflict{Parameter: name, Reason: err.Error()})
			continue
		}
		slices.SortStableFunc(values, compare)
		m.Parameters = append(m.Parameters, Parameter{Name: name, Values: values})
	}
}

// shared returns the values of a parameter that all presets have.
func shared(name string, presets []Preset) ([]any, error) {
	var common []any
	for i, p := range presets {
		values, ok := p.Parameters.get(name)
		if !ok {
			return nil, fmt.Errorf("%s has no such parameter", p.Name)
		}
		if i == 0 {
			common = slices.Clone(values)
			continue
		}
		common = slices.DeleteFunc(common, func(v any) bool { return !contains(values, v) })
	}
	if len(common) == 0 {
		return nil, errors.New("no value is in all presets")
	}
	return common, nil
}

// find returns the place of a parameter, which it makes.
func (m *Merged) find(name string) int {
	for i := range m.Parameters {
		if m.Parameters[i].Name == name {
			return i
		}
	}
	m.Parameters = append(m.Parameters, Parameter{Name: name})
	return len(m.Parameters) - 1
}

func contains(values []any, v any) bool {
	return slices.ContainsFunc(values, func(o any) bool { return compare(o, v) == 0 })
}

func equal(a, b []any) bool {
	return slices.EqualFunc(a, b, func(x, y any) bool { return compare(x, y) == 0 })
}

// compare orders values: null, booleans, numbers, texts. 1 and 1.0 are one.
func compare(a, b any) int {
	if c := cmp.Compare(rank(a), rank(b)); c != 0 {
		return c
	}
	switch a := a.(type) {
	case bool:
		other, _ := b.(bool)
		return cmp.Compare(truth(a), truth(other))
	case string:
		other, _ := b.(string)
		return cmp.Compare(a, other)
	}
	return cmp.Compare(float(a), float(b))
}

func rank(v any) int {
	switch v.(type) {
	case nil:
		return 0
	case bool:
		return 1
	case string:
		return 3
	}
	return 2
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

func float(v any) float64 {
	if v == nil {
		return 0
	}
	r := reflect.ValueOf(v)
	if r.CanFloat() {
		return r.Float()
	}
	return float64(r.Int())
}
