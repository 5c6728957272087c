package input

import (
	"fmt"
	"slices"
	"time"

	"github.com/fleetune/fleetune/worker/load/tree"
)

// Some recorders write the requests of an agent and of those it started into
// one list. Their prompts tell them apart: a conversation goes on where its
// last prompt ended, and sends one request at a time.

// flattened splits a list of requests into the main conversation and those
// that ran beside it.
func flattened(all []*wekaRequest) (root []*wekaRequest, agents []agent) {
	var chains [][]*wekaRequest
	ordered := slices.Clone(all)
	slices.SortStableFunc(ordered, func(a, b *wekaRequest) int {
		switch {
		case a.T < b.T:
			return -1
		case a.T > b.T:
			return 1
		}
		return 0
	})
	for _, r := range ordered {
		if at := chainOf(chains, r); at >= 0 {
			chains[at] = append(chains[at], r)
		} else {
			chains = append(chains, []*wekaRequest{r})
		}
	}
	if len(chains) == 0 {
		return nil, nil
	}
	root = chains[0]
	for i, c := range chains[1:] {
		agents = append(agents, sideAgent(i, c, root))
	}
	label(agents)
	return root, agents
}

// inFlightTolerance is by how much recorded intervals of one conversation may
// overlap, in seconds: clocks are read on both ends.
const inFlightTolerance = 0.05

// chainOf finds the conversation that a request goes on with: of those that
// are not in flight, the one that it shares the longest prefix with, at least
// half of its last prompt. A request that goes on with none is the main
// conversation's, whose prompt was cut short, unless that one is in flight.
func chainOf(chains [][]*wekaRequest, r *wekaRequest) int {
	best, most := -1, 0
	for i, c := range chains {
		last := c[len(c)-1]
		if last.T+last.api() > r.T+inFlightTolerance {
			continue
		}
		if n := common(last.HashIDs, r.HashIDs); n > most && 2*n >= len(last.HashIDs) {
			best, most = i, n
		}
	}
	if best >= 0 || len(chains) == 0 {
		return best
	}
	if last := chains[0][len(chains[0])-1]; last.T+last.api() <= r.T+inFlightTolerance {
		return 0
	}
	return -1
}

// sideAgent makes an agent of a conversation that ran beside the main one.
func sideAgent(i int, c, root []*wekaRequest) agent {
	marker := &wekaRequest{T: c[0].T, AgentID: fmt.Sprint(i)}
	for _, r := range c {
		marker.Requests = append(marker.Requests, *r)
	}
	a := agent{marker: marker, start: c[0].T, spawn: -1, join: tree.NoJoin}
	last := c[len(c)-1]
	a.end = last.T + last.api()
	for k, r := range root {
		if r.T <= a.start {
			a.spawn = k
		} else if r.T+1e-6 >= a.end {
			a.join = k
			break
		}
	}
	return a
}

// label names agents that were found: a group that was started together and is
// joined together, a conversation, or a single request beside the main one.
func label(agents []agent) {
	groups := map[[2]int]int{}
	for _, a := range agents {
		groups[[2]int{a.spawn, a.join}]++
	}
	for i := range agents {
		a := &agents[i]
		switch {
		case groups[[2]int{a.spawn, a.join}] > 1:
			a.kind = "wg"
		case len(a.marker.Requests) == 1:
			a.kind = "aux"
		default:
			a.kind = "fa"
		}
	}
}

// intervals sets the recorded ends of all turns, and notes which branches
// began while the request that spawned them was in flight.
func intervals(t *tree.Tree, root []*wekaRequest, agents []agent) {
	set := func(s *tree.Stream, request func(k int) *wekaRequest) {
		s.Ends = make([]time.Duration, len(s.Starts))
		for k := range s.Starts {
			s.Ends[k] = s.Starts[k] + seconds(request(k).api())
		}
	}
	set(&t.Streams[0], func(k int) *wekaRequest { return root[k] })
	for i := range agents {
		set(&t.Streams[i+1], func(k int) *wekaRequest { return &agents[i].marker.Requests[k] })
	}
	for i := range t.Branches {
		b := &t.Branches[i]
		if b.Spawn >= 0 {
			spawning := &t.Streams[b.Parent]
			b.FromSend = b.Start >= spawning.Starts[b.Spawn] && b.Start < spawning.Ends[b.Spawn]
		}
	}
}
