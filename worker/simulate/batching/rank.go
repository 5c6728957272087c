// Package batching is the scheduler of the simulated engine: continuous
// batching over a paged KV cache, step by step, in virtual time (Yu et al.,
// Orca, 2022; Kwon et al., PagedAttention, 2023; Agrawal et al., Sarathi, 2023
// for chunked prefill). It knows no clock: a step is begun, which tells how long
// it takes, and ended, which tells who has a new token. It is deterministic and
// not safe for concurrent use.
package batching

import (
	"errors"
	"slices"

	"github.com/fleetune/fleetune/worker/simulate/paged"
	"github.com/fleetune/fleetune/worker/simulate/roofline"
)

// ErrOutOfMemory says that a step needs more than the GPU has left: the engine
// dies of it.
var ErrOutOfMemory = errors.New("out of memory")

// ErrTooLong says that a sequence can never fit into the cache, or into a step
// where prompts are taken whole.
var ErrTooLong = errors.New("the sequence is too long for the KV cache or for a step")

// A Style is how an engine puts steps together.
type Style int

// The styles: vLLM's, where prompts and decoding share a step, and SGLang's,
// where prompts have steps of their own and go first.
const (
	Mixed Style = iota
	PrefillFirst
)

// An Order is which waiting sequence goes first.
type Order string

// The orders: by arrival, by priority, by the longest beginning that is cached,
// and by the longest reply.
const (
	Arrival       Order = "fcfs"
	ByPriority    Order = "priority"
	LongestPrefix Order = "lpm"
	LongestOutput Order = "lof"
)

// A Policy is the engine's settings that decide what is in a step.
type Policy struct {
	Style Style
	Order Order
	// MaxSequences run at once; MaxTokens are in a step.
	MaxSequences, MaxTokens int
	// Chunk is the largest part of a prompt in one step; 0 takes prompts whole.
	Chunk int
	// Mix lets decoding join the steps of prompts; PrefillFirst only.
	Mix bool
	// Reserve is the share of the replies still to come that admission keeps
	// room for; PrefillFirst only.
	Reserve float64
	// Continuous is how many decoding steps follow each other before waiting
	// sequences are looked at; 1 is every step.
	Continuous int
	// Block is the number of tokens in a block of the cache, Blocks their number.
	Block, Blocks int
	// Keep shares and keeps blocks: prefix caching.
	Keep bool
	// SafeTokens is the largest prompt part that the memory left for
	// activations holds; 0 is any.
	SafeTokens int
}

// Statistics count since the start.
type Statistics struct {
	PromptTokens, OutputTokens, CachedTokens, Preemptions, Steps int64
	// Busy is the time of all steps in s.
	Busy float64
}

// Add sums up the statistics of ranks.
func (s *Statistics) Add(o Statistics) {
	s.PromptTokens += o.PromptTokens
	s.OutputTokens += o.OutputTokens
	s.CachedTokens += o.CachedTokens
	s.Preemptions += o.Preemptions
	s.Steps += o.Steps
	s.Busy += o.Busy
}

// A Rank is one scheduler with one cache: an engine, or one of its data
// parallel parts.
type Rank struct {
	policy  Policy
	costs   *roofline.Model
	pool    *paged.Pool
	waiting []*Sequence
	running []*Sequence
	step    []part
	batch   roofline.Batch
	since   int // decoding steps since waiting sequences were looked at
	arrived int64
	stats   Statistics
}

// part is what a step does for one sequence.
type part struct {
	s *Sequence
	n int
}

// NewRank makes an idle rank.
func NewRank(p Policy, costs *roofline.Model) *Rank {
	p.Block, p.Continuous, p.MaxSequences = max(1, p.Block), max(1, p.Continuous), max(1, p.MaxSequences)
	p.MaxTokens = max(1, p.MaxTokens)
	return &Rank{policy: p, costs: costs, pool: paged.New(p.Blocks, p.Keep)}
}

