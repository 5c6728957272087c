package dataset

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/fleetune/fleetune/worker/load/input"
)

// A record is one row: its fields as JSON. Fields of a table are strings.
type record struct {
	place  string // file:line, or file: row n
	fields map[string]json.RawMessage
}

// maxRecords bounds how many rows are held.
const maxRecords = 50_000_000

// ErrShape is returned where no rows can be made out.
var ErrShape = errors.New("no rows can be made out: want CSV with a header, JSONL, or JSON with a list of objects")

// records reads the rows of a file, told apart by what it begins with.
func records(f input.File, each func(record) error) error {
	data := bytes.TrimPrefix(f.Data, []byte("\xef\xbb\xbf"))
	text := bytes.TrimLeft(data, " \t\r\n")
	switch {
	case len(text) == 0:
		return fmt.Errorf("%s is empty: %w", f.Name, ErrShape)
	case text[0] == '[':
		return list(f.Name, text, each)
	case text[0] == '{' && oneObject(text):
		return wrapped(f.Name, text, each)
	case text[0] == '{':
		return lines(f.Name, data, each)
	}
	return table(f.Name, data, each)
}

// oneObject reports whether the text is one object, not one a line.
func oneObject(text []byte) bool {
	d := json.NewDecoder(bytes.NewReader(text))
	var first json.RawMessage
	return d.Decode(&first) == nil && !d.More()
}

func lines(name string, data []byte, each func(record) error) error {
	for number := 1; len(data) > 0; number++ {
		var line []byte
		line, data, _ = bytes.Cut(data, []byte{'\n'})
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		r := record{place: fmt.Sprintf("%s:%d", name, number)}
		if err := json.Unmarshal(line, &r.fields); err != nil {
			return fmt.Errorf("%s: %w", r.place, err)
		}
		if err := each(r); err != nil {
			return fmt.Errorf("%s: %w", r.place, err)
		}
	}
	return nil
}

// list reads a list of objects, or of texts, which count as prompts.
func list(name string, text []byte, each func(record) error) error {
	var rows []json.RawMessage
	if err := json.Unmarshal(text, &rows); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for i, row := range rows {
		r := record{place: fmt.Sprintf("%s: row %d", name, i+1)}
		if len(row) > 0 && row[0] == '"' {
			r.fields = map[string]json.RawMessage{"prompt": row}
		} else if err := json.Unmarshal(row, &r.fields); err != nil {
			return fmt.Errorf("%s: %w", r.place, err)
		}
		if err := each(r); err != nil {
			return fmt.Errorf("%s: %w", r.place, err)
		}
	}
	return nil
}

// wrapped reads an object that has the list of rows in one of its members, or
// is the only row itself.
func wrapped(name string, text []byte, each func(record) error) error {
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(text, &doc); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	var found []string
	for member, raw := range doc {
		var rows []map[string]json.RawMessage
		if json.Unmarshal(raw, &rows) == nil && len(rows) > 0 && !slices.Contains([]string{"messages", "conversations", "conversation"}, member) {
			found = append(found, member)
		}
	}
	switch len(found) {
	case 0:
		return lines(name, bytes.ReplaceAll(text, []byte("\n"), []byte(" ")), each)
	case 1:
		return list(name, doc[found[0]], each)
	}
	slices.Sort(found)
	return fmt.Errorf("%s: the lists %s could each be the rows: %w", name, strings.Join(found, ", "), ErrShape)
}

// table reads CSV or, by its name or its header, tab-separated values.
func table(name string, data []byte, each func(record) error) error {
	r := csv.NewReader(bytes.NewReader(data))
	header, _, _ := bytes.Cut(data, []byte{'\n'})
	if path.Ext(strings.ToLower(name)) == ".tsv" || bytes.IndexByte(header, '\t') >= 0 && bytes.IndexByte(header, ',') < 0 {
		r.Comma = '\t'
		r.LazyQuotes = true
	}
	r.FieldsPerRecord = -1
	names, err := r.Read()
	if err != nil {
		return fmt.Errorf("%s: reading the header: %w", name, err)
	}
	names = slices.Clone(names)
	for i := range names {
		names[i] = strings.TrimSpace(names[i])
	}
	r.ReuseRecord = true
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err) // names its line itself
		}
		line, _ := r.FieldPos(0)
		out := record{place: fmt.Sprintf("%s:%d", name, line), fields: make(map[string]json.RawMessage, len(names))}
		if len(row) > len(names) {
			return fmt.Errorf("%s: %d fields under %d columns", out.place, len(row), len(names))
		}
		for i, field := range row {
			out.fields[names[i]], _ = json.Marshal(field) // a string always encodes
		}
		if err := each(out); err != nil {
			return fmt.Errorf("%s: %w", out.place, err)
		}
	}
}

// find follows a path of names with dots between, the whole name first.
func (r record) find(name string) json.RawMessage {
	if raw, ok := r.fields[name]; ok {
		return raw
	}
	first, rest, ok := strings.Cut(name, ".")
	if !ok || r.fields[first] == nil {
		return nil
	}
	var inner record
	if json.Unmarshal(r.fields[first], &inner.fields) != nil {
		return nil
	}
	return inner.find(rest)
}

// text is a field as text: a string's own, and JSON of anything else. Absent
// and null give "".
func (r record) text(name string) (string, bool) {
	raw := r.find(name)
	if raw == nil || string(raw) == "null" {
		return "", false
	}
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s, true
	}
	return string(raw), true
}
