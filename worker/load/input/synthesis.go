package input

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/fleetune/fleetune/worker/load/conversation"
)

// Synthesis makes another workload of a recorded one. Of the prompts of a trace
// the leading blocks that another prompt begins with as well are its prefix,
// and what follows is its own. Zero values change nothing.
type Synthesis struct {
	// PrefixLength multiplies the prefixes, each by the same rule, so that two
	// prompts which shared k blocks share k times as many afterwards, rounded
	// down. PromptLength multiplies what is a prompt's own.
	PrefixLength, PromptLength *float64
	// Roots deals the conversations out to so many trees of prefixes, which
	// have no block in common.
	Roots int
	// OutputLength multiplies the lengths of replies that the workload says,
	// MaxOutput bounds them.
	OutputLength *float64
	MaxOutput    int
}

// ErrNoPrefixes is returned when prefixes are to be changed of a workload that
// records none.
var ErrNoPrefixes = errors.New("no prompt has hash_ids, which tell the prefixes that prompts share")

// maxMultiplier bounds multipliers; lengths have bounds of their own.
const maxMultiplier = 1e4

// Check reports everything that is wrong with the settings, by the flags that
// name them.
func (s *Synthesis) Check() error {
	var errs []error
	for _, m := range []struct {
		name string
		x    *float64
	}{{"prefix-len", s.PrefixLength}, {"prompt-len", s.PromptLength}, {"output-len", s.OutputLength}} {
		if m.x != nil && !(*m.x >= 0 && *m.x <= maxMultiplier) {
			errs = append(errs, fmt.Errorf("the %s multiplier %v is not from 0 to %v", m.name, *m.x, float64(maxMultiplier)))
		}
	}
	if s.Roots < 0 {
		errs = append(errs, fmt.Errorf("the prefix-root multiplier %d is below 0", s.Roots))
	}
	if s.MaxOutput < 0 {
		errs = append(errs, fmt.Errorf("the longest output %d is below 0", s.MaxOutput))
	}
	return errors.Join(errs...)
}

// prefixed reports whether prefixes change, prompts whether any of a prompt does.
func (s *Synthesis) prefixed() bool { return s.PrefixLength != nil || s.Roots > 1 }
func (s *Synthesis) prompts() bool  { return s.prefixed() || s.PromptLength != nil }

// Outputs changes the lengths of the replies that a conversation asks for.
// Ready-made request bodies keep theirs.
func (s *Synthesis) Outputs(c *conversation.Conversation) {
	for i := range c.Turns {
		t := &c.Turns[i]
		if t.MaxTokens == 0 || t.Raw != nil {
			continue
		}
		if s.OutputLength != nil {
			t.MaxTokens = max(1, scaled(t.MaxTokens, *s.OutputLength))
		}
		if s.MaxOutput > 0 {
			t.MaxTokens = min(t.MaxTokens, s.MaxOutput)
		}
	}
}

// scaled is a number times a factor, to the nearest whole one.
func scaled(n int, factor float64) int {
	return int(math.Min(math.Round(float64(n)*factor), maxLength+1))
}

// synthesize changes the recorded prompts of a workload.
func (w *Workload) synthesize(s *Synthesis, seed int64) error {
	if !s.prompts() {
		return nil
	}
	all := newForest()
	before, rows := 0, 0
	for i := range w.hashes {
		all.add(w.hashes[i].ids)
		before += w.hashes[i].tokens
		if len(w.hashes[i].ids) > 0 {
			rows++
		}
	}
	if s.prefixed() && rows == 0 {
		return ErrNoPrefixes
	}
	shared := make([]int, len(w.hashes)) // before any id changes
	for i := range w.hashes {
		shared[i] = all.shared(w.hashes[i].ids)
	}
	var found problems
	after := 0
	for i := range w.hashes {
		h := &w.hashes[i]
		s.stretch(h, shared[i])
		if s.Roots > 1 {
			tree := conversation.Seed(seed, "prefix roots", h.conv.ID) % uint64(s.Roots)
			transplant(h.ids, tree)
		}
		after += h.tokens
		if err := h.check(); err != nil && !found.add(fmt.Errorf("%s: turn %d: %w", h.conv.ID, h.turn, err)) {
			break
		}
	}
	if err := found.err(); err != nil {
		return fmt.Errorf("multiplying the lengths of prompts: %w", err)
	}
	w.Notes = append(w.Notes, s.note(len(w.hashes), before, after))
	return nil
}

