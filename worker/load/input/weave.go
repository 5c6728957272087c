package input

import (
	"cmp"
	"slices"
	"time"

	"github.com/fleetune/fleetune/worker/load/conversation"
	"github.com/fleetune/fleetune/worker/load/tree"
)

// weaver makes prompts of hashed blocks for one trace: within it the same id
// is the same text.
type weaver struct {
	seed   uint64
	size   int
	models map[string]int // recorded model → order of first appearance
	to     []string
}

// segment is a message as a range of blocks.
type segment struct {
	role     string
	from, to int
}

// stream makes a conversation of recorded requests.
func (w *weaver) stream(id string, requests []*wekaRequest, system int, at func(*wekaRequest) float64) (*conversation.Conversation, []time.Duration) {
	c := &conversation.Conversation{ID: id, Mode: conversation.Whole}
	var starts []time.Duration
	var segments []segment
	var before *wekaRequest
	var shared []conversation.Fill // the blocks, kept as one array while prompts only grow
	for k, r := range requests {
		keep := 0
		if before == nil {
			segments = w.opening(r, system)
		} else {
			keep = common(before.HashIDs, r.HashIDs)
			segments = w.extend(segments, keep, before, r)
		}
		shared = w.grow(shared, keep, r.HashIDs, r.In)
		start := seconds(at(r))
		starts = append(starts, start)
		c.Turns = append(c.Turns, conversation.Turn{
			Messages: w.messages(id, k, segments, shared, r), InputTokens: r.In, MaxTokens: r.Out,
			At: &start, Model: w.model(r.Model), CacheBlocks: len(r.HashIDs),
		})
		before = r
	}
	return c, starts
}

// tail is what a prompt has beyond its whole blocks, in tokens.
func (w *weaver) tail(r *wekaRequest) int { return max(0, r.In-w.size*len(r.HashIDs)) }

// opening is the first prompt: the system's and tools' blocks, then the user.
func (w *weaver) opening(r *wekaRequest, system int) []segment {
	n := len(r.HashIDs)
	s := min((system+w.size-1)/w.size, n)
	if s == n && w.tail(r) == 0 {
		s = max(0, n-1) // a prompt ends on the user
	}
	var out []segment
	if s > 0 {
		out = append(out, segment{"system", 0, s})
	}
	return append(out, segment{"user", s, n})
}

// extend cuts the messages to the blocks in common, then adds the reply before
// and the new user message.
func (w *weaver) extend(segments []segment, keep int, before, r *wekaRequest) []segment {
	n := len(r.HashIDs)
	var out []segment
	user := false
	for _, s := range segments {
		if s.from >= keep {
			break
		}
		s.to = min(s.to, keep)
		out = append(out, s)
		user = user || s.role == "user"
	}
	reply := 0
	if user {
		reply = min((before.Out+w.size-1)/w.size, n-keep)
		if reply == n-keep && w.tail(r) == 0 {
			reply = max(0, reply-1) // one block back: a prompt ends on the user
		}
	}
	if reply > 0 {
		out = append(out, segment{"assistant", keep, keep + reply})
	}
	if keep+reply < n || w.tail(r) > 0 {
		return append(out, segment{"user", keep + reply, n})
	}
	return endOnUser(out)
}

// endOnUser gives the last block to the user where a prompt has nothing new.
func endOnUser(s []segment) []segment {
	if len(s) == 0 || s[len(s)-1].role == "user" {
		return s
	}
	last := &s[len(s)-1]
	last.to--
	end := segment{"user", last.to, last.to + 1}
	if last.to == last.from {
		s = s[:len(s)-1]
	}
	return append(s, end)
}

func common(a, b []int64) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// grow returns the fill of all blocks. The array of the turn before is shared
// when its blocks are kept whole.
func (w *weaver) grow(shared []conversation.Fill, keep int, ids []int64, input int) []conversation.Fill {
	if keep < len(shared) {
		shared = slices.Clone(shared[:keep])
	}
	for i := keep; i < len(ids); i++ {
		n := min(w.size, input-i*w.size)
		if n < w.size {
			shared = slices.Clone(shared) // a partial block must not be taken for a full one later
		}
		shared = append(shared, conversation.Fill{Seed: conversation.Number(w.seed, ids[i]), Tokens: n})
	}
	return shared
}

