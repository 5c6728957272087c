package insight

import (
	"math"
	"slices"

	"github.com/fleetune/fleetune/manager/search/pareto"
	"github.com/fleetune/fleetune/manager/search/sampler"
	"github.com/fleetune/fleetune/proto/task"
)

// A Step is the state of the search after one experiment.
type Step struct {
	Number int
	// Best value of the first objective so far, in the metric's unit.
	Best float64
	// Regret is how far Best is from the best of the whole history, in the
	// metric's unit; 0 once that was found.
	Regret float64
	// Hypervolume between the points so far and the reference, in the product
	// of the objectives' units; 0 with one objective.
	Hypervolume float64
}

// A Course is how a search went.
type Course struct {
	// Steps are the experiments that changed the front, which with one
	// objective is the incumbent, and the last one; in order of number.
	Steps []Step
	// Changes is how many changes there were; Steps may hold fewer.
	Changes int
	// Front holds the observations that no other dominates, in order of number;
	// of equal ones the lowest number.
	Front []sampler.Observation
	// Reference that hypervolumes are taken against, in the metrics' units; nil
	// when there is one objective, or too many points on the front for
	// hypervolumes to be computed.
	Reference []float64
}

// volumeWork bounds the cost of one hypervolume: points of the front to the
// power of the objectives less one. Two objectives need no bound.
const volumeWork = 200_000

// Progress tells how a search went, in at most the given number of steps, the
// first and the last among them. Observations without values are passed over.
// Reference is a point worse than all that count, in the metrics' units; nil
// means the worst value of each objective.
func Progress(objectives []task.Objective, history []sampler.Observation, reference []float64, most int) Course {
	c := climb{several: len(objectives) > 1}
	for _, o := range history {
		if l := losses(objectives, o.Values); l != nil {
			c.points = append(c.points, point{o, l})
		}
	}
	if len(c.points) == 0 {
		return Course{}
	}
	slices.SortStableFunc(c.points, func(a, b point) int { return a.Number - b.Number })
	bound := losses(objectives, reference)
	if bound == nil {
		bound = c.worst()
	}
	largest := 0
	for i := range c.points {
		if c.admit(i) {
			c.changes = append(c.changes, i)
			largest = max(largest, len(c.front))
		}
	}
	out := Course{Changes: len(c.changes)}
	for _, i := range c.front {
		out.Front = append(out.Front, c.points[i].Observation)
	}
	d := len(objectives)
	measured := c.several && (d == 2 || math.Pow(float64(largest), float64(d-1)) <= volumeWork)
	if measured {
		out.Reference = slices.Clone(bound)
		for i := range bound {
			out.Reference[i] *= sign(objectives[i])
		}
	} else {
		bound = nil
	}
	out.Steps = c.steps(bound, sign(objectives[0]), most)
	return out
}

// sign turns a loss back into the metric.
func sign(o task.Objective) float64 {
	if o.Direction == task.Maximize {
		return -1
	}
	return 1
}

// A point is an observation with its values turned into losses.
type point struct {
	sampler.Observation
	losses []float64
}

// A climb walks through a history.
type climb struct {
	several bool
	points  []point
	front   []int // positions of points
	changes []int
}

func (c *climb) worst() []float64 {
	out := slices.Clone(c.points[0].losses)
	for _, p := range c.points {
		for k, l := range p.losses {
			out[k] = max(out[k], l)
		}
	}
	return out
}

// admit adds a point to the front unless one there is as good.
func (c *climb) admit(i int) bool {
	l := c.points[i].losses
	for _, k := range c.front {
		if p := c.points[k].losses; slices.Equal(p, l) || pareto.Dominates(p, l) {
			return false
		}
	}
	c.front = append(slices.DeleteFunc(c.front, func(k int) bool { return pareto.Dominates(l, c.points[k].losses) }), i)
	return true
}

// steps walks again over the changes and stops at some of them. Without a
// bound there are no hypervolumes.
func (c *climb) steps(bound []float64, sign float64, most int) []Step {
	final := math.Inf(1)
	for _, k := range c.front {
		final = min(final, c.points[k].losses[0])
	}
	c.front = nil
	stops := Thin(c.changes, most-1)
	best := math.Inf(1)
	var out []Step
	for _, i := range c.changes {
		c.admit(i)
		best = min(best, c.points[i].losses[0])
		if len(stops) == 0 || stops[0] != i {
			continue
		}
		stops = stops[1:]
		s := Step{Number: c.points[i].Number, Best: sign * best, Regret: best - final}
		if bound != nil {
			var front [][]float64
			for _, k := range c.front {
				front = append(front, c.points[k].losses)
			}
			s.Hypervolume = pareto.Hypervolume(front, bound)
		}
		out = append(out, s)
	}
	if last := c.points[len(c.points)-1].Number; len(out) > 0 && out[len(out)-1].Number != last {
		s := out[len(out)-1]
		s.Number = last
		out = append(out, s)
	}
	return out
}

// Thin keeps at most n of a list, evenly spread, the first and the last among
// them; n is at least 1, and 1 keeps the last.
func Thin[T any](list []T, n int) []T {
	if len(list) <= n {
		return list
	}
	if n <= 1 {
		return list[len(list)-1:]
	}
	out := make([]T, n)
	for k := range out {
		out[k] = list[k*(len(list)-1)/(n-1)]
	}
	return out
}

// losses turns values so that smaller is better; nil when one is missing.
func losses(objectives []task.Objective, values []float64) []float64 {
	if len(values) == 0 || len(values) != len(objectives) {
		return nil
	}
	out := slices.Clone(values)
	for i, v := range values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil
		}
		if objectives[i].Direction == task.Maximize {
			out[i] = -v
		}
	}
	return out
}
