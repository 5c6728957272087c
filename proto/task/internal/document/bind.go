package document

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/fleetune/fleetune/proto/space"
)

// A Binding is a type with forms of its own. BindNode reports to the binder
// what does not fit.
type Binding interface {
	BindNode(b *Binder, n *Node, path string)
}

// A Binder fills Go values from nodes and collects problems. Structs are bound
// by their json tags: a field without omitempty is required, a key without a
// field is reported and left aside, and the bounds in the jsonschema tag
// (enum, minimum, maximum, pattern, maxLength, maxItems, default) hold here as
// they do in the schema made from the same tags. A field's "expected" tag says
// what its pattern means.
type Binder struct {
	Problems []Problem
	failed   bool
}

// MaxProblems is how many problems are kept: nobody reads more at once.
// Warnings leave room for the errors.
const MaxProblems = 1000

// Add reports a problem.
func (b *Binder) Add(p Problem) {
	b.failed = b.failed || !p.Warning
	if len(b.Problems) < MaxProblems/2 || !p.Warning && len(b.Problems) < MaxProblems {
		b.Problems = append(b.Problems, p)
	}
}

// Fail reports an error at a path.
func (b *Binder) Fail(path, message, expected string) {
	b.Add(Problem{Field: path, Message: message, Expected: expected})
}

// Failed says whether an error was reported.
func (b *Binder) Failed() bool { return b.failed }

// Mismatch reports a value of the wrong kind.
func (b *Binder) Mismatch(n *Node, path, expected string) {
	b.Add(Problem{Line: n.Line, Column: n.Column, Field: path,
		Message: "is " + n.Describe(), Expected: expected})
}

// Bind fills what dst points to.
func (b *Binder) Bind(n *Node, path string, dst any) {
	b.value(n, path, reflect.ValueOf(dst).Elem())
}

func (b *Binder) value(n *Node, path string, dst reflect.Value) {
	if dst.CanAddr() {
		if custom, ok := dst.Addr().Interface().(Binding); ok {
			custom.BindNode(b, n, path)
			return
		}
	}
	switch dst.Kind() {
	case reflect.Pointer:
		dst.Set(reflect.New(dst.Type().Elem()))
		b.value(n, path, dst.Elem())
	case reflect.Struct:
		b.structure(n, path, dst)
	case reflect.Slice:
		b.slice(n, path, dst)
	case reflect.Map:
		b.mapping(n, path, dst)
	default:
		b.scalar(n, path, dst)
	}
}

func (b *Binder) scalar(n *Node, path string, dst reflect.Value) {
	switch dst.Kind() {
	case reflect.String:
		if n.Kind != Text {
			b.Mismatch(n, path, textExpected(n))
			return
		}
		dst.SetString(n.Source)
	case reflect.Bool:
		if n.Kind != Bool {
			b.Mismatch(n, path, "true or false")
			return
		}
		dst.SetBool(n.Bool)
	case reflect.Int, reflect.Int64:
		if i, ok := n.Whole(); ok {
			dst.SetInt(i)
			return
		}
		b.Mismatch(n, path, "a whole number"+unquoted(n))
	case reflect.Float64:
		if f, ok := n.Number(); ok {
			dst.SetFloat(f)
			return
		}
		b.Mismatch(n, path, numberExpected(n))
	default:
		panic(fmt.Sprintf("document: no way to bind a %s", dst.Type()))
	}
}

func textExpected(n *Node) string {
	if n.Scalar() {
		return "a text: put it in quotes"
	}
	return "a text"
}

func numberExpected(n *Node) string {
	if n.Kind == Float {
		return "a finite number"
	}
	return "a number" + unquoted(n)
}

func unquoted(n *Node) string {
	if n.Kind == Text && fraction.MatchString(strings.TrimSpace(n.Source)) {
		return ", without quotes"
	}
	return ""
}

// Whole returns a whole number, which may be written 1e6 or 2.0.
func (n *Node) Whole() (int64, bool) {
	switch {
	case n.Kind == Int:
		return n.Int, true
	case n.Kind == Float && n.Float == math.Trunc(n.Float) && math.Abs(n.Float) <= 1<<53:
		return int64(n.Float), true
	}
	return 0, false
}

// Number returns a finite number.
func (n *Node) Number() (float64, bool) {
	if (n.Kind == Int || n.Kind == Float) && !math.IsInf(n.Float, 0) && !math.IsNaN(n.Float) {
		return n.Float, true
	}
	return 0, false
}

func (b *Binder) slice(n *Node, path string, dst reflect.Value) {
	if n.Kind != List {
		b.Mismatch(n, path, "a list")
		return
	}
	dst.Set(reflect.MakeSlice(dst.Type(), len(n.Items), len(n.Items)))
	for i, item := range n.Items {
		b.value(item, Item(path, i), dst.Index(i))
	}
}

func (b *Binder) mapping(n *Node, path string, dst reflect.Value) {
	if n.Kind != Map {
		b.Mismatch(n, path, "a mapping of names to values")
		return
	}
	dst.Set(reflect.MakeMapWithSize(dst.Type(), len(n.Entries)))
	for _, e := range n.Entries {
		v := reflect.New(dst.Type().Elem()).Elem()
		b.value(e.Value, Join(path, e.Key), v)
		dst.SetMapIndex(reflect.ValueOf(e.Key).Convert(dst.Type().Key()), v)
	}
}