// note says what became of the prompts.
func (s *Synthesis) note(prompts, before, after int) string {
	var what []string
	if s.PrefixLength != nil {
		what = append(what, fmt.Sprintf("shared prefixes %g times as long", *s.PrefixLength))
	}
	if s.PromptLength != nil {
		what = append(what, fmt.Sprintf("what each has of its own %g times as long", *s.PromptLength))
	}
	if s.Roots > 1 {
		what = append(what, fmt.Sprintf("%d trees of prefixes with nothing in common", s.Roots))
	}
	return fmt.Sprintf("prompts are not as recorded: %s; the %d of them have %d tokens, recorded were %d", strings.Join(what, ", "), prompts, after, before)
}

// stretch multiplies the parts of a prompt whose first blocks are shared.
func (s *Synthesis) stretch(h *hashed, shared int) {
	prefix := min(shared*h.size, h.tokens)
	missing := shared*h.size - prefix // of a last block that is partial
	own, ownIDs := h.tokens-prefix, h.ids[shared:]

	ids := h.ids[:shared:shared]
	if s.PrefixLength != nil {
		ids = stretched(ids, *s.PrefixLength)
	}
	prefix = max(0, len(ids)*h.size-missing)
	if s.PromptLength != nil {
		before := own
		own = scaled(own, *s.PromptLength)
		ownIDs = h.ownBlocks(ownIDs, before, own)
	}
	if prefix+own == 0 {
		own = 1 // a prompt says something
	}
	h.ids, h.tokens = slices.Concat(ids, ownIDs), prefix+own
}

// stretched multiplies blocks: the first k of them become the first ⌊factor·k⌋,
// whatever follows, so that prompts go on sharing what they shared.
func stretched(ids []int64, factor float64) []int64 {
	const rounding = 1e-9 // 1.15·100 is 115
	out := []int64{}
	for k, id := range ids {
		upTo := int(factor*float64(k+1) + rounding)
		for j := 0; len(out) < upTo; j++ {
			if len(out) > maxBlocks {
				return out // it is refused
			}
			out = append(out, derived(id, j))
		}
	}
	return out
}

// derived is the id of the j-th block that is made of one; the first is itself.
func derived(id int64, j int) int64 {
	if j == 0 {
		return id
	}
	return int64(conversation.Number(uint64(id), int64(j)))
}

// ownBlocks are those of a prompt's own part once its length has changed: all
// of it if the recorded ones were, or as large a share.
func (h *hashed) ownBlocks(ids []int64, before, after int) []int64 {
	if len(ids) == 0 {
		return nil
	}
	whole := func(tokens int) int { return (tokens + h.size - 1) / h.size }
	n := whole(after)
	if len(ids) < whole(before) {
		n = len(ids) * after / before
	}
	out := make([]int64, 0, min(n, maxBlocks+1))
	for k := range min(n, maxBlocks+1) {
		if k < len(ids) {
			out = append(out, ids[k])
			continue
		}
		out = append(out, derived(int64(h.own), k))
	}
	return out
}

// transplant makes blocks those of another tree; the first tree is as recorded.
func transplant(ids []int64, tree uint64) {
	if tree == 0 {
		return
	}
	for i, id := range ids {
		ids[i] = int64(conversation.Number(conversation.Number(tree, 0), id))
	}
}

// forest counts how many prompts begin with each run of blocks.
type forest struct {
	next   map[branch]int // the node that a block leads to
	visits []int
}

type branch struct {
	node int
	id   int64
}

func newForest() *forest { return &forest{next: map[branch]int{}, visits: []int{0}} }

func (f *forest) add(ids []int64) {
	node := 0
	for _, id := range ids {
		to, ok := f.next[branch{node, id}]
		if !ok {
			to = len(f.visits)
			f.next[branch{node, id}] = to
			f.visits = append(f.visits, 0)
		}
		f.visits[to]++
		node = to
	}
}

// shared is how many of a prompt's blocks another prompt begins with.
func (f *forest) shared(ids []int64) int {
	node := 0
	for k, id := range ids {
		node = f.next[branch{node, id}]
		if f.visits[node] < 2 {
			return k
		}
	}
	return len(ids)
}
