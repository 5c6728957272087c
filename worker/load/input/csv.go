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
func loadCSV(f File, opt Options) (*Workload, error) {
	r := csv.NewReader(bytes.NewReader(f.Data))
	r.ReuseRecord = true
	r.FieldsPerRecord = -1
	header, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("%s: reading the header: %w", f.Name, err)
	}
	t, err := newTable(header, opt)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name, err)
	}
	w := &Workload{}
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return w, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err) // names its line itself
		}
		if err := t.row(w, row); err != nil {
			line, _ := r.FieldPos(0)
			return nil, fmt.Errorf("%s:%d: %w", f.Name, line, err)
		}
	}
}

// table reads rows of one of the two kinds.
type table struct {
	opt              Options
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
	t := &table{opt: opt, seed: conversation.Seed(opt.Seed, string(opt.Format)), session: -1}
	for i, to := range []*int{&t.at, &t.input, &t.reply} {
		at, ok := column[names[i]]
		if !ok {
			return nil, fmt.Errorf("no column %q", names[i])
		}
		*to = at
	}
	if at, ok := column[names[3]]; ok && names[3] != "" {
		t.session = at
	}
	t.clock = t.wall
	if opt.Format == BurstGPT {
		t.clock = func(s string) (time.Duration, error) {
			x, err := strconv.ParseFloat(s, 64)
			if err != nil {
				return 0, err
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
		return 0, err
	}
	if t.zero == nil {
		t.zero = &at
	}
	return at.Sub(*t.zero), nil
}

func (t *table) row(w *Workload, row []string) error {
	if len(row) <= max(t.at, t.input, t.reply) {
		return fmt.Errorf("%d columns are too few", len(row))
	}
	at, err := t.clock(row[t.at])
	if err != nil {
		return fmt.Errorf("timestamp: %w", err)
	}
	in, err := strconv.Atoi(row[t.input])
	if err != nil || in < 0 || in > maxLength {
		return fmt.Errorf("prompt length %q is no length", row[t.input])
	}
	out, err := strconv.Atoi(row[t.reply])
	if err != nil || out < 0 {
		return fmt.Errorf("reply length %q is no length", row[t.reply])
	}
	if in == 0 || out == 0 || t.opt.MaxInput > 0 && in > t.opt.MaxInput {
		w.Skipped++
		return nil
	}
	number := int64(len(w.Conversations))
	id := fmt.Sprintf("row-%06d", number)
	if t.session >= 0 && t.session < len(row) && row[t.session] != "" {
		id += "-" + row[t.session]
	}
	w.Conversations = append(w.Conversations, &conversation.Conversation{ID: id, Turns: []conversation.Turn{{
		Messages:    []conversation.Message{conversation.Filler("user", conversation.Fill{Seed: conversation.Number(t.seed, number), Tokens: in})},
		InputTokens: in, MaxTokens: out, At: &at,
	}}})
	return nil
}
