package records

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Facts are named values: a text, a boolean, an int64, a float64, a list of
// those, or nil where a fact is unknown. Whole numbers are int64, however they
// were written: 4096, 4096.0 and 4.096e3 are one fact.
type Facts map[string]any

// MarshalJSON writes the canonical form: names sorted, numbers in one way.
func (f Facts) MarshalJSON() ([]byte, error) {
	for name, v := range f {
		if err := checkFact(v, true); err != nil {
			return nil, fmt.Errorf("fact %q: %w", name, err)
		}
	}
	var b bytes.Buffer
	f.canonical(&b)
	return b.Bytes(), nil
}

// UnmarshalJSON reads facts and brings their values into one form.
func (f *Facts) UnmarshalJSON(data []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var raw map[string]any
	if err := decoder.Decode(&raw); err != nil {
		return fmt.Errorf("reading facts: %w", err)
	}
	out := make(Facts, len(raw))
	for name, v := range raw {
		value, err := normal(v, true)
		if err != nil {
			return fmt.Errorf("fact %q: %w", name, err)
		}
		out[name] = value
	}
	*f = out
	return nil
}

// factsOf reads facts that a task file gave as JSON.
func factsOf(raw map[string]json.RawMessage) (Facts, error) {
	data, err := json.Marshal(raw)
	if err != nil {
		return nil, fmt.Errorf("reading facts: %w", err)
	}
	facts := Facts{}
	if raw == nil {
		return facts, nil
	}
	return facts, facts.UnmarshalJSON(data)
}

// ParseFact reads a value as a person types it: a number, true, false, JSON in
// brackets or quotes, and any other text as it stands.
func ParseFact(text string) any {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var v any
	if decoder.Decode(&v) == nil && !decoder.More() && v != nil {
		if value, err := normal(v, true); err == nil {
			return value
		}
	}
	return text
}

// ParsePlace reads a value of the environment as a person types it: a text,
// since versions are none to calculate with, save for the few that count.
func ParsePlace(name, text string) any {
	switch name {
	case FactDevices, FactMemory, FactCores:
		return ParseFact(text)
	}
	return text
}

func normal(v any, lists bool) (any, error) {
	switch v := v.(type) {
	case nil, bool, string:
		return v, nil
	case json.Number:
		return number(v)
	case []any:
		if !lists {
			break
		}
		out := make([]any, len(v))
		for i, item := range v {
			if item == nil {
				return nil, fmt.Errorf("%w: a list holds null", ErrInvalid)
			}
			var err error
			if out[i], err = normal(item, false); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return nil, fmt.Errorf("%w: a fact is a text, a number, a boolean or a list of those", ErrInvalid)
}

// exact is the largest whole number that a float64 tells from its neighbours.
const exact = 1 << 53

func number(n json.Number) (any, error) {
	if whole, err := strconv.ParseInt(n.String(), 10, 64); err == nil {
		return whole, nil
	}
	f, err := n.Float64()
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
		return nil, fmt.Errorf("%w: the number %s is out of range", ErrInvalid, n)
	}
	if f == math.Trunc(f) && math.Abs(f) < exact {
		return int64(f), nil
	}
	return f, nil
}

func checkFact(v any, lists bool) error {
	switch v := v.(type) {
	case nil, bool, string, int64:
		return nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("%w: %v has no JSON form", ErrInvalid, v)
		}
		return nil
	case []any:
		for _, item := range v {
			if item == nil || !lists {
				return fmt.Errorf("%w: a list within a list", ErrInvalid)
			}
			if err := checkFact(item, false); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("%w: a fact of type %T", ErrInvalid, v)
}

// canonical writes facts in their one form. Values are those that checkFact
// lets pass.
func (f Facts) canonical(b *bytes.Buffer) {
	b.WriteByte('{')
	for i, name := range slices.Sorted(maps.Keys(f)) {
		if i > 0 {
			b.WriteByte(',')
		}
		writeText(b, name)
		b.WriteByte(':')
		writeFact(b, f[name])
	}
	b.WriteByte('}')
}

func writeFact(b *bytes.Buffer, v any) {
	switch v := v.(type) {
	case string:
		writeText(b, v)
	case bool:
		b.WriteString(strconv.FormatBool(v))
	case int64:
		b.WriteString(strconv.FormatInt(v, 10))
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < exact {
			b.WriteString(strconv.FormatInt(int64(v), 10)) // also turns -0 into 0
			return
		}
		b.WriteString(strconv.FormatFloat(v, 'g', -1, 64))
	case []any:
		b.WriteByte('[')
		for i, item := range v {
			if i > 0 {
				b.WriteByte(',')
			}
			writeFact(b, item)
		}
		b.WriteByte(']')
	default:
		b.WriteString("null")
	}
}

func writeText(b *bytes.Buffer, s string) {
	data, err := json.Marshal(s)
	if err != nil { // a string always has a JSON form
		data = []byte(`""`)
	}
	b.Write(data)
}

// text is a fact as a message shows it.
func text(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	var b bytes.Buffer
	writeFact(&b, v)
	return b.String()
}

// String lists the facts by name.
func (f Facts) String() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(f)) {
		value := "unknown"
		if f[name] != nil {
			value = text(f[name])
		}
		parts = append(parts, name+"="+value)
	}
	return strings.Join(parts, " ")
}

// equal compares two values in their one form.
func equal(a, b any) bool {
	var x, y bytes.Buffer
	writeFact(&x, a)
	writeFact(&y, b)
	return bytes.Equal(x.Bytes(), y.Bytes())
}
