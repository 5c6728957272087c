package input

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/fleetune/fleetune/worker/load/conversation"
	"github.com/fleetune/fleetune/worker/load/endpoint"
	"github.com/fleetune/fleetune/worker/load/token"
)

// rawTurn makes a turn of a whole request body, which is sent as it is save
// for the model and the way of streaming.
func rawTurn(raw json.RawMessage, opt Options) (conversation.Turn, error) {
	n, err := BodyTokens(raw, opt.Counter)
	return conversation.Turn{Raw: raw, InputTokens: n}, err
}

// BodyTokens counts the prompt of a request body, wherever its endpoint has
// it; 0 where it is not text.
func BodyTokens(raw json.RawMessage, counter token.Counter) (int, error) {
	members := map[string]json.RawMessage{}
	if err := json.Unmarshal(raw, &members); err != nil {
		return 0, err
	}
	n := 0
	for _, name := range []string{"messages", "prompt", "input", "query", "instructions"} {
		n += valueTokens(members[name], counter)
	}
	return n, nil
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
func loadInputs(f File, opt Options) (*Workload, error) {
	var doc struct {
		Data []struct {
			SessionID string            `json:"session_id"`
			Payloads  []json.RawMessage `json:"payloads"`
		} `json:"data"`
	}
	if err := json.Unmarshal(f.Data, &doc); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name, err)
	}
	w := &Workload{}
	for i, session := range doc.Data {
		if len(session.Payloads) == 0 {
			w.Skipped++
			continue
		}
		c := &conversation.Conversation{ID: session.SessionID, Mode: conversation.Whole}
		if c.ID == "" {
			c.ID = fmt.Sprintf("session-%06d", i)
		}
		for k, raw := range session.Payloads {
			t, err := rawTurn(raw, opt)
			if err != nil {
				return nil, fmt.Errorf("%s: session %d, payload %d: %w", f.Name, i, k, err)
			}
			c.Turns = append(c.Turns, t)
		}
		w.Conversations = append(w.Conversations, c)
	}
	return w, nil
}

// poolSize is how many conversations a random pool gives where no limit says
// so, as in AIPerf.
const poolSize = 100

// loadPool draws conversations of one turn from pools, one a file: each turn
// puts one entry of every pool together.
func loadPool(files []File, opt Options) (*Workload, error) {
	pools := make([][]turnLine, len(files))
	for i, f := range files {
		err := eachLine(f, func(_ int, line []byte) error {
			var l turnLine
			if err := strict(line, &l); err != nil {
				return err
			}
			if l.Turns != nil || l.RequestBody != nil || l.Timestamp != nil || l.Delay != nil {
				return errors.New("an entry of a pool has texts, images, audio or video, and no turns, request or time")
			}
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
	w := &Workload{}
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
