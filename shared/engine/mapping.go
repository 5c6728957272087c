package engine

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

// A mapping is one plan in the making.
type mapping struct {
	engine   *Engine
	model    task.Model
	quant    Quant
	parallel Parallel
	explicit map[string]explicit // by canonical spelling
	args     arguments
	env      map[string]string
	options  map[string]any
	notes    []string
}

// explicit is a parameter that is an argument of the engine.
type explicit struct {
	name  string
	value any
}

// arguments in the order of the command line.
type arguments struct {
	flags *flags
	list  []Argument
}

func newMapping(e *Engine, s *task.Serving, p space.Point) (*mapping, error) {
	m := &mapping{engine: e, model: s.Model(p), explicit: map[string]explicit{}, args: arguments{flags: e.flags}}
	for _, name := range slices.Sorted(maps.Keys(p)) {
		value := p[name]
		if value == task.Omitted || value == nil {
			continue
		}
		if variable, ok := strings.CutPrefix(name, task.PrefixEnv); ok {
			if m.env == nil {
				m.env = map[string]string{}
			}
			m.env[variable] = word(value)
			continue
		}
		if !task.IsArgument(name) {
			continue
		}
		key := spelling(name)
		if flag, _ := e.flags.find(name); flag != nil {
			key = spelling(flag.Name)
		}
		if other, ok := m.explicit[key]; ok {
			return nil, fmt.Errorf("%w: %s and %s are the same argument", ErrInvalid, other.name, name)
		}
		m.explicit[key] = explicit{name: name, value: value}
	}
	var err error
	if m.quant, err = quantOf(p); err != nil {
		return nil, err
	}
	if m.parallel, err = parallelOf(e, p); err != nil {
		return nil, err
	}
	return m, nil
}

func (m *mapping) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !slices.Contains(m.notes, text) {
		m.notes = append(m.notes, text)
	}
}

// has says whether the engine's version has the flag.
func (m *mapping) has(flag string) bool { return m.engine.flags.has(flag) }

// takes says whether a flag's list of choices has the value.
func (m *mapping) takes(flag, value string) bool {
	f, _ := m.engine.flags.find(flag)
	return f != nil && (len(f.Choices) == 0 || slices.Contains(f.Choices, value))
}

// set adds a mapped argument, unless a parameter gives it explicitly.
func (m *mapping) set(flag string, value any, from string) {
	key := spelling(flag)
	if f, _ := m.engine.flags.find(flag); f != nil {
		key = spelling(f.Name)
	}
	if given, ok := m.explicit[key]; ok {
		if text := word(given.value); text != word(value) {
			m.note("%s: the parameter's %s stands, not %v of %s", given.name, text, value, from)
		}
		return
	}
	m.args.add(flag, value, from)
}

// given returns the value of an argument that a parameter gives explicitly.
func (m *mapping) given(flag string) (string, bool) {
	f, _ := m.engine.flags.find(flag)
	if f == nil {
		return "", false
	}
	given, ok := m.explicit[spelling(f.Name)]
	if !ok {
		return "", false
	}
	return word(given.value), true
}

// finish adds the explicit arguments behind the mapped ones, by name.
func (m *mapping) finish() {
	for _, key := range slices.Sorted(maps.Keys(m.explicit)) {
		given := m.explicit[key]
		if m.inFile(given.name) {
			m.fileOption(given)
			continue
		}
		if note := m.args.add(given.name, given.value, given.name); note != "" {
			m.note("%s", note)
		}
	}
}

