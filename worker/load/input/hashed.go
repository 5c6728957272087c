package input

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fleetune/fleetune/worker/load/conversation"
	"github.com/fleetune/fleetune/worker/load/endpoint"
)

// Requests may not be longer than this many tokens, nor have more blocks.
const maxBlocks = 1 << 20

// blocks makes filler of hashed blocks: the same id gives the same text at any
// length, so a partial block is the beginning of the full one.
func blocks(seed uint64, ids []int64, size, input int) ([]conversation.Fill, error) {
	if len(ids) > maxBlocks || input > maxLength {
		return nil, fmt.Errorf("a prompt of %d tokens in %d blocks is too long", input, len(ids))
	}
	if len(ids) > (input+size-1)/size {
		return nil, fmt.Errorf("%d blocks of %d are more than %d tokens need", len(ids), size, input)
	}
	var out []conversation.Fill
	left := input
	for _, id := range ids {
		n := min(size, left)
		out = append(out, conversation.Fill{Seed: conversation.Number(seed, id), Tokens: n})
		left -= n
	}
	return out, nil
}

// prefixes is an ideal prefix cache that never forgets.
type prefixes map[int64]bool

// hits counts the leading blocks that are held, and adds all.
func (p prefixes) hits(ids []int64) int {
	n := 0
	for n < len(ids) && p[ids[n]] {
		n++
	}
	for _, id := range ids {
		p[id] = true
	}
	return n
}

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

// loadMooncake reads one request a line; lines of one session are its turns.
func loadMooncake(f File, opt Options) (*Workload, error) {
	w := &Workload{}
	sessions := map[string]*conversation.Conversation{}
	seed := conversation.Seed(opt.Seed, "mooncake")
	size := cmp.Or(opt.BlockSize, 512)
	cache := prefixes{}
	err := eachLine(f, func(_ int, line []byte) error {
		var l mooncakeLine
		if err := json.Unmarshal(line, &l); err != nil {
			return err
		}
		number := int64(len(w.Conversations) + w.Skipped)
		t, err := l.turn(opt, seed, number, size, cache)
		if err != nil {
			return err
		}
		if opt.MaxInput > 0 && t.InputTokens > opt.MaxInput {
			w.Skipped++
			return nil
		}
		c := sessions[l.SessionID]
		if c == nil || l.SessionID == "" {
			c = &conversation.Conversation{ID: cmp.Or(l.SessionID, fmt.Sprintf("line-%06d", number)), Mode: conversation.DeltasWithoutReplies}
			sessions[l.SessionID] = c
			w.Conversations = append(w.Conversations, c)
		}
		if l.Messages != nil {
			c.Mode = conversation.Whole
		}
		c.Turns = append(c.Turns, t)
		return nil
	})
	return w, err
}

func (l *mooncakeLine) turn(opt Options, seed uint64, number int64, size int, cache prefixes) (conversation.Turn, error) {
	t := conversation.Turn{MaxTokens: max(0, l.OutputLength), Tools: l.Tools, Extra: l.Extra}
	kinds := 0
	for _, has := range []bool{l.InputLength != nil, l.TextInput != nil, l.Messages != nil} {
		if has {
			kinds++
		}
	}
	switch {
	case kinds != 1:
		return t, errors.New("want exactly one of input_length, text_input and messages")
	case l.HashIDs != nil && l.InputLength == nil:
		return t, errors.New("hash_ids need input_length")
	case l.Tools != nil && l.Messages == nil:
		return t, errors.New("tools need messages")
	case l.InputLength != nil && (*l.InputLength < 1 || *l.InputLength > maxLength):
		return t, fmt.Errorf("input_length %d is out of range", *l.InputLength)
	}
	var err error
	if l.Timestamp != nil {
		at, spanErr := span(*l.Timestamp, time.Millisecond)
		t.At, err = &at, spanErr
	}
	if l.Delay != nil && err == nil {
		t.Delay, err = span(*l.Delay, time.Millisecond)
	}
	if err != nil {
		return t, err
	}
	switch {
	case l.TextInput != nil:
		t.Messages, t.InputTokens = []conversation.Message{conversation.Text("user", *l.TextInput)}, opt.Counter.Count(*l.TextInput)
	case l.Messages != nil:
		for _, m := range l.Messages {
			t.Messages = append(t.Messages, conversation.Message{Message: m})
			t.InputTokens += opt.Counter.Count(m.Plain())
		}
	default:
		return t, l.filler(&t, seed, number, size, cache)
	}
	return t, nil
}

