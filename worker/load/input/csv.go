package input

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/fleetune/fleetune/worker/load/conversation"
)

// loadCSV reads the Azure and BurstGPT tables: an instant and two lengths a
// row. BurstGPT's rows without a reply are failures and left out.
func loadCSV(w *Workload, f File, opt Options) error {
	r := csv.NewReader(bytes.NewReader(f.Data))
	r.ReuseRecord = true
	r.FieldsPerRecord = -1
	header, err := r.Read()
	if err != nil {
		return fmt.Errorf("%s: reading the header: %w", f.Name, err)
	}
	t, err := newTable(header, opt)
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name, err)
	}
	var found problems
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return found.err()
		}
		if err != nil {
			found.add(fmt.Errorf("%s: %w", f.Name, err)) // names its line itself
			return found.err()
		}
		line, _ := r.FieldPos(0)
		if err := t.row(w, row); err != nil && !found.add(fmt.Errorf("%s:%d: %w", f.Name, line, err)) {
			return found.err()
		}
	}
}

// table reads rows of one of the two kinds.
type table struct {
	opt              Options
	names            [4]string
	at, input, reply int
	session          int
	clock            func(string) (time.Duration, error)
	seed             uint64
	zero             *time.Time
}

func newTable(header []string, opt Options) (*table, error) {
	column := map[string]int{}
	for i, name := range header {
		column[name] = i
	}
	names := [4]string{"TIMESTAMP", "ContextTokens", "GeneratedTokens", ""}
	if opt.Format == BurstGPT {
		names = [4]string{"Timestamp", "Request tokens", "Response tokens", "Session ID"}
	}
	t := &table{opt: opt, names: names, seed: conversation.Seed(opt.Seed, string(opt.Format)), session: -1}
	var errs []error
	for i, to := range []*int{&t.at, &t.input, &t.reply} {
		at, ok := column[names[i]]
		if !ok {
			errs = append(errs, fmt.Errorf("the header has no column %q", names[i]))
		}
		*to = at
	}
	if errs != nil {
		return nil, errors.Join(errs...)
	}
	if at, ok := column[names[3]]; ok && names[3] != "" {
		t.session = at
	}
	t.clock = t.wall
	if opt.Format == BurstGPT {
		t.clock = func(s string) (time.Duration, error) {
			x, err := strconv.ParseFloat(s, 64)
			if err != nil {
				return 0, fmt.Errorf("%q is no number of seconds", s)
			}
			return span(x, time.Second)
		}
	}
	return t, nil
}

// wall reads an instant of the clock on the wall, counted from the first.
func (t *table) wall(s string) (time.Duration, error) {
	at, err := time.Parse("2006-01-02 15:04:05.9999999", s)
	if err != nil {
		return 0, fmt.Errorf("%q is no instant such as 2023-11-16 18:17:03.9799600", s)
	}
	if t.zero == nil {
		t.zero = &at
	}
	return at.Sub(*t.zero), nil
}

func (t *table) row(w *Workload, row []string) error {
	number := int64(w.Rows)
	w.Rows++
	if len(row) <= max(t.at, t.input, t.reply) {
		return fmt.Errorf("%d columns are too few", len(row))
	}
	at, err := t.clock(row[t.at])
	if err != nil {
		return fmt.Errorf("%s: %w", t.names[0], err)
	}
	in, err := strconv.Atoi(row[t.input])
	if err != nil || in < 0 || in > maxLength {
		return fmt.Errorf("%s: %q is no length in tokens", t.names[1], row[t.input])
	}
	out, err := strconv.Atoi(row[t.reply])
	if err != nil || out < 0 || out > maxLength {
		return fmt.Errorf("%s: %q is no length in tokens", t.names[2], row[t.reply])
	}
	if in == 0 || out == 0 {
		w.Skipped++
		return nil
	}
	id := fmt.Sprintf("row-%06d", number)
	if t.session >= 0 && t.session < len(row) && row[t.session] != "" {
		id += "-" + row[t.session]
	}
	c := &conversation.Conversation{ID: id, Turns: []conversation.Turn{{MaxTokens: out, At: &at}}}
	w.Conversations = append(w.Conversations, c)
	w.hashes = append(w.hashes, hashed{conv: c, size: 1, tokens: in, own: conversation.Number(t.seed, number)})
	return nil
}
