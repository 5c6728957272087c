package input

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/fleetune/fleetune/proto/space"
)

// mostProblems is how many problems of a file are told at once.
const mostProblems = 10

// problems gathers what is wrong with a file, so that it is told at once.
type problems struct{ list []error }

// add keeps a problem; it reports false when there are enough.
func (p *problems) add(err error) bool {
	if err != nil {
		p.list = append(p.list, err)
	}
	return len(p.list) < mostProblems
}

func (p *problems) err() error {
	if len(p.list) == mostProblems {
		return fmt.Errorf("%w\nthese are the first %d problems; there may be more", errors.Join(p.list...), mostProblems)
	}
	return errors.Join(p.list...)
}

// eachLine calls f with every line that is not blank. It places errors, and
// goes on after them to tell several at once.
func eachLine(in File, f func(number int, line []byte) error) error {
	var found problems
	rest := in.Data
	for number := 1; len(rest) > 0; number++ {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte{'\n'})
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if err := f(number, line); err != nil && !found.add(fmt.Errorf("%s:%d: %w", in.Name, number, err)) {
			break
		}
	}
	return found.err()
}

// strict decodes JSON and refuses members that the format does not define,
// all of them at once.
func strict(data []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		if names := undefined(data, to); len(names) > 0 {
			return errors.Join(names...)
		}
		return readable(err)
	}
	if d.More() {
		return errors.New("more follows after the value")
	}
	return nil
}

// lenient decodes JSON and passes over members that the format does not define.
func lenient(data []byte, to any) error {
	if err := json.Unmarshal(data, to); err != nil {
		return readable(err)
	}
	return nil
}

// readable says what a value should have been in words of JSON, not of Go.
func readable(err error) error {
	var wrong *json.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		return err
	}
	want := map[reflect.Kind]string{reflect.String: "a text", reflect.Bool: "true or false", reflect.Slice: "a list",
		reflect.Struct: "an object", reflect.Map: "an object", reflect.Float64: "a number"}[wrong.Type.Kind()]
	if want == "" {
		want = "a whole number"
	}
	if wrong.Field == "" {
		return fmt.Errorf("want %s, not a JSON %s", want, wrong.Value)
	}
	return fmt.Errorf("%s: want %s, not a JSON %s", wrong.Field, want, wrong.Value)
}

// undefined lists the members of a JSON value that its Go type has no field
// for, each with the name that may have been meant.
func undefined(data []byte, to any) []error {
	var out []error
	look(data, reflect.TypeOf(to), "", func(err error) { out = append(out, err) })
	return out
}

func look(data json.RawMessage, t reflect.Type, path string, found func(error)) {
	if t.Implements(ownDecoding) {
		return
	}
	switch t.Kind() {
	case reflect.Pointer:
		look(data, t.Elem(), path, found)
	case reflect.Slice:
		var list []json.RawMessage
		if json.Unmarshal(data, &list) != nil {
			return
		}
		for i, item := range list {
			look(item, reflect.PointerTo(t.Elem()), fmt.Sprintf("%s[%d]", path, i), found)
		}
	case reflect.Struct:
		var members map[string]json.RawMessage
		if json.Unmarshal(data, &members) != nil {
			return
		}
		fields := jsonFields(t)
		for _, name := range slices.Sorted(maps.Keys(members)) {
			if of, ok := fields[name]; ok {
				look(members[name], reflect.PointerTo(of), strings.TrimPrefix(path+"."+name, "."), found)
			} else {
				found(unknown(strings.TrimPrefix(path+"."+name, "."), name, slices.Collect(maps.Keys(fields))))
			}
		}
	}
}

var ownDecoding = reflect.TypeFor[json.Unmarshaler]()

func jsonFields(t reflect.Type) map[string]reflect.Type {
	out := map[string]reflect.Type{}
	for i := range t.NumField() {
		if name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); name != "" && name != "-" {
			out[name] = t.Field(i).Type
		}
	}
	return out
}

func unknown(path, name string, known []string) error {
	if near := space.Nearest(name, known); near != "" {
		return fmt.Errorf("%s: the format has no such field; did you mean %q?", path, near)
	}
	slices.Sort(known)
	return fmt.Errorf("%s: the format has no such field; it has %s", path, strings.Join(known, ", "))
}

// ignored notes the fields of a file's first line that its format, which
// allows for more, does not read: a misspelt one would be missed otherwise.
func (w *Workload) ignored(f File, line []byte, to any) {
	for _, err := range undefined(line, to) {
		w.Notes = append(w.Notes, fmt.Sprintf("%s: not read: %v", f.Name, err))
	}
}
