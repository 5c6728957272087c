// Package agentic replays trees of agents. One state machine owns lanes,
// trees, gates, the marker ledger and the pool of traces; it knows neither
// clocks nor sockets: events go in with their instant, requests to send come
// out. The runner around it only sends and reports back. That a turn is sent
// twice, a trace is live twice, or a gate waits for what is over is thereby
// a question of one piece of sequential code.
package agentic

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fleetune/fleetune/worker/load/conversation"
	"github.com/fleetune/fleetune/worker/load/play"
	"github.com/fleetune/fleetune/worker/load/tree"
)

// Config of a replay.
type Config struct {
	Trees []*tree.Tree
	// Lanes is how many trees are live at once.
	Lanes int
	Seed  int64
	// StartMin and StartMax bound the instant inside a trace at which a lane
	// takes it up, as shares of its span.
	StartMin, StartMax float64
	// Order is how the sampler hands traces out: to the lanes first, each once,
	// then again as they become free. Empty is the order they come in.
	Order conversation.Order
	// AllowWrap lets several lanes play the same trace even without markers.
	AllowWrap bool
	Marker    play.Target
	// Benchmark names the run; markers of two runs differ by it.
	Benchmark string
	// LaneCap bounds the wait for a lane's first request, TreeIdleCap the time in
	// which nothing of a tree is in flight, IdleCap that in which nothing at all
	// is; 0 for none.
	LaneCap, TreeIdleCap, IdleCap time.Duration
	// WarmCap bounds the time over which the warm-up is spread; 0 for as long
	// as was recorded, within the other caps.
	WarmCap time.Duration
	// NoDelays starts every stream as soon as it may: the recorded instants
	// say what is sent, not when.
	NoDelays bool
	// Burst starts every lane's first request at once.
	Burst bool
	// Barriers makes a request wait for those of other streams of its tree
	// that had ended before it was sent, so that their order is kept.
	Barriers bool
	// FailFast ends the replay at the first failure of a child's request.
	FailFast bool
	// Requests and Trees to stop after; 0 for no such end.
	MaxRequests, MaxTrees int
}

// ErrTooFewTraces is returned when lanes would have to share traces.
var ErrTooFewTraces = errors.New("fewer traces than lanes: allow markers or wrapping, or ask for fewer lanes")

// A trajectory is where a lane starts: a trace and an instant in it.
type trajectory struct {
	lane int
	tree *tree.Tree
	// at is the instant in the trace, for timed traces; turn the root's first
	// turn for others.
	at   time.Duration
	turn int
}

// trajectories draws distinct traces for the lanes; when there are too few it
// uses them again, each lane with an instant of its own.
func (c *Config) trajectories() ([]trajectory, error) {
	if c.Lanes < 1 || len(c.Trees) == 0 {
		return nil, errors.New("a replay needs lanes and traces")
	}
	if c.StartMin < 0 || c.StartMax > 1 || c.StartMin > c.StartMax {
		return nil, fmt.Errorf("start ratios %v to %v are not within 0 and 1", c.StartMin, c.StartMax)
	}
	marked := c.Marker != "" && c.Marker != play.NoMarker
	if c.Lanes > len(c.Trees) && !marked && !c.AllowWrap {
		return nil, fmt.Errorf("%d lanes, %d traces: %w", c.Lanes, len(c.Trees), ErrTooFewTraces)
	}
	order := c.ordered()
	out := make([]trajectory, c.Lanes)
	for lane := range out {
		t := order[lane%len(order)]
		name := fmt.Sprintf("%d:%s", c.Seed, t.ID)
		if lane >= len(order) {
			name = fmt.Sprintf("%s:%d", name, lane)
		}
		out[lane] = c.draw(lane, t, name)
	}
	return out, nil
}

// ordered lists the traces as the sampler hands them out.
func (c *Config) ordered() []*tree.Tree {
	out := slices.Clone(c.Trees)
	if c.Order == conversation.Random || c.Order == conversation.Shuffle {
		rng := conversation.Rand(conversation.Seed(c.Seed, "trajectories"))
		rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	}
	return out
}

// draw places a lane in a trace, by a seed that depends on names alone.
func (c *Config) draw(lane int, t *tree.Tree, name string) trajectory {
	sum := sha256.Sum256([]byte(name))
	rng := conversation.Rand(binary.BigEndian.Uint64(sum[:8]))
	share := c.StartMin + rng.Float64()*(c.StartMax-c.StartMin)
	out := trajectory{lane: lane, tree: t}
	if t.Timed {
		from, to := t.Span()
		out.at = from + time.Duration(share*float64(to-from))
		return out
	}
	n := len(t.Streams[0].Conv.Turns)
	if n > 2 {
		out.turn = min(int(share*float64(n)), n-2)
	}
	return out
}

// resume says where a stream of a snapshot goes on.
type resume struct {
	live   bool // some of it is still to be played
	began  bool // it had been spawned
	next   int
	offset time.Duration // from the snapshot's instant to its next turn
}

// snapshot works out what is live at a trajectory's instant. A stream goes on
// with its first turn at or after it. A child is part of it when its spawning
// turn precedes its parent's next turn: that turn is never played again, so
// nothing else would start the child.
func (t *trajectory) snapshot() []resume {
	out := make([]resume, len(t.tree.Streams))
	for i := range t.tree.Streams {
		s := &t.tree.Streams[i]
		r := &out[i]
		if i > 0 {
			b := t.tree.Branches[s.Branch]
			if parent := out[s.Parent]; !parent.began || b.Spawn >= parent.next {
				continue
			}
			if !t.tree.Timed && b.Spawn >= 0 {
				r.began, r.next = true, len(s.Conv.Turns) // without instants it counts as over
				continue
			}
		}
		r.began = true
		if !t.tree.Timed {
			if i == 0 {
				r.next = t.turn
			}
			r.live = r.next < len(s.Conv.Turns)
			continue
		}
		for r.next < len(s.Starts) && s.Starts[r.next] < t.at {
			r.next++
		}
		if r.live = r.next < len(s.Starts); r.live {
			r.offset = s.Starts[r.next] - t.at
		}
	}
	return out
}

// fresh is the snapshot of a tree that starts from its beginning.
func fresh(t *tree.Tree) []resume {
	from, _ := t.Span()
	return (&trajectory{tree: t, at: from}).snapshot()
}
