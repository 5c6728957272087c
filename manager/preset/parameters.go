package preset

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// Parameters are names with their values, in the order in which they were
// written: grid search varies the last one fastest. In JSON they are an object.
type Parameters []Parameter

// A Parameter is a name with the values worth trying.
type Parameter struct {
	Name string
	// Values are bool, int64, float64, string, or nil for the engine's own
	// choice.
	Values []any
}

// get returns the values of a name.
func (p Parameters) get(name string) ([]any, bool) {
	for i := range p {
		if p[i].Name == name {
			return p[i].Values, true
		}
	}
	return nil, false
}

func (p Parameters) check() []error {
	var wrong []error
	if len(p) == 0 {
		wrong = append(wrong, fmt.Errorf("parameters: names nothing; expected a mapping of parameters to lists of values"))
	}
	if len(p) > maxParameters {
		wrong = append(wrong, fmt.Errorf("parameters: has %d; expected at most %d", len(p), maxParameters))
	}
	for i, parameter := range p {
		at := "parameters." + parameter.Name
		switch {
		case strings.Trim(parameter.Name, "-") == "" || strings.ContainsAny(parameter.Name, " \t\n\x00"):
			wrong = append(wrong, fmt.Errorf("%s: is no name of a parameter", at))
		case slices.ContainsFunc(p[:i], func(o Parameter) bool { return o.Name == parameter.Name }):
			wrong = append(wrong, fmt.Errorf("%s: stands there twice", at))
		case len(parameter.Values) == 0:
			wrong = append(wrong, fmt.Errorf("%s: has no values; expected a list of at least one", at))
		case len(parameter.Values) > maxValues:
			wrong = append(wrong, fmt.Errorf("%s: has %d values; expected at most %d", at, len(parameter.Values), maxValues))
		}
	}
	return wrong
}

// MarshalJSON writes an object whose keys are in order.
func (p Parameters) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, parameter := range p {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(parameter.Name)
		if err != nil {
			return nil, fmt.Errorf("encoding a parameter's name: %w", err)
		}
		values, err := json.Marshal(parameter.Values)
		if err != nil {
			return nil, fmt.Errorf("encoding the values of %s: %w", parameter.Name, err)
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(values)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// UnmarshalJSON reads an object of lists. A single value is a list of one, as
// in a task file.
func (p *Parameters) UnmarshalJSON(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		return fmt.Errorf("%w: parameters: expected a mapping of parameters to lists of values", ErrInvalid)
	}
	*p = Parameters{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return fmt.Errorf("reading parameters: %w", err)
		}
		name, _ := token.(string) // the decoder gives keys as strings
		var raw any
		if err := d.Decode(&raw); err != nil {
			return fmt.Errorf("reading the values of %s: %w", name, err)
		}
		list, ok := raw.([]any)
		if !ok {
			list = []any{raw}
		}
		for i := range list {
			if list[i], err = scalar(list[i]); err != nil {
				return fmt.Errorf("%w: parameters.%s[%d]: %w", ErrInvalid, name, i, err)
			}
		}
		*p = append(*p, Parameter{Name: strings.TrimLeft(name, "-"), Values: list})
	}
	if _, err := d.Token(); err != nil && err != io.EOF {
		return fmt.Errorf("reading parameters: %w", err)
	}
	return nil
}

func scalar(v any) (any, error) {
	switch v := v.(type) {
	case nil, bool, string:
		return v, nil
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i, nil
		}
		f, err := v.Float64()
		if err != nil || math.IsInf(f, 0) {
			return nil, fmt.Errorf("is %s; expected a finite number", v)
		}
		return f, nil
	}
	return nil, fmt.Errorf("is a list or a mapping; expected a number, a text, true, false or null")
}

// Combinations is the size of the full grid.
func (p Parameters) Combinations() float64 {
	n := 1.0
	for _, parameter := range p {
		n *= float64(len(parameter.Values))
	}
	return n
}
