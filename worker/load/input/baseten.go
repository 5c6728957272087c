package input

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fleetune/fleetune/worker/load/conversation"
)

// basetenLine is a row of Baseten's recorded completions, a table whose files
// are Parquet. Columns that are not read here are passed over.
type basetenLine struct {
	Start    *float64                   `json:"timestamp_start_unix_ms"`
	Prompt   string                     `json:"prompt"`
	Input    int                        `json:"input_tokens"`
	Output   int                        `json:"output_tokens"`
	Hashes   []int64                    `json:"total_hashes"`
	Block    *int                       `json:"block_size"`
	Session  json.RawMessage            `json:"provided_session_id"`
	Derived  json.RawMessage            `json:"poor_man_session_id"`
	Duration *float64                   `json:"duration_e2e_ms"`
	Canceled *float64                   `json:"request_canceled"`
	Body     map[string]json.RawMessage `json:"request_body"`
}

// completion is a checked row with what is made of it.
type completion struct {
	session string
	start   float64 // ms since 1970
	end     float64
	turn    conversation.Turn
	hashed  *hashed // nil without blocks
}

// loadBaseten reads one request a line; sessions makes conversations of those
// of all files.
func loadBaseten(w *Workload, f File, opt Options) error {
	cancelled := 0
	err := eachLine(f, func(_ int, line []byte) error {
		var l basetenLine
		if err := lenient(line, &l); err != nil {
			return err
		}
		number := int64(w.Rows)
		w.Rows++
		c, err := l.completion(number, opt)
		if err != nil {
			return err
		}
		if l.Canceled != nil && *l.Canceled != 0 {
			cancelled++
		}
		w.completions = append(w.completions, c)
		return nil
	})
	if err != nil {
		return err
	}
	if cancelled > 0 {
		w.Notes = append(w.Notes, fmt.Sprintf("%s: %d requests had been cancelled when they were recorded; they are sent like all others", f.Name, cancelled))
	}
	return nil
}

// sessions makes conversations of recorded completions. Those of one session are
// its turns, in the order of their instants, which count from the first of all;
// each prompt is complete.
func (w *Workload) sessions() {
	all := w.completions
	w.completions = nil
	slices.SortStableFunc(all, func(a, b completion) int { return cmp.Compare(a.start, b.start) })
	of := map[string]*conversation.Conversation{}
	ends := map[string]float64{}
	for i := range all {
		x := &all[i]
		at := time.Duration((x.start - all[0].start) * float64(time.Millisecond))
		x.turn.At = &at
		c := of[x.session]
		if c == nil {
			c = &conversation.Conversation{ID: x.session, Mode: conversation.Whole}
			of[x.session] = c
			w.Conversations = append(w.Conversations, c)
		} else {
			x.turn.Delay = time.Duration(max(0, x.start-ends[x.session]) * float64(time.Millisecond))
		}
		ends[x.session] = x.end
		if x.hashed != nil {
			x.hashed.conv, x.hashed.turn = c, len(c.Turns)
			w.hashes = append(w.hashes, *x.hashed)
		}
		c.Turns = append(c.Turns, x.turn)
	}
}

func (l *basetenLine) completion(number int64, opt Options) (completion, error) {
	size := cmp.Or(opt.BlockSize, 512)
	if opt.BlockSize == 0 && l.Block != nil {
		size = *l.Block
	}
	if err := l.check(size); err != nil {
		return completion{}, err
	}
	c := completion{start: *l.Start, end: *l.Start, session: cmp.Or(text(l.Session), text(l.Derived), fmt.Sprintf("row-%06d", number))}
	if l.Duration != nil {
		c.end += *l.Duration
	}
	c.turn = conversation.Turn{MaxTokens: l.Output, InputTokens: l.Input, Extra: l.Body}
	if l.Prompt != "" {
		c.turn.Messages = []conversation.Message{conversation.Text("user", l.Prompt)}
	}
	if l.Prompt == "" || len(l.Hashes) > 0 {
		seed := conversation.Seed(opt.Seed, "baseten")
		c.hashed = &hashed{ids: l.Hashes, size: size, tokens: l.Input, seed: seed, own: conversation.Number(seed^1, number), told: l.Prompt != ""}
		return c, c.hashed.check()
	}
	return c, nil
}

func (l *basetenLine) check(size int) error {
	var errs []error
	bad := func(when bool, format string, args ...any) {
		if when {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(l.Start == nil || !(*l.Start >= 0 && *l.Start < 1e15), "timestamp_start_unix_ms: want ms since 1970")
	bad(l.Input < 1 || l.Input > maxLength, "input_tokens %d is not from 1 to %d", l.Input, maxLength)
	bad(l.Output < 0 || l.Output > maxLength, "output_tokens %d is not from 0 to %d", l.Output, maxLength)
	bad(size < 1 || size > maxLength, "block_size %d is not from 1 to %d", size, maxLength)
	bad(l.Duration != nil && !(*l.Duration >= 0 && *l.Duration < 1e15), "duration_e2e_ms: want a time in ms")
	return errors.Join(errs...)
}

// text is an id that may be a text or a number.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return strings.TrimSpace(string(raw))
}
