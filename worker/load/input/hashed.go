package input

import (
	"fmt"

	"github.com/fleetune/fleetune/worker/load/conversation"
)

// Requests may not be longer than this many tokens, nor have more blocks.
const maxBlocks = 1 << 20

// hashed is a prompt as traces record it: a length, and the ids of blocks that
// it begins with. The turn's text is made of it once all files are read.
type hashed struct {
	conv *conversation.Conversation
	turn int
	ids  []int64
	// size of a block and length of the prompt, in tokens.
	size, tokens int
	// blocks are filled by a seed of the format, what is beyond them by one of
	// the prompt's own.
	seed, own uint64
	// told is set where the text is recorded, too: the ids then only say what a
	// prefix cache would hold.
	told bool
}

// check refuses what is too long, and blocks beyond the prompt's end.
func (h *hashed) check() error {
	switch {
	case len(h.ids) > maxBlocks || h.tokens > maxLength:
		return fmt.Errorf("a prompt of %d tokens in %d blocks is too long", h.tokens, len(h.ids))
	case len(h.ids) > (h.tokens+h.size-1)/h.size:
		return fmt.Errorf("%d blocks of %d are more than %d tokens need", len(h.ids), h.size, h.tokens)
	}
	return nil
}

// fill makes the turn's message. The same id gives the same text at any length,
// so a partial block is the beginning of the full one.
func (h *hashed) fill() {
	if h.told {
		return
	}
	var fill []conversation.Fill
	left := h.tokens
	for _, id := range h.ids {
		n := min(h.size, left)
		fill = append(fill, conversation.Fill{Seed: conversation.Number(h.seed, id), Tokens: n})
		left -= n
	}
	if left > 0 {
		fill = append(fill, conversation.Fill{Seed: h.own, Tokens: left})
	}
	t := &h.conv.Turns[h.turn]
	t.Messages, t.InputTokens = []conversation.Message{conversation.Filler("user", fill...)}, h.tokens
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

// cacheHits counts what an ideal prefix cache would hold of each prompt that is
// still played, in the order of the file.
func cacheHits(all []hashed) {
	cache := prefixes{}
	for _, h := range all {
		if h.turn < len(h.conv.Turns) {
			t := &h.conv.Turns[h.turn]
			t.CacheBlocks, t.CacheHits = len(h.ids), cache.hits(h.ids)
		}
	}
}
