package engine

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// A File holds settings of a plan that have no flag. The launcher writes it
// where the engine can read it and says where in CommandOptions.File.
type File struct {
	// Flag that names the file on the command line.
	Flag    string
	Name    string
	Content string
}

// File returns the plan's file, false where it needs none.
func (p Plan) File() (File, bool) {
	if len(p.Options) == 0 {
		return File{}, false
	}
	// Every option in JSON is YAML too.
	var content strings.Builder
	for _, name := range slices.Sorted(maps.Keys(p.Options)) {
		value, err := json.Marshal(p.Options[name])
		if err != nil {
			continue // options are texts, numbers and maps of them
		}
		content.WriteString(name + ": " + string(value) + "\n")
	}
	return File{Flag: "config", Name: "llm-options.yaml", Content: content.String()}, true
}

// option adds a setting that has no flag.
func (m *mapping) option(name string, value any) {
	if m.options == nil {
		m.options = map[string]any{}
	}
	m.options[name] = value
}
