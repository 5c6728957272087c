package input

import (
	"fmt"

	"github.com/fleetune/fleetune/worker/load/conversation"
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

// hashed is a turn with the ids of its prompt's blocks.
type hashed struct {
	conv *conversation.Conversation
	turn int
	ids  []int64
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
