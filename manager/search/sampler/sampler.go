// Package sampler defines the seam between the manager and the search
// algorithms, and what every algorithm shares: the decoded history and the
// points that may no longer be proposed.
package sampler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/fleetune/fleetune/manager/search/valid"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

// ErrExhausted says that no valid point is left that is neither measured nor
// pending.
var ErrExhausted = errors.New("every valid point has been proposed")

// Problem is what does not change while a task runs.
type Problem struct {
	Space      space.Space
	Objectives []task.Objective
	// Constraints names the measured metrics that have a bound, such as the SLOs
	// of a task; samplers learn where they hold. The bounds themselves are in
	// the numbers of Observation.Constraints.
	Constraints []string
	// Seed makes the choice of points repeatable.
	Seed int64
	// Budget is the number of experiments the task may run; 0 means unknown.
	Budget int
	// Options are the sampler's own settings; unknown names are an error.
	Options map[string]json.RawMessage
	// Fidelity that points may be measured with less of; nil where there is none.
	Fidelity *task.Fidelity
	// Points restricts the search to a set prepared by the caller, such as a
	// recorded table; nil means all valid points of Space.
	Points *valid.Set
}

// Set returns the points the search may propose.
func (p *Problem) Set() (*valid.Set, error) {
	if p.Points != nil {
		return p.Points, nil
	}
	return valid.Of(p.Space)
}

// Decode reads the options into a struct that holds the defaults.
func (p *Problem) Decode(into any) error {
	known, err := fields(into)
	if err != nil {
		return err
	}
	for name := range p.Options {
		if _, ok := known[name]; ok {
			continue
		}
		names := make([]string, 0, len(known))
		for n := range known {
			names = append(names, n)
		}
		if nearest := space.Nearest(name, names); nearest != "" {
			return fmt.Errorf("the sampler has no option %q; did you mean %q?", name, nearest)
		}
		return fmt.Errorf("the sampler has no option %q", name)
	}
	data, err := json.Marshal(p.Options)
	if err != nil {
		return fmt.Errorf("reading the sampler's options: %w", err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("reading the sampler's options: %w", err)
	}
	return nil
}

// fields lists the JSON names of a struct.
func fields(v any) (map[string]json.RawMessage, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("listing the sampler's options: %w", err)
	}
	var known map[string]json.RawMessage
	if err := json.Unmarshal(data, &known); err != nil {
		return nil, fmt.Errorf("listing the sampler's options: %w", err)
	}
	return known, nil
}

// Observation is one finished experiment as a sampler sees it.
type Observation struct {
	Number int
	// Fidelity is the level it was measured at where that is less than a full
	// measurement; 0 otherwise.
	Fidelity float64
	// Point must not be changed after it was handed in: samplers recognise a
	// history they have read before by the identity of its points.
	Point space.Point
	// Values holds one number per objective in the metric's own unit; nil when
	// the experiment failed.
	Values []float64
	// Constraints holds one number for each of Problem.Constraints: how far the
	// metric lies beyond its bound, in parts of the bound, so that 0.2 misses by
	// a fifth and what is 0 or less holds. For a metric that may be at most b
	// that is (value-b)/|b|, for one that must be at least b it is
	// (b-value)/|b|; with b = 0, the difference itself. NaN stands for one that
	// was not measured; nil when none was. A point that misses a bound still
	// carries the Values it was measured with.
	Constraints []float64
	Outcome     experiment.Outcome
}

// Sampler chooses the next points. Propose is a pure function of the problem
// and its arguments, and the order of the history does not matter: any other
// Sampler made from the same problem gives the same points. It returns at most
// n points that are valid, distinct, and neither in the history nor pending;
// fewer when fewer are left, and ErrExhausted when none is. A Sampler may keep
// what it has computed, and is safe for concurrent use.
type Sampler interface {
	Propose(ctx context.Context, history []Observation, pending []space.Point, n int) ([]space.Point, error)
}
