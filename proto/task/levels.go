package task

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/fleetune/fleetune/proto/task/internal/document"
)

// The fidelities of a serving task: the requests of every cell, the seconds of
// every cell, and the number of concurrencies.
const (
	FidelityRequests    = "requests"
	FidelityDuration    = "duration"
	FidelityConcurrency = "concurrency"
)

func servingFidelities() []string {
	return []string{FidelityRequests, FidelityDuration, FidelityConcurrency}
}

// ServingAt is the serving part of the task as an experiment at a level of its
// fidelity measures it; 0 stands for a full measurement, which is the part
// itself.
func (t *Task) ServingAt(level float64) *Serving {
	f := t.Optimization.Fidelity
	if t.Serving == nil || f == nil || level == 0 {
		return t.Serving
	}
	s := *t.Serving
	s.Benchmark.scale(f.Name, level)
	return &s
}

// scale makes the cells smaller, or fewer: of so many concurrencies those that
// lie evenly between the lowest and the highest, the highest among them.
func (b *Benchmark) scale(fidelity string, level float64) {
	switch fidelity {
	case FidelityRequests:
		b.CellRequests = int(level)
	case FidelityDuration:
		b.CellTime = Duration(level * float64(time.Second))
	case FidelityConcurrency:
		n, all := int(level), b.Concurrency
		b.Concurrency = nil
		for i := range n {
			at := len(all) - 1
			if n > 1 {
				at = int(math.Round(float64(i*(len(all)-1)) / float64(n-1)))
			}
			b.Concurrency = append(b.Concurrency, all[at])
		}
	}
}

// servingFidelity checks what a serving task is measured with less of, and
// makes its benchmark that of the last level.
func (d *decoder) servingFidelity(s *Serving, f *Fidelity) {
	const at = "optimization.fidelity"
	known := servingFidelities()
	if !slices.Contains(known, f.Name) {
		d.nearest(at+".name", fmt.Sprintf("is %q, which a serving experiment cannot be measured with less of", document.Clip(f.Name)),
			document.Choice(known), closest(f.Name, known))
		return
	}
	whole := f.Name != FidelityDuration
	for i, level := range f.Levels {
		if whole && level != math.Trunc(level) {
			d.Fail(at, fmt.Sprintf("has the level %v of %s", level, f.Name), "whole numbers")
			return
		}
		if i > 0 && f.Name == FidelityConcurrency && int(level) > len(s.Benchmark.Concurrency) {
			d.Fail(at, fmt.Sprintf("asks for %v concurrencies, and benchmark.num_concurrency lists %d", level, len(s.Benchmark.Concurrency)), "")
			return
		}
	}
	full := f.Full()
	switch f.Name {
	case FidelityConcurrency:
		if int(full) != len(s.Benchmark.Concurrency) {
			d.Fail(at, fmt.Sprintf("ends with %v of %d concurrencies", full, len(s.Benchmark.Concurrency)), "all of them, for a full measurement")
		}
	case FidelityRequests:
		d.sameEnd("benchmark.max_requests_per_iteration", float64(s.Benchmark.CellRequests), full, "requests")
	case FidelityDuration:
		d.sameEnd("benchmark.max_time_per_iteration", s.Benchmark.CellTime.D().Seconds(), full, "seconds")
	}
	s.Benchmark.scale(f.Name, full)
}

// sameEnd refuses a file that says two things about a full measurement.
func (d *decoder) sameEnd(path string, given, full float64, unit string) {
	if d.index.Has(path) && given != full && d.clean(path) {
		d.Fail(path, fmt.Sprintf("makes %v %s a full measurement, and optimization.fidelity makes it %v", given, unit, full), "one of the two, or both alike")
	}
}
