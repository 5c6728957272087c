package pace

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// Arrival names the law of the gaps between requests of an open loop.
type Arrival string

// The arrival laws.
const (
	Constant Arrival = "constant"
	Poisson  Arrival = "poisson"
	Gamma    Arrival = "gamma"
	Burst    Arrival = "burst"
)

// Gaps draws the gaps between arrivals.
type Gaps struct {
	law    Arrival
	smooth float64
	rng    *rand.Rand
}

// NewGaps returns the gaps of a law. Smoothness is the gamma law's shape: 1 is
// Poisson, less is burstier, more is steadier.
func NewGaps(law Arrival, smoothness float64, seed uint64) (*Gaps, error) {
	switch law {
	case Constant, Poisson, Burst:
	case Gamma:
		if !(smoothness > 0) || math.IsInf(smoothness, 0) {
			return nil, fmt.Errorf("arrival smoothness must be above 0, got %v", smoothness)
		}
	default:
		return nil, fmt.Errorf("unknown arrival law %q: use constant, poisson, gamma or burst", law)
	}
	return &Gaps{law: law, smooth: smoothness, rng: rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))}, nil
}

// Next draws the gap before the next arrival at a rate in requests per second:
// 1/r for constant, exponential with rate r for Poisson, gamma with the given
// shape and mean 1/r, and nothing for a burst.
func (g *Gaps) Next(rate float64) time.Duration {
	if g.law == Burst || !(rate > 0) {
		return 0
	}
	mean := 1 / rate
	var gap float64
	switch g.law {
	case Poisson:
		gap = g.rng.ExpFloat64() * mean
	case Gamma:
		gap = gamma(g.rng, g.smooth) * mean / g.smooth
	default:
		gap = mean
	}
	if limit := time.Duration(math.MaxInt64).Seconds() / 2; gap > limit {
		gap = limit
	}
	return time.Duration(gap * float64(time.Second))
}

// gamma draws from the gamma law of the given shape and scale 1, by Marsaglia
// and Tsang, "A simple method for generating gamma variables" (2000).
func gamma(rng *rand.Rand, shape float64) float64 {
	if shape < 1 {
		return gamma(rng, shape+1) * math.Pow(rng.Float64(), 1/shape)
	}
	d := shape - 1.0/3
	c := 1 / math.Sqrt(9*d)
	for {
		x := rng.NormFloat64()
		v := 1 + c*x
		if v <= 0 {
			continue
		}
		v = v * v * v
		u := rng.Float64()
		if math.Log(u) < 0.5*x*x+d-d*v+d*math.Log(v) {
			return d * v
		}
	}
}

// CatchUp is how far behind its plan a schedule may be before it gives the
// lost time up and starts afresh from now.
const CatchUp = 10 * time.Millisecond

// A Plan keeps the absolute targets of an open loop. Requests that are a
// little late are caught up with, so the rate holds; a backlog of more than
// CatchUp is given up and counted, never hidden.
type Plan struct {
	next time.Time
	// Lost is the schedule time given up so far.
	Lost time.Duration
	// Resets counts how often that happened.
	Resets int
}

// NewPlan returns a plan whose first target is start.
func NewPlan(start time.Time) *Plan { return &Plan{next: start} }

// Target is the instant of the next request.
func (p *Plan) Target() time.Time { return p.next }

// Advance moves the target by gap, seen from now.
func (p *Plan) Advance(now time.Time, gap time.Duration) {
	if behind := now.Sub(p.next); behind > CatchUp {
		p.Lost += behind
		p.Resets++
		p.next = now
	}
	p.next = p.next.Add(gap)
}
