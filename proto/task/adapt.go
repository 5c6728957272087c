package task

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/fleetune/fleetune/proto/task/internal/document"
)

// adapt rewrites what the file of a serving task may hold and others may not,
// before it is bound: names that other tools allow, and null for the engine's
// own choice.
func (d *decoder) adapt() {
	if d.root.Get("base_runtime") == nil {
		return
	}
	if name := d.root.Get("task_name"); name != nil && name.Kind == document.Text {
		if plain := plainName(name.Source); plain != name.Source && taskName.MatchString(plain) {
			d.warn("task_name", fmt.Sprintf("is the text %q and becomes %q", document.Clip(name.Source), plain), "lower-case letters, digits and dashes")
			name.Source = plain
		}
	}
	for _, key := range []string{"parameters", "env_parameters", "quant_config", "parallel_config"} {
		section := d.root.Get(key)
		if section == nil {
			continue
		}
		for i := range section.Entries {
			e := &section.Entries[i]
			if key == "parameters" {
				e.Key = strings.TrimLeft(e.Key, "-")
			}
			eachValue(e.Value, omitNull)
			eachValue(e.Value, asJSON)
		}
	}
}

// eachValue visits the values of a parameter, whatever its form.
func eachValue(n *document.Node, visit func(*document.Node)) {
	switch n.Kind {
	case document.List:
		for _, item := range n.Items {
			visit(item)
		}
	case document.Map:
		for _, key := range []string{"values", "choices"} {
			if list := n.Get(key); list != nil && list.Kind == document.List {
				eachValue(list, visit)
			}
		}
	default:
		visit(n)
	}
}

// omitNull gives null the text that stands for the engine's own choice.
func omitNull(n *document.Node) {
	if n.Kind == document.Null {
		n.Kind, n.Source = document.Text, Omitted
	}
}

// asJSON makes a mapping the JSON that an engine reads.
func asJSON(n *document.Node) {
	if n.Kind != document.Map {
		return
	}
	if text, err := n.MarshalJSON(); err == nil { // else the binder says what is wrong
		n.Kind, n.Source, n.Entries = document.Text, string(text), nil
	}
}

var notPlain = regexp.MustCompile(`[^a-z0-9]+`)

// plainName turns a name that other tools allow into one of ours.
func plainName(name string) string {
	name = strings.Trim(notPlain.ReplaceAllString(strings.ToLower(name), "-"), "-")
	if len(name) > 63 {
		name = strings.TrimRight(name[:63], "-")
	}
	return name
}
