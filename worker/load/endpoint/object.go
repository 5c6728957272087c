package endpoint

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// object is a JSON object under construction: members keep their order, and a
// later value of a name replaces the earlier one.
type object struct {
	names  []string
	values []json.RawMessage
	err    error
}

func (o *object) raw(name string, value json.RawMessage) {
	if i := slices.Index(o.names, name); i >= 0 {
		o.values[i] = value
		return
	}
	o.names = append(o.names, name)
	o.values = append(o.values, value)
}

func (o *object) set(name string, value any) {
	raw, err := json.Marshal(value)
	if err != nil && o.err == nil {
		o.err = fmt.Errorf("encoding %s: %w", name, err)
	}
	o.raw(name, raw)
}

// messages adds a list of messages.
func (o *object) messages(name string, list []Message) {
	size := 2
	for i := range list {
		size += len(list[i].Content) + 48
	}
	b := append(make([]byte, 0, size), '[')
	for i := range list {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = list[i].append(b); err != nil {
			o.err = err
			return
		}
	}
	o.raw(name, append(b, ']'))
}

func (o *object) merge(members map[string]json.RawMessage) {
	if len(members) == 0 {
		return
	}
	names := make([]string, 0, len(members))
	for name := range members {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		o.raw(name, members[name])
	}
}

// load takes all members of a JSON object.
func (o *object) load(raw json.RawMessage) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		return err
	}
	o.merge(members)
	return nil
}

func (o *object) bytes() ([]byte, error) {
	if o.err != nil {
		return nil, o.err
	}
	size := 2
	for i := range o.names {
		size += len(o.names[i]) + len(o.values[i]) + 4
	}
	b := bytes.NewBuffer(make([]byte, 0, size))
	b.WriteByte('{')
	for i, name := range o.names {
		if i > 0 {
			b.WriteByte(',')
		}
		key, err := json.Marshal(name)
		if err != nil {
			return nil, fmt.Errorf("encoding member name %q: %w", name, err)
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(o.values[i])
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// Members encodes the values of an object.
func Members(values map[string]any) (map[string]json.RawMessage, error) {
	if len(values) == 0 {
		return nil, nil
	}
	out := make(map[string]json.RawMessage, len(values))
	for name, v := range values {
		raw, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("encoding %s: %w", name, err)
		}
		out[name] = raw
	}
	return out, nil
}
