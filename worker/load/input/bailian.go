package input

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fleetune/fleetune/worker/load/conversation"
)

type bailianLine struct {
	ChatID       *int64   `json:"chat_id"`
	ParentChatID *int64   `json:"parent_chat_id"`
	Timestamp    *float64 `json:"timestamp"`
	InputLength  *int     `json:"input_length"`
	OutputLength int      `json:"output_length"`
	Type         string   `json:"type"`
	Turn         int      `json:"turn"`
	HashIDs      []int64  `json:"hash_ids"`
}

// chat is a checked line with what is made of it.
type chat struct {
	bailianLine
	line   int
	root   int64
	turn   conversation.Turn
	hashed hashed
}

// loadBailian reads one request a line; lines are grouped by their first
// ancestor and ordered by turn. Each prompt is complete.
func loadBailian(w *Workload, f File, opt Options) error {
	var chats []chat
	parent := map[int64]int64{}
	seed, size := conversation.Seed(opt.Seed, "bailian"), cmp.Or(opt.BlockSize, 16)
	err := eachLine(f, func(number int, line []byte) error {
		c := chat{line: number}
		if err := lenient(line, &c.bailianLine); err != nil {
			return err
		}
		if w.Rows++; len(chats) == 0 {
			w.ignored(f, line, &c.bailianLine)
		}
		if err := c.check(seed, size); err != nil {
			return err
		}
		chats = append(chats, c)
		if c.ParentChatID != nil && *c.ParentChatID >= 0 {
			parent[*c.ChatID] = *c.ParentChatID
		}
		return nil
	})
	if err != nil {
		return err
	}
	order, err := group(f.Name, chats, parent)
	if err != nil {
		return err
	}
	for _, list := range order {
		root := list[0].root
		slices.SortStableFunc(list, func(a, b *chat) int { return cmp.Compare(a.Turn, b.Turn) })
		c := &conversation.Conversation{ID: fmt.Sprintf("chat-%d", root), Mode: conversation.Whole}
		for i, l := range list {
			l.hashed.conv, l.hashed.turn = c, i
			c.Turns = append(c.Turns, l.turn)
		}
		w.Conversations = append(w.Conversations, c)
	}
	for i := range chats {
		w.hashes = append(w.hashes, chats[i].hashed)
	}
	return nil
}

// group puts lines of the same first ancestor together, in the order in which
// the ancestors first appear.
func group(name string, chats []chat, parent map[int64]int64) ([][]*chat, error) {
	var found problems
	var out [][]*chat
	at := map[int64]int{}
	for i := range chats {
		c := &chats[i]
		var err error
		if c.root, err = ancestor(parent, *c.ChatID); err != nil {
			if !found.add(fmt.Errorf("%s:%d: %w", name, c.line, err)) {
				break
			}
			continue
		}
		n, ok := at[c.root]
		if !ok {
			n = len(out)
			at[c.root] = n
			out = append(out, nil)
		}
		out[n] = append(out[n], c)
	}
	return out, found.err()
}

// check makes the line's turn, or says what is wrong with it.
func (c *chat) check(seed uint64, size int) error {
	var errs []error
	for _, m := range []struct {
		name   string
		absent bool
	}{{"chat_id", c.ChatID == nil}, {"timestamp", c.Timestamp == nil}, {"input_length", c.InputLength == nil}} {
		if m.absent {
			errs = append(errs, fmt.Errorf("%s is missing", m.name))
		}
	}
	if errs != nil {
		return errors.Join(errs...)
	}
	if *c.InputLength < 1 || *c.InputLength > maxLength {
		return fmt.Errorf("input_length %d is not from 1 to %d", *c.InputLength, maxLength)
	}
	at, err := span(*c.Timestamp, time.Second)
	if err != nil {
		return fmt.Errorf("timestamp: %w", err)
	}
	c.turn = conversation.Turn{MaxTokens: max(0, c.OutputLength), At: &at}
	c.hashed = hashed{ids: c.HashIDs, size: size, tokens: *c.InputLength, seed: seed, own: conversation.Number(seed^1, *c.ChatID)}
	return c.hashed.check()
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
