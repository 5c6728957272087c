// Package document reads a YAML or JSON text into Go structs and keeps, for
// every value, where in the text it stands. It is the task decoder's front
// door: it collects every mistake instead of stopping at the first, refuses
// texts built to exhaust a reader, and knows nothing of tasks.
package document

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits on a text.
const (
	// MaxBytes is the size of the text.
	MaxBytes = 1 << 20
	// MaxDepth is how deep lists and mappings may nest.
	MaxDepth = 32
	// MaxValues counts every value, those behind aliases each time they appear.
	MaxValues = 200_000
	// maxKeys bounds the keys of all mappings together, maxKeyBytes each.
	maxKeys     = 5_000
	maxKeyBytes = 200
	// maxTokens, maxKeys and maxMarks bound what the YAML parser is given: its
	// time grows with the square of some of them.
	maxTokens = 400_000
	maxMarks  = 100 // anchors, tags, explicit and merge keys
)

// Kind is the kind of a value.
type Kind uint8

// The kinds of value.
const (
	Null Kind = iota
	Bool
	Int
	Float
	Text
	List
	Map
)

// A Node is one value and its place.
type Node struct {
	Kind         Kind
	Line, Column int // of the value's first letter, from 1
	// Source is the text of a scalar: as written for numbers and booleans, the
	// meaning for texts.
	Source  string
	Bool    bool
	Int     int64
	Float   float64
	Items   []*Node
	Entries []Entry
	// size counts the values in and below this one.
	size int
}

// An Entry is one key of a mapping with its value.
type Entry struct {
	Key          string
	Line, Column int // of the key
	Value        *Node
}

// A Problem is one mistake in a text.
type Problem struct {
	Line, Column int
	// Field is the dotted path of the value.
	Field   string
	Warning bool
	Message string
	// Expected says what would be right, Nearest what was probably meant.
	Expected, Nearest string
}

// Parse reads a text. The name's suffix says what it is: .json is JSON,
// anything else YAML unless it starts like a JSON object. With problems the
// node is nil.
func Parse(name string, data []byte) (*Node, []Problem) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if len(data) > MaxBytes {
		return nil, one(1, 1, fmt.Sprintf("the file has %d bytes", len(data)), fmt.Sprintf("at most %d", MaxBytes))
	}
	if !utf8.Valid(data) {
		line, column := invalidAt(data)
		return nil, one(line, column, "the file is not UTF-8 text", "")
	}
	var root *Node
	var problems []Problem
	if isJSON(name, data) {
		root, problems = parseJSON(data)
	} else {
		root, problems = parseYAML(data)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return root, nil
}

func isJSON(name string, data []byte) bool {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".json":
		return true
	case ".yaml", ".yml":
		return false
	}
	return bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{"))
}

func one(line, column int, message, expected string) []Problem {
	return []Problem{{Line: line, Column: column, Message: message, Expected: expected}}
}

// at turns a byte offset into a line and a column, which counts letters.
func at(data []byte, offset int) (line, column int) {
	offset = max(0, min(offset, len(data)))
	start := bytes.LastIndexByte(data[:offset], '\n') + 1
	return bytes.Count(data[:offset], []byte("\n")) + 1, utf8.RuneCount(data[start:offset]) + 1
}

func invalidAt(data []byte) (line, column int) {
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n == 1 {
			return at(data, i)
		}
		i += n
	}
	return 1, 1
}

// count sets the size of a list or mapping and says whether it is in bounds.
func (n *Node) count() bool {
	n.size = 1
	for _, item := range n.Items {
		n.size += item.size
	}
	for i := range n.Entries {
		n.size += n.Entries[i].Value.size
	}
	return n.size <= MaxValues
}

// Describe names the value for a message: what it is, and a short one whole.
func (n *Node) Describe() string {
	switch n.Kind {
	case Null:
		return "empty"
	case Bool, Int, Float:
		return Clip(n.Source)
	case Text:
		return "the text " + strconv.Quote(Clip(n.Source))
	case List:
		return "a list"
	default:
		return "a mapping"
	}
}

// Clip shortens a text for a message.
func Clip(s string) string {
	const most = 60
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most]) + "…"
}

// Scalar says whether the value is a bool, number or text.
func (n *Node) Scalar() bool { return n.Kind >= Bool && n.Kind <= Text }

// Value returns a scalar as bool, int64, float64 or string, else nil.
func (n *Node) Value() any {
	switch n.Kind {
	case Bool:
		return n.Bool
	case Int:
		return n.Int
	case Float:
		return n.Float
	case Text:
		return n.Source
	default:
		return nil
	}
}

// Get returns the value of a key of a mapping, nil when it has none.
func (n *Node) Get(key string) *Node {
	for i := range n.Entries {
		if n.Entries[i].Key == key {
			return n.Entries[i].Value
		}
	}
	return nil
}

// Join appends a key to a path.
func Join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// Item appends an index to a path.
func Item(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// duplicates reports keys that a mapping has twice; the second has no effect
// that anybody could rely on.
func duplicates(n *Node, path string) []Problem {
	var problems []Problem
	first := map[string]int{}
	for _, e := range n.Entries {
		if line, ok := first[e.Key]; ok {
			problems = append(problems, Problem{Line: e.Line, Column: e.Column, Field: Join(path, e.Key),
				Message: fmt.Sprintf("stands here a second time (first in line %d)", line), Expected: "every key once"})
			continue
		}
		first[e.Key] = e.Line
	}
	return problems
}