func (w *weaver) messages(id string, turn int, segments []segment, all []conversation.Fill, r *wekaRequest) []conversation.Message {
	out := make([]conversation.Message, len(segments))
	for i, s := range segments {
		fill := all[s.from:s.to:s.to]
		if tail := w.tail(r); i == len(segments)-1 && tail > 0 {
			seed := conversation.Seed(int64(w.seed), id)
			fill = append(slices.Clone(fill), conversation.Fill{Seed: conversation.Number(seed, int64(turn)), Tokens: tail})
		}
		out[i] = conversation.Filler(s.role, fill...)
		if out[i].Fill == nil {
			out[i].Fill = []conversation.Fill{}
		}
	}
	return out
}

// model maps recorded models to those of the run, in first-seen order.
func (w *weaver) model(recorded string) string {
	if len(w.to) == 0 {
		return ""
	}
	at, ok := w.models[recorded]
	if !ok {
		at = len(w.models)
		w.models[recorded] = at
	}
	return w.to[at%len(w.to)]
}

// cacheHits counts, for every request, the leading blocks that an ideal cache
// shared by the tree would hold: those of requests that had ended by its start.
func (w *weaver) cacheHits(t *tree.Tree, root []*wekaRequest, agents []agent) {
	type event struct {
		at   time.Duration
		end  bool
		ids  []int64
		turn *conversation.Turn
	}
	var events []event
	add := func(s *tree.Stream, k int, r *wekaRequest) {
		events = append(events,
			event{at: s.Starts[k], ids: r.HashIDs, turn: &s.Conv.Turns[k]},
			// a request never finds its own blocks, so it ends after its start
			event{at: s.Starts[k] + max(1, seconds(r.api())), end: true, ids: r.HashIDs})
	}
	for k, r := range root {
		add(&t.Streams[0], k, r)
	}
	for i := range agents {
		for k := range agents[i].marker.Requests {
			add(&t.Streams[i+1], k, &agents[i].marker.Requests[k])
		}
	}
	slices.SortStableFunc(events, func(a, b event) int {
		if c := cmp.Compare(a.at, b.at); c != 0 || a.end == b.end {
			return c
		}
		if a.end {
			return -1 // an end at a start's instant is before it
		}
		return 1
	})
	held := map[int64]bool{}
	for _, e := range events {
		if e.end {
			for _, id := range e.ids {
				held[id] = true
			}
			continue
		}
		for e.turn.CacheHits < len(e.ids) && held[e.ids[e.turn.CacheHits]] {
			e.turn.CacheHits++
		}
	}
}

// delays sets the pause before every turn: the recorded idle time since the
// end of the turn before, or what the options make of it.
func delays(t *tree.Tree, root []*wekaRequest, agents []agent, opt Options) {
	set := func(s *tree.Stream, request func(int) *wekaRequest) {
		for k := 1; k < len(s.Starts); k++ {
			idle := s.Starts[k] - s.Ends[k-1]
			if think := request(k).ThinkTime; opt.ThinkTime && think != nil {
				idle = seconds(*think)
			}
			if limit := seconds(opt.DelayCap); limit > 0 && opt.IdleGap == 0 {
				idle = min(idle, limit)
			}
			s.Conv.Turns[k].Delay = max(0, idle)
		}
	}
	set(&t.Streams[0], func(k int) *wekaRequest { return root[k] })
	for i := range agents {
		set(&t.Streams[i+1], func(k int) *wekaRequest { return &agents[i].marker.Requests[k] })
	}
}

// warp takes out of the tree's timeline what every gap between consecutive
// starts has beyond the cap. Instants inside a removed stretch move to its
// start.
func warp(t *tree.Tree, limit time.Duration) {
	if limit <= 0 {
		return
	}
	var all []time.Duration
	for i := range t.Streams {
		all = append(all, t.Streams[i].Starts...)
	}
	slices.Sort(all)
	type cut struct{ at, width time.Duration }
	var cuts []cut
	for i := 1; i < len(all); i++ {
		if gap := all[i] - all[i-1]; gap > limit {
			cuts = append(cuts, cut{all[i-1] + limit, gap - limit})
		}
	}
	move := func(at time.Duration) time.Duration {
		var gone time.Duration
		for _, c := range cuts {
			if at <= c.at {
				break
			}
			gone += min(c.width, at-c.at)
		}
		return at - gone
	}
	for i := range t.Streams {
		s := &t.Streams[i]
		for k := range s.Starts {
			s.Starts[k] = move(s.Starts[k])
			s.Ends[k] = move(s.Ends[k])
			at := s.Starts[k]
			s.Conv.Turns[k].At = &at
		}
	}
	for i := range t.Branches {
		t.Branches[i].Start = move(t.Branches[i].Start)
	}
}