// add writes one argument; the note says where it stands otherwise than it was
// given.
func (a *arguments) add(name string, value any, from string) (note string) {
	flag, negated := a.flags.find(name)
	if flag == nil {
		a.list = append(a.list, unknownArgument(name, value, from)...)
		return ""
	}
	on, isBool := truth(value)
	if isBool && (flag.Type == Switch || flag.Type == Toggle) {
		on = on != negated
		return a.addSwitch(flag, name, on, from)
	}
	text := word(value)
	if isBool && slices.Contains(flag.Choices, "on") {
		text = map[bool]string{true: "on", false: "off"}[on]
	} else if _, ok := value.(bool); ok {
		// A flag that wants a value cannot stand alone, nor be left out unseen.
		if !on {
			return fmt.Sprintf("%s: false leaves it out", name)
		}
	}
	words := []string{text}
	if flag.Type == List {
		words = strings.Fields(text)
	}
	a.list = append(a.list, Argument{
		Name: flag.emitted(name), Words: words, From: from,
		Default: flag.Default != "" && sameValue(flag.Default, text),
		key:     spelling(flag.Name) + "=" + canonicalValue(text),
	})
	return ""
}

// addSwitch writes a flag that stands alone. Off is left out where that means
// off, and written in its negative form where it would mean on.
func (a *arguments) addSwitch(flag *Flag, name string, on bool, from string) (note string) {
	argument := Argument{Name: flag.emitted(name), From: from, key: spelling(flag.Name) + "=" + strconv.FormatBool(on), Default: flag.Default == strconv.FormatBool(on)}
	switch {
	case on:
		argument.Name = strings.TrimPrefix(argument.Name, "no-")
		if flag.Type == Switch {
			argument.Name = flag.emitted(name)
		}
	case flag.Type == Toggle && flag.Default != "false":
		argument.Name = "no-" + flag.Name
		note = fmt.Sprintf("%s: false is written as --no-%s, for leaving it out would not switch it off", flag.Name, flag.Name)
	default:
		return ""
	}
	a.list = append(a.list, argument)
	return note
}

func unknownArgument(name string, value any, from string) []Argument {
	argument := Argument{Name: strings.TrimLeft(name, "-"), From: from, key: spelling(name)}
	switch v := value.(type) {
	case bool:
		if !v {
			return nil
		}
	default:
		argument.Words = []string{word(value)}
		argument.key += "=" + canonicalValue(argument.Words[0])
	}
	return []Argument{argument}
}

// shortest is the length below which an alias is a short option, which takes
// one dash: the long name is written instead.
const shortest = 5

// emitted is the form of a flag's name to write for one that was given.
func (f *Flag) emitted(name string) string {
	for _, alias := range f.Aliases {
		if spelling(alias) == spelling(name) && len(alias) > shortest {
			return alias
		}
	}
	return f.Name
}

// text returns the value of an argument, "" where it is absent.
func (a arguments) text(name string) string {
	flag, _ := a.flags.find(name)
	if flag == nil {
		return ""
	}
	for _, argument := range a.list {
		key, value, _ := strings.Cut(argument.key, "=")
		if key == spelling(flag.Name) {
			if len(argument.Words) > 0 {
				return strings.Join(argument.Words, " ")
			}
			return value
		}
	}
	return ""
}

// degree reads an argument that counts, 1 where it is absent.
func (a arguments) degree(name string) (int, error) {
	text := a.text(name)
	if text == "" {
		return 1, nil
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || n < 1 || n != float64(int(n)) {
		return 0, fmt.Errorf("%w: %s is %q, not a number of devices", ErrInvalid, name, text)
	}
	return int(n), nil
}

// word writes a value of a point as an argument.
func word(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	default:
		return fmt.Sprint(v)
	}
}

// truth reads a bool, or a text that spells one.
func truth(value any) (on, ok bool) {
	switch v := value.(type) {
	case bool:
		return v, true
	case string:
		switch strings.ToLower(v) {
		case "true":
			return true, true
		case "false":
			return false, true
		}
	}
	return false, false
}

// canonicalValue gives numbers one spelling.
func canonicalValue(text string) string {
	if f, err := strconv.ParseFloat(text, 64); err == nil {
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	return text
}

func sameValue(a, b string) bool { return canonicalValue(a) == canonicalValue(b) }
