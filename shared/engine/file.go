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

// option adds a setting that has no flag. Dots in its name lead into mappings;
// a mapping joins the one that is there already.
func (m *mapping) option(name string, value any) {
	if m.options == nil {
		m.options = map[string]any{}
	}
	place(m.options, strings.Split(name, "."), value)
}

func place(into map[string]any, path []string, value any) {
	name := path[0]
	inner, _ := into[name].(map[string]any)
	if len(path) > 1 {
		if inner == nil {
			inner = map[string]any{}
			into[name] = inner
		}
		place(inner, path[1:], value)
		return
	}
	given, ok := value.(map[string]any)
	if !ok || inner == nil {
		into[name] = value
		return
	}
	for key, v := range given {
		place(inner, []string{key}, v)
	}
}

// inFile says whether a parameter is a setting of the engine's file: the tables
// say so, and no argument of a command line has a dot in its name.
func (m *mapping) inFile(name string) bool {
	flag, _ := m.engine.flags.find(name)
	if flag == nil {
		return m.engine.Name() == TensorRT && strings.Contains(name, ".")
	}
	return flag.File
}

// fileOption adds what a parameter gives, over what was mapped.
func (m *mapping) fileOption(given explicit) {
	name := strings.TrimLeft(given.name, "-")
	list := false
	if flag, _ := m.engine.flags.find(name); flag != nil {
		name, list = flag.Name, flag.Type == List
	}
	value := given.value
	if text, ok := value.(string); ok {
		var document any
		on, isBool := truth(text)
		switch {
		case isBool:
			value = on
		case (strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[")) && json.Unmarshal([]byte(text), &document) == nil:
			value = document
		case list:
			value = strings.Fields(text)
			if json.Unmarshal([]byte("["+strings.Join(strings.Fields(text), ",")+"]"), &document) == nil {
				value = document // numbers
			}
		}
	}
	m.option(name, value)
}
