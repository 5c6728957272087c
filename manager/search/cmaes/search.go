package cmaes

import (
	"math"
	"math/rand/v2"

	"github.com/fleetune/fleetune/manager/search/sampler"
	"github.com/fleetune/fleetune/manager/search/valid"
)

// A search is a series of runs over a history.
type search struct {
	*Sampler
	read   int             // trials looked at
	group  []sampler.Trial // of the generation being filled
	start  *sampler.Trial  // best of the startup points
	number int             // usable trials so far
	run    *run            // nil before the first

	restarts     int
	large, small int // trials spent in runs of growing and of small populations
	doublings    int
	inSmall      bool
}

func (s *Sampler) newSearch() *search { return &search{Sampler: s} }

// follow takes in the trials that were not looked at before.
func (s *search) follow(trials []sampler.Trial) {
	for ; s.read < len(trials); s.read++ {
		t := trials[s.read]
		if t.Losses == nil && t.Constraints == nil && !t.Infeasible {
			continue // says nothing
		}
		s.number++
		if s.run == nil {
			s.begin(t)
			continue
		}
		if s.inSmall {
			s.small++
		} else {
			s.large++
		}
		if s.group = append(s.group, t); len(s.group) < s.run.population {
			continue
		}
		s.run.learn(s.group)
		s.group = s.group[:0]
		if s.run.over() {
			s.restart()
		}
	}
}

// begin starts the first run at the best of the startup points that worked.
func (s *search) begin(t sampler.Trial) {
	if t.Losses != nil && (s.start == nil || better(&t, s.start)) {
		s.start = &t
	}
	if s.number >= s.options.Startup && s.start != nil {
		s.run = s.newRun(s.start.Vec, s.options.Population, s.options.Sigma)
	}
}

func better(a, b *sampler.Trial) bool {
	return sampler.Order([]sampler.Trial{*b, *a})[0] == 1
}

// restart begins a run at a random point. Of its two kinds the one that has
// used less so far is next: populations that double, or small ones of varying
// size with small deviations.
func (s *search) restart() {
	s.restarts++
	rng := rand.New(rand.NewPCG(uint64(s.problem.Seed)+3, uint64(s.restarts)))
	start, ok := s.set.Sample(rng)
	if !ok {
		start = s.start.Vec
	}
	population, sigma := float64(s.options.Population), s.options.Sigma
	if s.inSmall = s.restarts > 1 && s.small < s.large; s.inSmall {
		u := rng.Float64()
		largest := math.Pow(2, float64(s.doublings))
		population = math.Floor(population * math.Pow(largest/2, u*u))
		sigma *= math.Pow(10, -2*rng.Float64())
	} else {
		s.doublings++
		population *= math.Pow(2, float64(min(s.doublings, 10)))
	}
	s.run = s.newRun(start, max(int(population), s.options.Population), sigma)
}

func (s *search) newRun(start valid.Vec, population int, sigma float64) *run {
	r := &run{search: s, population: population, sigma: sigma, rng: uint64(s.problem.Seed) + 4}
	r.begin(start)
	return r
}
