package autotuner

import (
	"bytes"
	"encoding/json"

	"github.com/goccy/go-yaml"
)

// sections are the parts of a task file as they were written, keys in order.
type sections map[string]json.RawMessage

// sectionsOf reads a task file that was accepted, JSON or YAML. One that
// cannot be read, which an earlier version may have taken, has none.
func sectionsOf(source string) sections {
	found := sections{}
	if json.Unmarshal([]byte(source), &found) == nil {
		return found.compact()
	}
	data, err := yaml.YAMLToJSON([]byte(source))
	if err != nil || json.Unmarshal(data, &found) != nil {
		return sections{}
	}
	return found.compact()
}

func (s sections) compact() sections {
	for name, part := range s {
		var b bytes.Buffer
		if json.Compact(&b, part) == nil {
			s[name] = b.Bytes()
		}
	}
	return s
}

// object is a section that is always there.
func (s sections) object(name string) json.RawMessage {
	if part := s[name]; part != nil {
		return part
	}
	return json.RawMessage(`{}`)
}

// text is a section that is one text; nil where it is not.
func (s sections) text(name string) *string {
	var text *string
	if json.Unmarshal(s[name], &text) != nil {
		return nil
	}
	return text
}

// model is the section of that name as an object: Fleetune takes a model's
// name alone, too.
func (s sections) model() json.RawMessage {
	name := s.text("model")
	if name == nil {
		return s.object("model")
	}
	object, err := json.Marshal(map[string]string{"id_or_path": *name})
	if err != nil {
		return json.RawMessage(`{}`)
	}
	return object
}
