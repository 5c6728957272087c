// Package survey says what a workload asks of a server before any of it is
// sent: how long its prompts and replies are, how its requests come, and how
// much of them a prefix cache could hold.
package survey

import (
	"cmp"
	"slices"
	"time"

	"github.com/fleetune/fleetune/worker/load/conversation"
	"github.com/fleetune/fleetune/worker/load/input"
	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/fleetune/fleetune/worker/load/tree"
)

// A Survey is what a workload holds. Distributions that it says nothing about
// are nil.
type Survey struct {
	Format        input.Format `json:"format"`
	Conversations int          `json:"conversations"`
	Requests      int          `json:"requests"`
	// Turns of a conversation; prompts and replies in tokens.
	Turns  *metrics.Stats `json:"turns"`
	Input  *metrics.Stats `json:"input_tokens"`
	Output *metrics.Stats `json:"output_tokens,omitempty"`
	// OpenEnded requests leave the length of the reply to the server.
	OpenEnded int `json:"requests_without_output_length,omitempty"`
	// Delay is the pause before a turn, after the end of the one before, s.
	Delay    *metrics.Stats `json:"turn_delay_s,omitempty"`
	Arrivals *Arrivals      `json:"arrivals,omitempty"`
	Prefix   *Prefix        `json:"prefix,omitempty"`
	Agents   *Agents        `json:"agents,omitempty"`
	Notes    []string       `json:"notes,omitempty"`
}

// Arrivals are the recorded instants of a list of requests.
type Arrivals struct {
	Span float64 `json:"span_s"`
	// Rate is the mean over the span, Peak the highest in one second.
	Rate float64 `json:"requests_per_s"`
	Peak int     `json:"most_in_a_second"`
	// Gap between one request and the next, s. Its variation, the deviation
	// over the mean, is 1 for Poisson arrivals and more for bursts.
	Gap       *metrics.Stats `json:"gap_s"`
	Variation float64        `json:"variation"`
}

// Prefix is what an ideal cache of prompt blocks would hold, one that never
// forgets.
type Prefix struct {
	Blocks int     `json:"blocks"`
	Hits   int     `json:"hits"`
	Share  float64 `json:"hit_share"`
}

// Agents are the trees of agentic traces.
type Agents struct {
	Trees    int `json:"trees"`
	Children int `json:"children"`
	// Background children are joined by nothing.
	Background int `json:"background_children"`
	Depth      int `json:"greatest_depth"`
	// Span is the recorded length of a tree, s; Gap the time between the starts
	// of its requests, s; InFlight how many of them ran at once at most.
	Span     *metrics.Stats `json:"span_s,omitempty"`
	Gap      *metrics.Stats `json:"gap_s,omitempty"`
	InFlight *metrics.Stats `json:"most_in_flight,omitempty"`
}

// Of surveys a workload.
func Of(w *input.Workload) *Survey {
	s := &Survey{Format: w.Format, Notes: w.Notes}
	s.conversations(w.All())
	if len(w.Trees) > 0 {
		s.Agents = agents(w.Trees)
	} else {
		s.Arrivals = arrivals(w.Conversations)
	}
	return s
}

func (s *Survey) conversations(list []*conversation.Conversation) {
	var turns, in, out, delay metrics.Distribution
	var prefix Prefix
	for _, c := range list {
		turns.Add(float64(len(c.Turns)))
		for i := range c.Turns {
			t := &c.Turns[i]
			in.Add(float64(t.InputTokens))
			if t.MaxTokens > 0 {
				out.Add(float64(t.MaxTokens))
			}
			if i > 0 {
				delay.Add(t.Delay.Seconds())
			}
			prefix.Blocks += t.CacheBlocks
			prefix.Hits += t.CacheHits
		}
	}
	s.Conversations, s.Requests, s.OpenEnded = turns.Count(), in.Count(), in.Count()-out.Count()
	s.Turns, s.Input, s.Output, s.Delay = turns.Stats(), in.Stats(), out.Stats(), delay.Stats()
	if prefix.Blocks > 0 {
		prefix.Share = float64(prefix.Hits) / float64(prefix.Blocks)
		s.Prefix = &prefix
	}
}

// arrivals are those of the turns that have an instant; nil with fewer than
// two.
func arrivals(list []*conversation.Conversation) *Arrivals {
	var at []time.Duration
	for _, c := range list {
		for i := range c.Turns {
			if t := c.Turns[i].At; t != nil {
				at = append(at, *t)
			}
		}
	}
	if len(at) < 2 {
		return nil
	}
	slices.Sort(at)
	out := &Arrivals{Span: (at[len(at)-1] - at[0]).Seconds(), Gap: gaps(at)}
	if out.Span > 0 {
		out.Rate = float64(len(at)-1) / out.Span
	}
	first := 0
	for i := range at {
		for at[i]-at[first] >= time.Second {
			first++
		}
		out.Peak = max(out.Peak, i-first+1)
	}
	if out.Gap.Avg > 0 {
		out.Variation = out.Gap.Std / out.Gap.Avg
	}
	return out
}

// gaps between sorted instants, s.
func gaps(at []time.Duration) *metrics.Stats {
	var d metrics.Distribution
	for i := 1; i < len(at); i++ {
		d.Add((at[i] - at[i-1]).Seconds())
	}
	return d.Stats()
}

func agents(trees []*tree.Tree) *Agents {
	out := &Agents{Trees: len(trees)}
	var span, gap, most metrics.Distribution
	for _, t := range trees {
		out.Children += len(t.Streams) - 1
		for i := range t.Streams {
			out.Depth = max(out.Depth, t.Streams[i].Depth)
		}
		for i := range t.Branches {
			if t.Branches[i].Join == tree.NoJoin {
				out.Background += len(t.Branches[i].Children)
			}
		}
		if !t.Timed {
			continue
		}
		from, to := t.Span()
		span.Add((to - from).Seconds())
		var starts []time.Duration
		for i := range t.Streams {
			starts = append(starts, t.Streams[i].Starts...)
		}
		slices.Sort(starts)
		for i := 1; i < len(starts); i++ {
			gap.Add((starts[i] - starts[i-1]).Seconds())
		}
		if n := inFlight(t); n > 0 {
			most.Add(float64(n))
		}
	}
	out.Span, out.Gap, out.InFlight = span.Stats(), gap.Stats(), most.Stats()
	return out
}

// inFlight is how many of a tree's requests ran at once at most; 0 without
// recorded ends.
func inFlight(t *tree.Tree) int {
	type edge struct {
		at   time.Duration
		step int
	}
	var edges []edge
	for i := range t.Streams {
		s := &t.Streams[i]
		if s.Ends == nil {
			return 0
		}
		for k := range s.Starts {
			edges = append(edges, edge{s.Starts[k], 1}, edge{s.Ends[k], -1})
		}
	}
	slices.SortFunc(edges, func(a, b edge) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.step, b.step)) })
	now, most := 0, 0
	for _, e := range edges {
		now += e.step
		most = max(most, now)
	}
	return most
}
