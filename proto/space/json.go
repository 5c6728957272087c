package space

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

// MarshalJSON writes the point with its names sorted. A whole float64 keeps
// its point (2.0), so that decoding gives back the same type.
func (p Point) MarshalJSON() ([]byte, error) {
	if p == nil {
		return []byte("null"), nil
	}
	return p.encode(slices.Sorted(maps.Keys(p)))
}

func (p Point) encode(names []string) ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for _, name := range names {
		v, ok := p[name]
		if !ok {
			continue
		}
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		key, err := json.Marshal(name)
		if err != nil {
			return nil, fmt.Errorf("encoding name %q: %w", name, err)
		}
		b.Write(key)
		b.WriteByte(':')
		text, err := encodeValue(v)
		if err != nil {
			return nil, fmt.Errorf("encoding %s: %w", name, err)
		}
		b.Write(text)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func encodeValue(v any) ([]byte, error) {
	f, ok := v.(float64)
	if !ok {
		return json.Marshal(v)
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, fmt.Errorf("%v has no JSON form", f)
	}
	text := strconv.FormatFloat(f, 'g', -1, 64)
	if !strings.ContainsAny(text, ".e") {
		text += ".0"
	}
	return []byte(text), nil
}

// UnmarshalJSON reads whole numbers as int64 and the others as float64.
func (p *Point) UnmarshalJSON(data []byte) error {
	var raw map[string]any
	if err := decodeNumbers(data, &raw); err != nil {
		return fmt.Errorf("decoding point: %w", err)
	}
	for name, v := range raw {
		value, err := decodeValue(v)
		if err != nil {
			return fmt.Errorf("decoding %s: %w", name, err)
		}
		raw[name] = value
	}
	*p = raw
	return nil
}

// plain is Parameter without its methods.
type plain Parameter

// MarshalJSON keeps the type of every value of a choice, as Point does.
func (p Parameter) MarshalJSON() ([]byte, error) {
	values := make([]json.RawMessage, len(p.Values))
	for i, v := range p.Values {
		text, err := encodeValue(v)
		if err != nil {
			return nil, fmt.Errorf("encoding %s: %w", p.Name, err)
		}
		values[i] = text
	}
	return json.Marshal(struct {
		plain
		Values []json.RawMessage `json:"values,omitempty"`
	}{plain(p), values})
}

// UnmarshalJSON keeps the type of every value of a choice, as Point does.
func (p *Parameter) UnmarshalJSON(data []byte) error {
	if err := decodeNumbers(data, (*plain)(p)); err != nil {
		return fmt.Errorf("decoding parameter: %w", err)
	}
	for i, v := range p.Values {
		value, err := decodeValue(v)
		if err != nil {
			return fmt.Errorf("decoding %s: %w", p.Name, err)
		}
		p.Values[i] = value
	}
	return nil
}

func decodeNumbers(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	return d.Decode(into)
}

// decodeValue turns a decoded JSON value into a bool, int64, float64 or string.
func decodeValue(v any) (any, error) {
	switch v := v.(type) {
	case bool, string:
		return v, nil
	case json.Number:
		if !strings.ContainsAny(v.String(), ".eE") {
			if n, err := v.Int64(); err == nil {
				return n, nil
			}
		}
		return v.Float64()
	}
	return nil, fmt.Errorf("a value is a number, a string or a boolean, not %T", v)
}
