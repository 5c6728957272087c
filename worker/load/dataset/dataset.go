// Package dataset brings recorded prompts to the load generator from wherever
// they are: a path or a URL, plain, compressed or in an archive, as a table or
// as JSON, with fields of any name. What the field's trace formats define is
// read by package input; this one finds the file, reads rows of everything
// else, and says what it found. Downloads are kept by their content, and
// nothing in an archive ever becomes a path.
package dataset

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fleetune/fleetune/worker/load/conversation"
	"github.com/fleetune/fleetune/worker/load/input"
	"github.com/fleetune/fleetune/worker/load/token"
)

// Rows is the format of datasets that are no trace: rows with fields.
const Rows input.Format = "dataset"

// Options say how a dataset is read.
type Options struct {
	// Input has the options of trace formats; its Format, Seed, Counter, Words,
	// Limit and MaxInput hold for rows too.
	Input input.Options
	Fetch Fetch
	Unpack
	// Map says which field is what; what it leaves open is found by usual names.
	Map Map
	// Template makes the prompt of a row; {{name}} stands for its field.
	Template string
	// Deduplicate keeps the first of rows that send the same.
	Deduplicate bool
	// Choice says which rows are taken where Input.Limit leaves some out, and
	// Stratum the field whose values are the strata; empty makes strata of
	// prompts by length.
	Choice  Choice
	Stratum string
}

// A Dataset is a workload with the figures of what it holds.
type Dataset struct {
	*input.Workload
	Stats Stats
}

// Load fetches and reads a dataset.
func Load(ctx context.Context, source string, opt Options) (*Dataset, error) {
	if opt.Input.Counter == nil {
		opt.Input.Counter = token.Bytes{}
	}
	if info, err := os.Stat(source); !IsURL(source) && err == nil && info.IsDir() {
		return directory(source, opt)
	}
	copied, err := opt.Fetch.Get(ctx, source)
	if err != nil {
		return nil, fmt.Errorf("finding the dataset: %w", err)
	}
	file, notes, err := Read(copied.Path, copied.Name, opt.Unpack)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", copied.Name, err)
	}
	if copied.Note != "" {
		notes = append(notes, copied.Note)
	}
	d, err := decode(file, opt)
	if err != nil {
		return nil, err
	}
	d.Notes = append(notes, d.Notes...)
	d.Stats.Source, d.Stats.SHA256 = copied.Name, copied.SHA256
	return d, nil
}

// directory reads traces of several files.
func directory(source string, opt Options) (*Dataset, error) {
	if opt.shapes() || opt.Input.Format == Rows {
		return nil, errors.New("a directory holds traces; name the file of a dataset of rows")
	}
	w, err := input.Load(source, opt.Input)
	if err != nil {
		return nil, err
	}
	return trace(w, filepath.Base(source), opt), nil
}

// shapes reports whether anything asks for rows.
func (o *Options) shapes() bool {
	return o.Map != (Map{}) || o.Template != "" || o.Stratum != ""
}

// decode reads a trace where the file is one, and rows otherwise.
func decode(f input.File, opt Options) (*Dataset, error) {
	format := opt.Input.Format
	if format == "" && !opt.shapes() {
		format, _ = input.Detect(f.Data) // what is no trace is rows
	}
	switch {
	case format == "" || format == Rows || opt.shapes():
		if opt.Input.Format != "" && opt.Input.Format != Rows {
			return nil, fmt.Errorf("a map, a template and a stratum are for rows, not for %s", opt.Input.Format)
		}
		return rows(f, opt)
	case opt.Input.Format == "" && format == input.RawPayload && !wholeRequests(f.Data):
		return rows(f, opt)
	}
	in := opt.Input
	in.Format = format
	if format != input.RandomPool {
		in.Limit = 0 // a part is taken below
	}
	w, err := input.Decode([]input.File{f}, in)
	if err != nil {
		return nil, err
	}
	return trace(w, f.Name, opt), nil
}

// wholeRequests reports whether lines with messages are request bodies rather
// than rows with other fields beside them.
func wholeRequests(data []byte) bool {
	var first map[string]json.RawMessage
	if json.NewDecoder(bytes.NewReader(data)).Decode(&first) != nil {
		return false
	}
	for _, member := range []string{"model", "max_tokens", "max_completion_tokens", "stream", "tools", "temperature"} {
		if first[member] != nil {
			return true
		}
	}
	return len(first) == 1
}