func (l *mooncakeLine) filler(t *conversation.Turn, seed uint64, number int64, size int, cache prefixes) error {
	t.InputTokens = *l.InputLength
	fill, err := blocks(seed, l.HashIDs, size, *l.InputLength)
	if err != nil {
		return err
	}
	if rest := *l.InputLength - len(fill)*size; rest > 0 {
		fill = append(fill, conversation.Fill{Seed: conversation.Number(seed^1, number), Tokens: rest})
	}
	t.Messages = []conversation.Message{conversation.Filler("user", fill...)}
	t.CacheBlocks = len(l.HashIDs)
	t.CacheHits = cache.hits(l.HashIDs)
	return nil
}

type bailianLine struct {
	ChatID       int64   `json:"chat_id"`
	ParentChatID int64   `json:"parent_chat_id"`
	Timestamp    float64 `json:"timestamp"`
	InputLength  int     `json:"input_length"`
	OutputLength int     `json:"output_length"`
	Type         string  `json:"type"`
	Turn         int     `json:"turn"`
	HashIDs      []int64 `json:"hash_ids"`
}

// loadBailian reads one request a line; lines are grouped by their first
// ancestor and ordered by turn. Each prompt is complete.
func loadBailian(f File, opt Options) (*Workload, error) {
	w := &Workload{}
	var lines []bailianLine
	parent := map[int64]int64{}
	err := eachLine(f, func(_ int, line []byte) error {
		var l bailianLine
		if err := json.Unmarshal(line, &l); err != nil {
			return err
		}
		if l.InputLength < 1 || l.InputLength > maxLength {
			return fmt.Errorf("input_length %d is out of range", l.InputLength)
		}
		lines = append(lines, l)
		if l.ParentChatID >= 0 {
			parent[l.ChatID] = l.ParentChatID
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	roots, order := map[int64][]bailianLine{}, []int64{}
	for _, l := range lines {
		if opt.MaxInput > 0 && l.InputLength > opt.MaxInput {
			w.Skipped++
			continue
		}
		root, err := ancestor(parent, l.ChatID)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		if roots[root] == nil {
			order = append(order, root)
		}
		roots[root] = append(roots[root], l)
	}
	seed, cache := conversation.Seed(opt.Seed, "bailian"), prefixes{}
	for _, root := range order {
		c, err := bailianChat(root, roots[root], seed, cmp.Or(opt.BlockSize, 16), cache)
		if err != nil {
			return nil, fmt.Errorf("%s: chat %d: %w", f.Name, root, err)
		}
		w.Conversations = append(w.Conversations, c)
	}
	return w, nil
}

func ancestor(parent map[int64]int64, id int64) (int64, error) {
	for range len(parent) + 1 {
		up, ok := parent[id]
		if !ok {
			return id, nil
		}
		id = up
	}
	return 0, fmt.Errorf("chat %d is its own ancestor", id)
}

func bailianChat(root int64, lines []bailianLine, seed uint64, size int, cache prefixes) (*conversation.Conversation, error) {
	slices.SortStableFunc(lines, func(a, b bailianLine) int { return cmp.Compare(a.Turn, b.Turn) })
	c := &conversation.Conversation{ID: fmt.Sprintf("chat-%d", root), Mode: conversation.Whole}
	for _, l := range lines {
		at, err := span(l.Timestamp, time.Second)
		if err != nil {
			return nil, err
		}
		fill, err := blocks(seed, l.HashIDs, size, l.InputLength)
		if err != nil {
			return nil, err
		}
		if rest := l.InputLength - len(fill)*size; rest > 0 {
			fill = append(fill, conversation.Fill{Seed: conversation.Number(seed^1, l.ChatID), Tokens: rest})
		}
		c.Turns = append(c.Turns, conversation.Turn{
			Messages: []conversation.Message{conversation.Filler("user", fill...)}, InputTokens: l.InputLength,
			MaxTokens: max(0, l.OutputLength), At: &at, CacheBlocks: len(l.HashIDs), CacheHits: cache.hits(l.HashIDs),
		})
	}
	return c, nil
}
