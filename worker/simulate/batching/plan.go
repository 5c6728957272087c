package batching

import (
	"cmp"
	"slices"
)

// planMixed: running sequences first, decoding or with the rest of their
// prompts, then waiting ones, all within one budget of tokens.
func (r *Rank) planMixed() {
	budget := r.policy.MaxTokens
	preempted := false
	for i := 0; i < len(r.running) && budget > 0; i++ {
		s := r.running[i]
		n := r.piece(s, budget)
		if n == 0 {
			continue // a prompt that must be taken whole waits for a step with room
		}
		for !r.grow(s, n) {
			victim := r.running[len(r.running)-1]
			preempted = true
			r.preempt(victim)
			if victim == s {
				return
			}
		}
		r.step = append(r.step, part{s, n})
		budget -= n
	}
	if !preempted {
		r.admit(budget)
	}
}

// piece is how many tokens of a sequence a step takes.
func (r *Rank) piece(s *Sequence, budget int) int {
	n := s.missing()
	if s.decodes() {
		return min(n, budget)
	}
	if r.policy.Chunk == 0 {
		// SGLang takes a prompt beyond the budget by itself, vLLM never does.
		if n > budget && (r.policy.Style == Mixed || len(r.step) > 0) {
			return 0
		}
		return n
	}
	return min(n, budget, r.policy.Chunk)
}

// admit starts waiting sequences while there is room, in their order. The first
// that does not fit ends it: nobody is overtaken.
func (r *Rank) admit(budget int) {
	r.sort()
	for len(r.waiting) > 0 && len(r.running) < r.policy.MaxSequences && budget > 0 {
		s := r.waiting[0]
		if r.policy.Style == PrefillFirst && !r.reserved(s) {
			return
		}
		r.findCached(s)
		n := r.piece(s, budget)
		if n == 0 || !r.grow(s, n) {
			r.release(s)
			return
		}
		r.start(s)
		r.step = append(r.step, part{s, n})
		budget -= n
	}
}

func (r *Rank) start(s *Sequence) {
	if !s.admitted {
		s.admitted, s.Cached = true, s.computed
		r.stats.CachedTokens += int64(s.computed)
	}
	r.waiting = r.waiting[1:]
	r.running = append(r.running, s)
	if r.policy.Order == ByPriority {
		slices.SortStableFunc(r.running, byPriority)
	}
}

// findCached takes what the cache has of a sequence. One token at least is
// computed anew: without it there is nothing to continue from.
func (r *Rank) findCached(s *Sequence) {
	full := min(len(s.hashes), (len(s.tokens)-1)/r.policy.Block)
	s.blocks = r.pool.Take(s.hashes[:full])
	s.computed = len(s.blocks) * r.policy.Block
}

// grow gets blocks for n more tokens.
func (r *Rank) grow(s *Sequence, n int) bool {
	need := (s.computed+n+r.policy.Block-1)/r.policy.Block - len(s.blocks)
	if need <= 0 {
		return true
	}
	more, ok := r.pool.Allocate(need)
	s.blocks = append(s.blocks, more...)
	return ok
}

// preempt sends a running sequence back to the front of those that wait; what
// it had computed is computed again, save what is still in the cache then.
func (r *Rank) preempt(s *Sequence) {
	r.running = slices.DeleteFunc(r.running, func(o *Sequence) bool { return o == s })
	r.step = slices.DeleteFunc(r.step, func(p part) bool { return p.s == s })
	r.release(s)
	s.Preempted++
	r.stats.Preemptions++
	r.waiting = slices.Insert(r.waiting, 0, s)
}

// planPrefillFirst: prompts as long as there are any to take, else decoding.
func (r *Rank) planPrefillFirst() {
	decodeOnly := r.since > 0 && r.since < r.policy.Continuous
	if !decodeOnly {
		r.since = 0
		budget := r.policy.MaxTokens
		if r.policy.Chunk > 0 {
			budget = min(budget, r.policy.Chunk)
		}
		for _, s := range slices.Clone(r.running) {
			if n := min(s.missing(), budget); !s.decodes() && n > 0 && r.grow(s, n) {
				r.step = append(r.step, part{s, n})
				budget -= n
			}
		}
		r.admit(budget)
		if len(r.step) > 0 && !r.policy.Mix {
			return
		}
	}
	prompts := len(r.step)
	r.decodeAll()
	switch {
	case len(r.step) == 0:
		r.unblock(decodeOnly)
	case prompts == 0:
		r.since++
	}
}

// unblock plans again where there was nothing to decode: waiting sequences are
// looked at, and of prompts that are stuck half way the last one goes back.
func (r *Rank) unblock(decodeOnly bool) {
	r.since = 0
	switch {
	case len(r.running) > 1 && !decodeOnly:
		r.preempt(r.running[len(r.running)-1])
		r.planPrefillFirst()
	case decodeOnly && len(r.running)+len(r.waiting) > 0:
		r.planPrefillFirst()
	}
}

// decodeAll gives every decoding sequence a token, and sends the last ones back
// where the cache cannot hold all.
func (r *Rank) decodeAll() {
	for i := 0; i < len(r.running); i++ { //nolint:intrange // the list shrinks meanwhile
		s := r.running[i]
		if !s.decodes() {
			continue
		}
		for !r.grow(s, 1) {
			victim := r.running[len(r.running)-1]
			r.preempt(victim)
			if victim == s {
				return
			}
		}
		r.step = append(r.step, part{s, 1})
	}
}

// reserved says whether the cache has room for a prompt beside the share of the
// running replies that is kept for them.
func (r *Rank) reserved(s *Sequence) bool {
	if len(r.running) == 0 {
		return true
	}
	kept := r.policy.Reserve * float64(s.Output)
	for _, o := range r.running {
		kept += r.policy.Reserve * float64(o.Output-o.produced)
	}
	return float64(len(s.tokens))+kept <= float64(r.pool.Available()*r.policy.Block)
}

// sort puts waiting sequences in the policy's order.
func (r *Rank) sort() {
	switch r.policy.Order {
	case ByPriority:
		slices.SortStableFunc(r.waiting, byPriority)
	case LongestPrefix:
		match := make(map[*Sequence]int, len(r.waiting))
		for _, s := range r.waiting {
			match[s] = r.pool.Match(s.hashes)
		}
		slices.SortStableFunc(r.waiting, func(a, b *Sequence) int { return cmp.Compare(match[b], match[a]) })
	case LongestOutput:
		slices.SortStableFunc(r.waiting, func(a, b *Sequence) int { return cmp.Compare(b.Output, a.Output) })
	case Arrival:
	}
}

func byPriority(a, b *Sequence) int {
	return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.number, b.number))
}
