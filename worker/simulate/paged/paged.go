// Package paged keeps the simulated engine's KV cache: blocks of a fixed number
// of tokens, shared between sequences with the same beginning and kept, least
// recently used first to go, when nobody uses them (Kwon et al., PagedAttention,
// 2023; automatic prefix caching as vLLM and SGLang do it). A Pool is not safe
// for concurrent use.
package paged

import (
	"container/list"
	"encoding/binary"
	"hash/fnv"
)

// A Hash stands for a block's tokens and for all that come before them.
type Hash uint64

// Hashes of the full blocks of a token sequence.
func Hashes(tokens []uint32, block int) []Hash {
	return Extend(nil, tokens, block)
}

// Extend appends the hashes of full blocks that are not among the first ones.
func Extend(hashes []Hash, tokens []uint32, block int) []Hash {
	var bytes [8]byte
	for at := len(hashes) * block; at+block <= len(tokens); at += block {
		h := fnv.New64a()
		if len(hashes) > 0 {
			binary.LittleEndian.PutUint64(bytes[:], uint64(hashes[len(hashes)-1]))
			_, _ = h.Write(bytes[:]) // a hash takes everything
		}
		for _, t := range tokens[at : at+block] {
			binary.LittleEndian.PutUint32(bytes[:4], t)
			_, _ = h.Write(bytes[:4])
		}
		hashes = append(hashes, Hash(h.Sum64()))
	}
	return hashes
}

// A Block of the cache.
type Block struct {
	hash   Hash
	hashed bool
	users  int
	idle   *list.Element // in the pool's list, while nobody uses it
}

// A Pool is the whole cache of a rank.
type Pool struct {
	size, unused int
	keep         bool
	byHash       map[Hash]*Block
	idle         *list.List // of *Block, least recently used first
	// Queried and Hit count the tokens' blocks that were looked for and found.
	Queried, Hit int64
}

// New makes a pool of so many blocks. Without keep nothing is shared or kept.
func New(blocks int, keep bool) *Pool {
	return &Pool{size: blocks, unused: blocks, keep: keep, byHash: map[Hash]*Block{}, idle: list.New()}
}

// Size in blocks.
func (p *Pool) Size() int { return p.size }

// Available blocks: unused ones and those that are only kept.
func (p *Pool) Available() int { return p.unused + p.idle.Len() }

// Used blocks.
func (p *Pool) Used() int { return p.size - p.Available() }

// Match counts how many of the blocks, from the first on, are there.
func (p *Pool) Match(hashes []Hash) int {
	n := 0
	for n < len(hashes) && p.byHash[hashes[n]] != nil {
		n++
	}
	return n
}

// Take takes the blocks that are there, from the first on, and counts the
// search in the statistics.
func (p *Pool) Take(hashes []Hash) []*Block {
	if !p.keep {
		return nil
	}
	n := p.Match(hashes)
	p.Queried += int64(len(hashes))
	p.Hit += int64(n)
	blocks := make([]*Block, n)
	for i := range n {
		b := p.byHash[hashes[i]]
		if b.idle != nil {
			p.idle.Remove(b.idle)
			b.idle = nil
		}
		b.users++
		blocks[i] = b
	}
	return blocks
}

// Allocate takes n blocks with nothing in them, or none at all and false.
func (p *Pool) Allocate(n int) ([]*Block, bool) {
	if n > p.Available() {
		return nil, false
	}
	blocks := make([]*Block, n)
	for i := range blocks {
		if p.unused > 0 {
			p.unused--
		} else {
			p.evict()
			p.unused--
		}
		blocks[i] = &Block{users: 1}
	}
	return blocks, true
}

func (p *Pool) evict() {
	first := p.idle.Front()
	b, _ := first.Value.(*Block)
	p.idle.Remove(first)
	delete(p.byHash, b.hash)
	p.unused++
}

// Fill says what a block now holds. A block that is there already under that
// name keeps it; this one is then freed like an unnamed one.
func (p *Pool) Fill(b *Block, h Hash) {
	if !p.keep || b.hashed || p.byHash[h] != nil {
		return
	}
	b.hash, b.hashed = h, true
	p.byHash[h] = b
}

// Free gives blocks back. The last ones go first when room is needed: what
// comes after them is worth nothing without them.
func (p *Pool) Free(blocks []*Block) {
	for i := len(blocks) - 1; i >= 0; i-- {
		b := blocks[i]
		b.users--
		switch {
		case b.users > 0:
		case b.hashed:
			b.idle = p.idle.PushBack(b)
		default:
			p.unused++
		}
	}
}

// Flush forgets what nobody uses, and says whether that was everything.
func (p *Pool) Flush() bool {
	for p.idle.Len() > 0 {
		p.evict()
	}
	return p.unused == p.size
}
