package task

import (
	"fmt"
	"math"
	"slices"

	"github.com/fleetune/fleetune/proto/render/placeholder"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task/internal/document"
)

// Stop says when a search ends before its budget of experiments: at the first
// limit that is reached. The zero value of a limit is none.
type Stop struct {
	// Time since the first attempt; unlike Timeout it stops nothing that runs.
	Time Duration `json:"time,omitempty"`
	// DeviceHours that attempts have held devices, whatever became of them.
	DeviceHours float64 `json:"device_hours,omitempty"`
	// Cost of those hours.
	Cost    float64  `json:"cost,omitempty"`
	Plateau *Plateau `json:"plateau,omitempty"`
	// ExpectedImprovement of the most promising point, in parts of the
	// incumbent's score, below which the search is over.
	ExpectedImprovement float64 `json:"expected_improvement,omitempty"`
}

// A Plateau is a number of experiments in a row that brought no improvement.
type Plateau struct {
	Experiments int `json:"experiments"`
	// MinImprovement is what counts as one, in parts of the incumbent's score.
	MinImprovement float64 `json:"min_improvement"`
}

// Racing ends an experiment early once it is surely worse than the incumbent.
type Racing struct {
	// Confidence over all looks at one experiment together.
	Confidence float64 `json:"confidence"`
	// MinSamples to wait for.
	MinSamples int `json:"min_samples"`
}

// A Fidelity is what an experiment can be measured with less of.
type Fidelity struct {
	Name string `json:"name"`
	// Levels rise; the last is a full measurement.
	Levels []float64 `json:"levels"`
	// Eta is the share of configurations that go on: one of so many.
	Eta float64 `json:"eta"`
}

// Full is the level of a full measurement.
func (f *Fidelity) Full() float64 { return f.Levels[len(f.Levels)-1] }

// Value is a level as it is written into an experiment: a whole number where
// it is one.
func (f *Fidelity) Value(level float64) any {
	if level == math.Trunc(level) && math.Abs(level) < 1<<53 {
		return int64(level)
	}
	return level
}

// At is a point as a command experiment is rendered at it: with the fidelity's
// value under its name; 0 stands for a full measurement. Without a fidelity it
// is the point itself.
func (t *Task) At(p space.Point, level float64) space.Point {
	f := t.Optimization.Fidelity
	if f == nil || t.Command == nil || p == nil {
		return p
	}
	if level == 0 {
		level = f.Full()
	}
	out := make(space.Point, len(p)+1)
	for name, v := range p {
		out[name] = v
	}
	out[f.Name] = f.Value(level)
	return out
}

// halt reads when to stop. What stands at 0 in the file would stop before the
// first experiment.
func (d *decoder) halt(t *Task) {
	const at = "optimization.stop"
	f := d.form.Optimization.Stop
	t.Optimization.DeviceHourCost = d.form.Optimization.CostPerDeviceHour
	if f == nil {
		return
	}
	for name, value := range map[string]float64{"device_hours": f.DeviceHours, "cost": f.Cost, "expected_improvement": f.ExpectedImprovement} {
		if path := document.Join(at, name); value == 0 && d.index.Has(path) && d.clean(path) {
			d.Fail(path, "is 0, which is reached before the first experiment", "a number above 0, or nothing")
		}
	}
	if price := "optimization.cost_per_device_hour"; f.Cost > 0 && t.Optimization.DeviceHourCost == 0 && d.clean(price) {
		d.warn("optimization.stop.cost", "counts only workers with the label "+LabelDeviceHourCost, "cost_per_device_hour, for the others")
	}
	s := &Stop{Time: Duration(f.Time), DeviceHours: f.DeviceHours, Cost: f.Cost, ExpectedImprovement: f.ExpectedImprovement}
	if f.Plateau != nil {
		s.Plateau = &Plateau{Experiments: int(f.Plateau.Experiments), MinImprovement: f.Plateau.MinImprovement}
	}
	if *s != (Stop{}) {
		t.Optimization.Stop = s
	}
}

// race reads when an experiment is given up.
func (d *decoder) race(t *Task) {
	const at = "optimization.racing"
	f := d.form.Optimization.Racing
	if f == nil || !f.On || !d.clean(at, "optimization.repeats") {
		return
	}
	t.Optimization.Racing = &Racing{Confidence: f.Confidence, MinSamples: int(f.MinSamples)}
	if int(f.MinSamples) < t.Optimization.Repeats {
		return
	}
	switch {
	case t.Command != nil:
		d.Fail(at, fmt.Sprintf("waits for %d samples, but an experiment ends after %d (optimization.repeats)",
			f.MinSamples, t.Optimization.Repeats), "fewer min_samples, or more repeats")
	case t.Serving != nil: // no repeats are what most tasks of engines have
		d.warn(at, fmt.Sprintf("waits for %d samples, one for every pass over the cells, and there are %d (optimization.repeats): no experiment will end early",
			f.MinSamples, t.Optimization.Repeats), fmt.Sprintf("repeats: %d, or more", f.MinSamples+1))
	}
}

// fidelity reads the levels, or makes them: full, a part eta of it, and so on
// down to the least.
func (d *decoder) fidelity(t *Task) {
	const at = "optimization.fidelity"
	f := d.form.Optimization.Fidelity
	if f == nil || !d.clean(at) {
		return
	}
	out := &Fidelity{Name: f.Name, Eta: f.Eta, Levels: f.Levels}
	switch {
	case len(f.Levels) > 0 && (d.index.Has(at+".min") || d.index.Has(at+".max")):
		d.Fail(at+".levels", "stands beside min or max", "levels alone, or min and max")
	case len(f.Levels) > 0:
		for i, level := range f.Levels {
			if level <= 0 || i > 0 && level <= f.Levels[i-1] {
				d.Fail(document.Item(at+".levels", i), fmt.Sprintf("is %v; the levels must be above 0 and rise", level), "")
			}
		}
	case f.Min <= 0 || f.Max <= f.Min:
		d.Fail(at, fmt.Sprintf("goes from %v to %v", f.Min, f.Max), "0 < min < max, or a list of levels")
	default:
		out.Levels = levels(f.Min, f.Max, f.Eta)
	}
	if !d.clean(at) {
		return
	}
	if len(out.Levels) < 2 {
		d.Fail(at, "has one level only", fmt.Sprintf("max at least eta (%v) times min, or two levels", f.Eta))
	}
	if t.Serving == nil && slices.Contains(parameterNames(&t.Space), f.Name) {
		d.Fail(at+".name", fmt.Sprintf("is %q, which is a parameter", f.Name), "a name of its own")
	}
	if slices.Contains(placeholder.Builtins(), f.Name) {
		d.Fail(at+".name", fmt.Sprintf("is %q, which the worker gives a value", f.Name), "a name of its own")
	}
	t.Optimization.Fidelity = out
	if t.Serving != nil {
		d.servingFidelity(t.Serving, out)
	}
}

// levels are max, max/eta and so on, the lowest not below least, rising; whole
// where both ends are.
func levels(least, most, eta float64) []float64 {
	whole := least == math.Trunc(least) && most == math.Trunc(most)
	var out []float64
	for level := most; level >= least*(1-1e-9); level /= eta {
		v := level
		if whole {
			v = math.Round(v)
		}
		if v < least || len(out) > 0 && v >= out[len(out)-1] || len(out) == maxLevels {
			break
		}
		out = append(out, v)
	}
	slices.Reverse(out)
	return out
}

// maxLevels is also in the tag of the form.
const maxLevels = 20
