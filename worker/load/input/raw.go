package input

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/fleetune/fleetune/worker/load/conversation"
	"github.com/fleetune/fleetune/worker/load/endpoint"
	"github.com/fleetune/fleetune/worker/load/token"
)

// RawTurn makes a turn of a whole request body, which is sent as it is save
// for the model and the way of streaming.
func RawTurn(raw json.RawMessage, counter token.Counter) (conversation.Turn, error) {
	members := map[string]json.RawMessage{}
	if err := lenient(raw, &members); err != nil {
		return conversation.Turn{}, err
	}
	t := conversation.Turn{Raw: raw}
	for _, name := range []string{"messages", "prompt", "input", "query", "instructions"} {
		t.InputTokens += valueTokens(members[name], counter)
	}
	for _, name := range []string{"max_tokens", "max_completion_tokens", "max_output_tokens"} {
		var n int
		if json.Unmarshal(members[name], &n) == nil && n > 0 {
			t.MaxTokens = n
		}
	}
	return t, nil
}

// valueTokens counts a text, a list of texts, or a list of messages.
func valueTokens(raw json.RawMessage, counter token.Counter) int {
	var text string
	if raw == nil || json.Unmarshal(raw, &text) == nil {
		return counter.Count(text)
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return 0
	}
	n := 0
	for _, item := range list {
		var m endpoint.Message
		switch {
		case json.Unmarshal(item, &text) == nil:
			n += counter.Count(text)
		case json.Unmarshal(item, &m) == nil:
			n += counter.Count(m.Plain())
		}
	}
	return n
}

// loadInputs reads what AIPerf writes as inputs.json: the request bodies of
// every session, in order.
func loadInputs(w *Workload, f File, opt Options) error {
	var doc struct {
		Data []struct {
			SessionID string            `json:"session_id"`
			Payloads  []json.RawMessage `json:"payloads"`
		} `json:"data"`
	}
	if err := lenient(f.Data, &doc); err != nil {
		return fmt.Errorf("%s: %w", f.Name, err)
	}
	var found problems
	for i, session := range doc.Data {
		number := w.Rows
		w.Rows++
		if len(session.Payloads) == 0 {
			w.Skipped++
			continue
		}
		c := &conversation.Conversation{ID: session.SessionID, Mode: conversation.Whole}
		if c.ID == "" {
			c.ID = fmt.Sprintf("session-%06d", number)
		}
		for k, raw := range session.Payloads {
			t, err := RawTurn(raw, opt.Counter)
			if err != nil && !found.add(fmt.Errorf("%s: data[%d].payloads[%d]: %w", f.Name, i, k, err)) {
				return found.err()
			}
			c.Turns = append(c.Turns, t)
		}
		w.Conversations = append(w.Conversations, c)
	}
	return found.err()
}

// poolSize is how many conversations a random pool gives where no limit says
// so, as in AIPerf.
const poolSize = 100

// loadPool draws conversations of one turn from pools, one a file: each turn
// puts one entry of every pool together.
func loadPool(files []File, opt Options) (*Workload, error) {
	w := &Workload{}
	pools := make([][]turnLine, len(files))
	for i, f := range files {
		err := eachLine(f, func(_ int, line []byte) error {
			var l turnLine
			if err := strict(line, &l); err != nil {
				return err
			}
			if l.RequestBody != nil || l.Timestamp != nil || l.Delay != nil {
				return errors.New("an entry of a pool has texts, images, audio or video, and no request or time")
			}
			w.Rows++
			pools[i] = append(pools[i], l)
			return nil
		})
		if err != nil {
			return nil, err
		}
		if len(pools[i]) == 0 {
			return nil, fmt.Errorf("%s: the pool is empty", f.Name)
		}
	}
	n := poolSize
	if opt.Limit > 0 {
		n = opt.Limit
	}
	seed := conversation.Seed(opt.Seed, "random pool")
	for i := range n {
		rng := conversation.Rand(conversation.Number(seed, int64(i)))
		whole := turnLine{}
		for _, pool := range pools {
			if err := whole.take(&pool[rng.IntN(len(pool))]); err != nil {
				return nil, err
			}
		}
		t, err := whole.turn(opt)
		if err != nil {
			return nil, err
		}
		w.Conversations = append(w.Conversations, &conversation.Conversation{ID: fmt.Sprintf("pool-%06d", i), Turns: []conversation.Turn{t}})
	}
	return w, nil
}

// take adds another entry's content.
func (l *turnLine) take(o *turnLine) error {
	for _, kind := range []struct {
		name string
		one  *string
		many []string
		to   *[]string
	}{
		{"text", o.Text, o.Texts, &l.Texts}, {"image", o.Image, o.Images, &l.Images},
		{"audio", o.Audio, o.Audios, &l.Audios}, {"video", o.Video, o.Videos, &l.Videos},
	} {
		all, err := oneOrMany(kind.name, kind.one, kind.many)
		if err != nil {
			return err
		}
		*kind.to = append(*kind.to, all...)
	}
	if o.Prompt != nil {
		l.Texts = append(l.Texts, *o.Prompt)
	}
	l.MaxTokens = max(l.MaxTokens, o.MaxTokens, o.Output)
	if o.Role != "" {
		l.Role = o.Role
	}
	if o.Model != "" {
		l.Model = o.Model
	}
	return nil
}
