package search

import "github.com/fleetune/fleetune/proto/task"

// ProblemOf is what a task asks a sampler to search. The terms of its SLO are
// constraints on what is measured, in their order.
func ProblemOf(t *task.Task) Problem {
	o := &t.Optimization
	p := Problem{Space: t.Space, Objectives: o.Objectives, Seed: o.Seed, Budget: o.MaxIterations, Options: o.Options, Fidelity: o.Fidelity}
	if t.Serving != nil && t.Serving.SLO != nil {
		for _, term := range t.Serving.SLO.Terms {
			p.Constraints = append(p.Constraints, term.Metric)
		}
	}
	return p
}
