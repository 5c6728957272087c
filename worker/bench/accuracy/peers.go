package accuracy

import (
	"context"
	"fmt"
	"time"

	"github.com/fleetune/fleetune/worker/load"
	"github.com/fleetune/fleetune/worker/load/conversation"
	"github.com/fleetune/fleetune/worker/load/endpoint"
)

// A Peer is another load generator.
type Peer interface {
	Name() string
	// Takes says whether the peer can send such a load at all.
	Takes(a Attack) bool
	// Attack sends the load, as fast as it can.
	Attack(ctx context.Context, a Attack) (Tally, error)
}

// An Attack is a closed loop of equal requests.
type Attack struct {
	// URL of the server, Path of its endpoint.
	URL, Path   string
	Body        []byte
	Stream      bool
	Concurrency int
	Length      time.Duration
	// Prompt and Tokens are the lengths of a request and its reply, for peers
	// that write their own bodies.
	Prompt, Tokens int
}

// A Tally is what a peer did: requests that ended, those of them that failed,
// the time it sent for, and the processor time that it cost.
type Tally struct {
	Done, Failed int
	Elapsed, CPU time.Duration
}

// PeerSpeed is a peer's figure beside ours.
type PeerSpeed struct {
	Name      string  `json:"name"`
	PerSecond float64 `json:"per_s"`
	CPU       float64 `json:"client_cpu_us_each"`
	PerCore   float64 `json:"per_client_core_s"`
	Errors    int     `json:"errors"`
	// CPURatio is our processor time for one over the peer's, CoreRatio how
	// many times as many we do in a second of a core, RateRatio our rate over
	// the peer's.
	CPURatio  float64 `json:"our_cpu_over_theirs"`
	CoreRatio float64 `json:"our_per_core_over_theirs"`
	RateRatio float64 `json:"our_rate_over_theirs"`
	// Failed says why there are no figures.
	Failed string `json:"failed,omitempty"`
}

const promptTokens = 64

// against gives the peers what we were given. A peer that breaks is told, and
// takes nobody with it.
func (m *measurer) against(ctx context.Context, plan load.Plan, ours Speed, tokens int, chunks bool) ([]PeerSpeed, error) {
	var out []PeerSpeed
	body, err := plan.Target.Options.Body(&endpoint.Prompt{Model: plan.Models[0], MaxTokens: tokens,
		Messages: []endpoint.Message{conversation.Filler("user", conversation.Fill{Seed: 1, Tokens: promptTokens}).Render()}})
	if err != nil {
		return nil, err
	}
	a := Attack{URL: m.oracle.url, Path: endpoint.Chat.Path(), Body: body, Stream: plan.Target.Options.Stream,
		Concurrency: ours.Concurrent, Length: m.length, Prompt: promptTokens, Tokens: tokens}
	for _, p := range m.peers {
		if !p.Takes(a) {
			continue
		}
		t, err := p.Attack(ctx, a)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err == nil && (t.Done == 0 || t.CPU <= 0 || t.Elapsed <= 0) {
			err = fmt.Errorf("it ended %d requests in %v", t.Done, t.Elapsed)
		}
		if err != nil {
			out = append(out, PeerSpeed{Name: p.Name(), Failed: err.Error()})
			continue
		}
		n := float64(t.Done)
		if chunks {
			n *= float64(tokens)
		}
		s := PeerSpeed{Name: p.Name(), PerSecond: n / t.Elapsed.Seconds(), CPU: t.CPU.Seconds() * 1e6 / n, PerCore: n / t.CPU.Seconds(), Errors: t.Failed}
		s.CPURatio, s.CoreRatio, s.RateRatio = ours.CPU/s.CPU, s.CPU/ours.CPU, ours.PerSecond/s.PerSecond
		out = append(out, s)
		if err := m.oracle.forget(ctx); err != nil {
			return nil, err
		}
	}
	return out, nil
}