// trace makes a dataset of what package input read. Conversations without
// instants are chosen from as rows are; of others the first are taken, since
// their order is the load.
func trace(w *input.Workload, name string, opt Options) *Dataset {
	d := &Dataset{Workload: w, Stats: Stats{Source: name, Format: string(w.Format), Counter: opt.Input.Counter.Name(),
		Rows: w.Rows, Skipped: w.Skipped - w.TooLong, TooLong: w.TooLong}}
	switch n := opt.Input.Limit; {
	case len(w.Trees) == 0 && !timed(w.Conversations):
		all := make([]row, len(w.Conversations))
		for i, c := range w.Conversations {
			all[i].conv = c
		}
		w.Conversations = nil
		d.choose(all, opt)
	case n > 0:
		d.Stats.NotSampled = max(0, len(w.Conversations)-n) + max(0, len(w.Trees)-n)
		w.Conversations, w.Trees = w.Conversations[:min(n, len(w.Conversations))], w.Trees[:min(n, len(w.Trees))]
	}
	d.Stats.measure(w)
	return d
}

func timed(list []*conversation.Conversation) bool {
	return slices.ContainsFunc(list, func(c *conversation.Conversation) bool {
		return slices.ContainsFunc(c.Turns, func(t conversation.Turn) bool { return t.At != nil })
	})
}

// rows reads rows with fields.
func rows(f input.File, opt Options) (*Dataset, error) {
	d := &Dataset{Workload: &input.Workload{Format: Rows}, Stats: Stats{Source: f.Name, Format: string(Rows), Counter: opt.Input.Counter.Name()}}
	s := &shaper{fields: opt.Map, template: opt.Template, opt: opt.Input}
	var all []row
	err := records(f, func(r record) error {
		if d.Stats.Rows == 0 {
			s.fields = s.fields.guess(r, s.template != "")
			if s.template == "" && s.fields.Prompt+s.fields.Prompts+s.fields.Messages+s.fields.Conversations+s.fields.RequestBody == "" {
				return fmt.Errorf("none of its fields (%s) is known to hold a prompt; name it, as in prompt=FIELD", names(r))
			}
		}
		if d.Stats.Rows++; d.Stats.Rows > maxRecords {
			return fmt.Errorf("more than %d rows: %w", maxRecords, ErrTooLarge)
		}
		c, err := s.shape(r, d.Stats.Rows)
		switch {
		case errors.Is(err, errEmpty):
			d.Stats.Empty++
			return nil
		case err != nil:
			return err
		case tooLong(c, opt.Input.MaxInput):
			d.Stats.TooLong++
			return nil
		}
		stratum := ""
		if opt.Stratum != "" {
			stratum, _ = r.text(opt.Stratum)
		}
		all = append(all, row{c, stratum})
		return nil
	})
	if err != nil {
		return nil, err
	}
	d.choose(all, opt)
	if d.Stats.Rows == 0 {
		return nil, fmt.Errorf("%s has no rows below its first line: %w", f.Name, ErrShape)
	}
	if len(d.Conversations) == 0 {
		err := fmt.Errorf("%s holds no usable request (of %d rows %d are empty and %d too long)", f.Name, d.Stats.Rows, d.Stats.Empty, d.Stats.TooLong)
		if d.Stats.TooLong > 0 {
			err = fmt.Errorf("%w: %w", err, input.ErrTooLong)
		}
		return nil, err
	}
	d.Stats.Fields = map[string]string{}
	for what, field := range s.fields.places() {
		if *field != "" {
			d.Stats.Fields[what] = *field
		}
	}
	d.Stats.measure(d.Workload)
	return d, nil
}

func (d *Dataset) choose(all []row, opt Options) {
	if opt.Deduplicate {
		before := len(all)
		all = deduplicate(all)
		d.Stats.Duplicates = before - len(all)
	}
	if opt.Choice == Stratified && opt.Stratum == "" {
		byLength(all)
	}
	before := len(all)
	all = sample(all, opt.Input.Limit, opt.Choice, opt.Input.Seed)
	d.Stats.NotSampled = before - len(all)
	d.Skipped += d.Stats.Empty + d.Stats.TooLong + d.Stats.Duplicates
	for _, r := range all {
		d.Conversations = append(d.Conversations, r.conv)
		if r.stratum != "" {
			if d.Stats.Strata == nil {
				d.Stats.Strata = map[string]int{}
			}
			d.Stats.Strata[r.stratum]++
		}
	}
}

func tooLong(c *conversation.Conversation, most int) bool {
	return most > 0 && slices.ContainsFunc(c.Turns, func(t conversation.Turn) bool { return t.InputTokens > most })
}

func names(r record) string {
	return strings.Join(slices.Sorted(maps.Keys(r.fields)), ", ")
}

// counts lists the most common values of a field, as many as a line takes.
func counts(of map[string]int) string {
	keys := slices.SortedFunc(maps.Keys(of), func(a, b string) int {
		if of[a] != of[b] {
			return of[b] - of[a]
		}
		return strings.Compare(a, b)
	})
	const shown = 12
	var out []string
	for i, k := range keys {
		if i == shown {
			out = append(out, fmt.Sprintf("and %d more", len(keys)-shown))
			break
		}
		out = append(out, fmt.Sprintf("%s: %d", k, of[k]))
	}
	return strings.Join(out, "; ")
}