// Add makes a request wait.
func (r *Rank) Add(q Request) (*Sequence, error) {
	length := len(q.Prompt) + q.Output
	whole := r.policy.Chunk == 0 && r.policy.Style == Mixed
	if (length+r.policy.Block-1)/r.policy.Block > r.policy.Blocks || whole && length > r.policy.MaxTokens {
		return nil, ErrTooLong
	}
	r.arrived++
	s := &Sequence{Request: q, number: r.arrived, tokens: slices.Clip(q.Prompt), hashes: paged.Hashes(q.Prompt, r.policy.Block)}
	r.waiting = append(r.waiting, s)
	return s, nil
}

// Abort takes a sequence out, wherever it is.
func (r *Rank) Abort(s *Sequence) {
	gone := func(o *Sequence) bool { return o == s }
	r.waiting = slices.DeleteFunc(r.waiting, gone)
	r.running = slices.DeleteFunc(r.running, gone)
	r.step = slices.DeleteFunc(r.step, func(p part) bool { return p.s == s })
	r.release(s)
}

func (r *Rank) release(s *Sequence) {
	r.pool.Free(s.blocks)
	s.blocks, s.computed = nil, 0
}

// Waiting, Running and Usage tell the state between steps; Usage is the share
// of the cache that is in use.
func (r *Rank) Waiting() int { return len(r.waiting) }

// Running sequences hold blocks of the cache.
func (r *Rank) Running() int { return len(r.running) }

// Usage is the share of the cache that is in use.
func (r *Rank) Usage() float64 {
	if r.pool.Size() == 0 {
		return 0
	}
	return float64(r.pool.Used()) / float64(r.pool.Size())
}

// Statistics since the start.
func (r *Rank) Statistics() Statistics { return r.stats }

// CacheQueries counts the tokens that were looked for in the cache, and found.
func (r *Rank) CacheQueries() (queried, hit int64) {
	block := int64(r.policy.Block)
	return r.pool.Queried * block, r.pool.Hit * block
}

// Flush forgets cached blocks; false when some are in use.
func (r *Rank) Flush() bool { return r.pool.Flush() }

// Begin puts the next step together and tells its time in s; 0 when there is
// nothing to do. A step that has begun must be ended before the next.
func (r *Rank) Begin() (float64, error) {
	r.step, r.batch = r.step[:0], roofline.Batch{}
	if r.policy.Style == PrefillFirst {
		r.planPrefillFirst()
	} else {
		r.planMixed()
	}
	if len(r.step) == 0 {
		return 0, nil
	}
	for _, p := range r.step {
		if p.s.decodes() {
			r.batch.AddDecode(len(p.s.tokens))
		} else {
			r.batch.AddChunk(p.s.computed, p.n)
		}
		if p.n == p.s.missing() {
			r.batch.Sequences++
		}
	}
	if r.policy.SafeTokens > 0 && r.batch.Prefill > r.policy.SafeTokens {
		return 0, ErrOutOfMemory
	}
	r.batch.Continued = r.since > 1
	time := r.costs.Step(r.batch)
	r.stats.Steps++
	r.stats.Busy += time
	return time, nil
}

// End ends the step and lists the sequences that got a token. Those that are
// done have left.
func (r *Rank) End() []*Sequence {
	var spoke []*Sequence
	for _, p := range r.step {
		s := p.s
		s.computed += p.n
		s.hashes = paged.Extend(s.hashes, s.tokens[:s.computed], r.policy.Block)
		for i := range min(s.computed/r.policy.Block, len(s.blocks)) {
			r.pool.Fill(s.blocks[i], s.hashes[i])
		}
		if s.missing() > 0 {
			continue
		}
		if s.produced == 0 {
			r.stats.PromptTokens += int64(len(s.Prompt))
		}
		s.say()
		r.stats.OutputTokens++
		spoke = append(spoke, s)
	}
	r.step = r.step[:0]
	r.running = slices.DeleteFunc(r.running, func(s *Sequence) bool {
		if s.Done() {
			r.release(s)
		}
		return s.Done()
	})
	return spoke
}