func (b *Binder) structure(n *Node, path string, dst reflect.Value) {
	if n.Kind != Map {
		b.Mismatch(n, path, "a mapping with "+listKeys(Keys(dst.Type())))
		return
	}
	keys := Keys(dst.Type())
	for i := range dst.NumField() {
		f := dst.Type().Field(i)
		key, required := tagged(f)
		value := n.Get(key)
		at := Join(path, key)
		switch {
		case value != nil && (value.Kind != Null || bindsNull(f.Type)):
			b.field(value, at, f, dst.Field(i))
		case required:
			b.Fail(at, "is missing", f.Tag.Get("expected"))
		default:
			b.absent(at, f, dst.Field(i))
		}
	}
	for _, e := range n.Entries {
		extra := path == "" && strings.HasPrefix(e.Key, extraPrefix)
		if !extra && !slices.Contains(keys, e.Key) {
			b.unknown(e, path, n, dst.Type())
		}
	}
}

// extraPrefix starts keys of the whole document that are the writer's own: a
// place for anchors.
const extraPrefix = "x-"

// field binds one field and, when that went well, checks its bounds.
func (b *Binder) field(n *Node, path string, f reflect.StructField, dst reflect.Value) {
	if words := Enum(f); len(words) > 0 && n.Kind != Text {
		b.Mismatch(n, path, Choice(words))
		return
	}
	if most, ok := number(f, "maxItems"); ok && float64(max(len(n.Items), len(n.Entries))) > most {
		b.Fail(path, fmt.Sprintf("has %d items", max(len(n.Items), len(n.Entries))), fmt.Sprintf("at most %v", most))
		return
	}
	before := len(b.Problems)
	if b.value(n, path, dst); len(b.Problems) == before {
		b.bounds(n, path, f, dst)
	}
}

// bindsNull says whether a type makes something of an empty value; for all
// others an empty value is like none.
func bindsNull(t reflect.Type) bool {
	return t.Implements(nullBinding) || reflect.PointerTo(t).Implements(nullBinding)
}

var nullBinding = reflect.TypeFor[interface{ BindsNull() }]()

// unknown reports a key that has no field. It was probably meant to be one that
// the mapping lacks, most of all one that has no default.
func (b *Binder) unknown(e Entry, path string, n *Node, t reflect.Type) {
	var wanted []string
	for i := range t.NumField() {
		key, _ := tagged(t.Field(i))
		if _, ok := rule(t.Field(i), "default"); !ok && n.Get(key) == nil {
			wanted = append(wanted, key)
		}
	}
	p := Problem{Line: e.Line, Column: e.Column, Field: Join(path, e.Key), Warning: true,
		Message: "is not a field and is ignored", Nearest: space.Nearest(e.Key, wanted)}
	if p.Nearest == "" {
		p.Nearest = space.Nearest(e.Key, Keys(t))
	}
	if p.Nearest == "" {
		p.Expected = listKeys(Keys(t))
	}
	b.Add(p)
}

// absent fills in the default, and those inside a structure.
func (b *Binder) absent(path string, f reflect.StructField, dst reflect.Value) {
	if text, ok := rule(f, "default"); ok {
		n := &Node{size: 1}
		n.plain(text)
		b.value(n, path, dst)
		return
	}
	_, custom := reflect.New(f.Type).Interface().(Binding)
	if f.Type.Kind() == reflect.Struct && !custom {
		b.structure(&Node{Kind: Map}, path, dst)
	}
}

// Keys lists the keys of a struct in its order.
func Keys(t reflect.Type) []string {
	var keys []string
	for i := range t.NumField() {
		key, _ := tagged(t.Field(i))
		keys = append(keys, key)
	}
	return keys
}

func tagged(f reflect.StructField) (key string, required bool) {
	key, options, _ := strings.Cut(f.Tag.Get("json"), ",")
	return key, !strings.Contains(options, "omitempty")
}

func listKeys(keys []string) string { return "the fields " + strings.Join(keys, ", ") }

// MarshalJSON writes the value as JSON, keys in their order.
func (n *Node) MarshalJSON() ([]byte, error) {
	switch n.Kind {
	case List:
		if n.Items == nil {
			return []byte("[]"), nil
		}
		return json.Marshal(n.Items)
	case Map:
		parts := make([]string, len(n.Entries))
		for i, e := range n.Entries {
			value, err := e.Value.MarshalJSON()
			if err != nil {
				return nil, err
			}
			key, err := json.Marshal(e.Key)
			if err != nil {
				return nil, fmt.Errorf("encoding key %q: %w", e.Key, err)
			}
			parts[i] = string(key) + ":" + string(value)
		}
		return []byte("{" + strings.Join(parts, ",") + "}"), nil
	case Float:
		if _, ok := n.Number(); !ok {
			return nil, fmt.Errorf("%s has no JSON form", n.Source)
		}
		return []byte(strconv.FormatFloat(n.Float, 'g', -1, 64)), nil
	}
	return json.Marshal(n.Value())
}
