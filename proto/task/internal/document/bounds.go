package document

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/fleetune/fleetune/proto/space"
)

// A Rule is what a field's tag says of its values, such as maximum=10.
type Rule struct{ Name, Value string }

// Rules reads a field's jsonschema tag. A comma within a value is written \,.
func Rules(f reflect.StructField) []Rule {
	tag := strings.ReplaceAll(f.Tag.Get("jsonschema"), `\,`, "\x00")
	if tag == "" {
		return nil
	}
	var list []Rule
	for part := range strings.SplitSeq(tag, ",") {
		name, value, _ := strings.Cut(part, "=")
		list = append(list, Rule{name, strings.ReplaceAll(value, "\x00", ",")})
	}
	return list
}

// rule returns the first rule of a name.
func rule(f reflect.StructField, name string) (string, bool) {
	for _, r := range Rules(f) {
		if r.Name == name {
			return r.Value, true
		}
	}
	return "", false
}

// bounds checks a bound value against its field's tags.
func (b *Binder) bounds(n *Node, path string, f reflect.StructField, v reflect.Value) {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.String:
		b.textBounds(n, path, f, v.String())
	case reflect.Int, reflect.Int64:
		if v.Type().PkgPath() == "" { // named integers carry units of their own
			b.numberBounds(n, path, f, float64(v.Int()))
		}
	case reflect.Float64:
		b.numberBounds(n, path, f, v.Float())
	}
}

// Enum lists the words a field may hold, none when any will do.
func Enum(f reflect.StructField) []string {
	var words []string
	for _, r := range Rules(f) {
		if r.Name == "enum" {
			words = append(words, r.Value)
		}
	}
	return words
}

func (b *Binder) textBounds(n *Node, path string, f reflect.StructField, s string) {
	if known := Enum(f); len(known) > 0 {
		b.OneOf(n, path, s, known)
		return
	}
	if most, ok := number(f, "maxLength"); ok && float64(utf8.RuneCountInString(s)) > most {
		b.Add(Problem{Line: n.Line, Column: n.Column, Field: path,
			Message: fmt.Sprintf("has %d letters", utf8.RuneCountInString(s)), Expected: fmt.Sprintf("at most %v", most)})
		return
	}
	if pattern, ok := rule(f, "pattern"); ok && !regexp.MustCompile(pattern).MatchString(s) {
		b.Mismatch(n, path, f.Tag.Get("expected"))
	}
}

// OneOf reports a word that is not among the known ones.
func (b *Binder) OneOf(n *Node, path, word string, known []string) bool {
	if slices.Contains(known, word) {
		return true
	}
	nearest := space.Nearest(strings.ToLower(word), known)
	b.Add(Problem{Line: n.Line, Column: n.Column, Field: path,
		Message: "is " + n.Describe(), Expected: Choice(known), Nearest: nearest})
	return false
}

// Choice lists words for a person: "a", "b" or "c".
func Choice(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = strconv.Quote(w)
	}
	if len(quoted) < 2 {
		return strings.Join(quoted, "")
	}
	return strings.Join(quoted[:len(quoted)-1], ", ") + " or " + quoted[len(quoted)-1]
}

func (b *Binder) numberBounds(n *Node, path string, f reflect.StructField, value float64) {
	least, hasLeast := number(f, "minimum")
	most, hasMost := number(f, "maximum")
	if hasLeast && value < least || hasMost && value > most {
		b.Mismatch(n, path, span(least, hasLeast, most, hasMost))
	}
}

func span(least float64, hasLeast bool, most float64, hasMost bool) string {
	plain := func(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
	switch {
	case hasLeast && hasMost:
		return "a number from " + plain(least) + " to " + plain(most)
	case hasLeast:
		return "at least " + plain(least)
	default:
		return "at most " + plain(most)
	}
}

func number(f reflect.StructField, name string) (float64, bool) {
	text, ok := rule(f, name)
	if !ok {
		return 0, false
	}
	value, err := strconv.ParseFloat(text, 64)
	if err != nil {
		panic(fmt.Sprintf("document: the %s of %s is %q", name, f.Name, text)) // a mistake in our own tags
	}
	return value, true
}
