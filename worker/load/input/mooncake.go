package input

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/fleetune/fleetune/worker/load/conversation"
	"github.com/fleetune/fleetune/worker/load/endpoint"
)

type mooncakeLine struct {
	InputLength  *int                       `json:"input_length"`
	TextInput    *string                    `json:"text_input"`
	Messages     []endpoint.Message         `json:"messages"`
	OutputLength int                        `json:"output_length"`
	HashIDs      []int64                    `json:"hash_ids"`
	Timestamp    *float64                   `json:"timestamp"`
	Delay        *float64                   `json:"delay"`
	SessionID    string                     `json:"session_id"`
	Tools        json.RawMessage            `json:"tools"`
	Extra        map[string]json.RawMessage `json:"extra"`
}

// mooncake reads one file.
type mooncake struct {
	w        *Workload
	opt      Options
	file     File
	seed     uint64
	size     int
	sessions map[string]*conversation.Conversation
	// last holds the blocks of each session's row before, twice the sessions
	// whose rows seem to be whole prompts.
	last  map[*conversation.Conversation][]int64
	twice map[*conversation.Conversation]bool
}

// loadMooncake reads one request a line; lines of one session are its turns.
func loadMooncake(w *Workload, f File, opt Options) error {
	m := &mooncake{w: w, opt: opt, file: f, seed: conversation.Seed(opt.Seed, "mooncake"), size: cmp.Or(opt.BlockSize, 512),
		sessions: map[string]*conversation.Conversation{}, last: map[*conversation.Conversation][]int64{}, twice: map[*conversation.Conversation]bool{}}
	if err := eachLine(f, m.row); err != nil {
		return err
	}
	if n := len(m.twice); n > 0 {
		w.Notes = append(w.Notes, fmt.Sprintf("%s: in %d sessions rows begin with the blocks of the row before, as whole prompts do; "+
			"rows of a session are what each turn adds, so these prompts hold the same text again and again (--whole-prompts reads rows as whole prompts)", f.Name, n))
	}
	return nil
}

func (m *mooncake) row(_ int, line []byte) error {
	var l mooncakeLine
	if err := lenient(line, &l); err != nil {
		return err
	}
	number := int64(m.w.Rows)
	if m.w.Rows++; len(m.sessions) == 0 {
		m.w.ignored(m.file, line, &l)
	}
	t, err := l.turn(m.opt)
	if err != nil {
		return err
	}
	mode := conversation.DeltasWithoutReplies
	if l.Messages != nil || m.opt.WholePrompts {
		mode = conversation.Whole
	}
	c := m.sessions[l.SessionID]
	if c == nil || l.SessionID == "" {
		c = &conversation.Conversation{ID: cmp.Or(l.SessionID, fmt.Sprintf("line-%06d", number)), Mode: mode}
		m.sessions[l.SessionID] = c
		m.w.Conversations = append(m.w.Conversations, c)
	}
	if c.Mode != mode {
		return fmt.Errorf("session_id %q: rows with messages, which are whole prompts, and rows without do not go together", l.SessionID)
	}
	if l.InputLength != nil {
		h := hashed{conv: c, turn: len(c.Turns), ids: l.HashIDs, size: m.size, tokens: *l.InputLength, seed: m.seed, own: conversation.Number(m.seed^1, number)}
		if err := h.check(); err != nil {
			return err
		}
		m.w.hashes = append(m.w.hashes, h)
		m.compare(c, &l)
	}
	c.Turns = append(c.Turns, t)
	return nil
}

// compare looks whether a row that should be what a turn adds has the prompt
// before in it.
func (m *mooncake) compare(c *conversation.Conversation, l *mooncakeLine) {
	if c.Mode == conversation.Whole || l.SessionID == "" || l.HashIDs == nil {
		return
	}
	last := m.last[c]
	m.last[c] = l.HashIDs
	if n := len(last); n > 0 && len(l.HashIDs) >= n && common(last, l.HashIDs) >= max(1, n-1) { // the last block may have been partial
		m.twice[c] = true
	}
}

// turn is the row's request, save for a prompt that is only a length.
func (l *mooncakeLine) turn(opt Options) (conversation.Turn, error) {
	t := conversation.Turn{MaxTokens: l.OutputLength, Tools: l.Tools, Extra: l.Extra}
	if err := errors.Join(l.check(), pauses(&t, l.Timestamp, l.Delay)); err != nil {
		return t, err
	}
	if l.TextInput != nil {
		t.Messages, t.InputTokens = []conversation.Message{conversation.Text("user", *l.TextInput)}, opt.Counter.Count(*l.TextInput)
	}
	for _, x := range l.Messages {
		t.Messages = append(t.Messages, conversation.Message{Message: x})
		t.InputTokens += opt.Counter.Count(x.Plain())
	}
	return t, nil
}

// check holds a row against what the format allows together.
func (l *mooncakeLine) check() error {
	kinds := 0
	for _, has := range []bool{l.InputLength != nil, l.TextInput != nil, l.Messages != nil} {
		if has {
			kinds++
		}
	}
	switch {
	case kinds != 1:
		return errors.New("want exactly one of input_length, text_input and messages")
	case l.HashIDs != nil && l.InputLength == nil:
		return errors.New("hash_ids need input_length")
	case l.Tools != nil && l.Messages == nil:
		return errors.New("tools need messages")
	case l.InputLength != nil && (*l.InputLength < 1 || *l.InputLength > maxLength):
		return fmt.Errorf("input_length %d is not from 1 to %d", *l.InputLength, maxLength)
	case l.OutputLength < 0 || l.OutputLength > maxLength:
		return fmt.Errorf("output_length %d is not from 0 to %d", l.OutputLength, maxLength)
	case l.Messages != nil && len(l.Messages) == 0:
		return errors.New("messages must not be empty")
	}
	return nil
}
