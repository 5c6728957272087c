package sampler_test

import (
	"math"
	"slices"
	"testing"

	"github.com/fleetune/fleetune/manager/search/sampler"
	"github.com/fleetune/fleetune/manager/search/valid"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

func TestPastSortsAndClassifies(t *testing.T) {
	p := sampler.Problem{
		Space:      space.Space{Parameters: []space.Parameter{{Name: "a", Type: space.Integer, Low: 1, High: 9}}},
		Objectives: []task.Objective{{Metric: "rate", Direction: task.Maximize}},
	}
	set, err := valid.Of(p.Space)
	if err != nil {
		t.Fatal(err)
	}
	at := func(a int64) space.Point { return space.Point{"a": a} }
	past := sampler.NewPast(set, &p)
	past.Read([]sampler.Observation{
		{Number: 4, Point: at(4), Outcome: experiment.OutcomeLost},
		{Number: 2, Point: at(2), Outcome: experiment.OutcomeSuccess, Values: []float64{7}},
		{Number: 5, Point: at(99), Outcome: experiment.OutcomeSuccess, Values: []float64{7}},
		{Number: 3, Point: at(3), Outcome: experiment.OutcomeOutOfMemory},
		{Number: 1, Point: at(1), Outcome: experiment.OutcomeSuccess, Values: []float64{math.NaN()}},
	})
	trials := past.Trials()
	if len(trials) != 4 {
		t.Fatalf("%d trials, want those inside the space", len(trials))
	}
	for i, want := range []struct {
		loss       float64
		infeasible bool
	}{{math.NaN(), false}, {-7, false}, {math.NaN(), true}, {math.NaN(), false}} {
		got := trials[i]
		if got.Number != i+1 || got.Infeasible != want.infeasible || (got.Losses == nil) != math.IsNaN(want.loss) {
			t.Errorf("trial %d is %+v", i+1, got)
		}
		if len(got.Losses) > 0 && got.Losses[0] != want.loss {
			t.Errorf("loss %v, want %v", got.Losses[0], want.loss)
		}
	}
	epoch := past.Epoch()
	past.Read(nil)
	if past.Count() != 0 || past.Epoch() == epoch {
		t.Errorf("%d points after an empty history, epoch %d after %d", past.Count(), past.Epoch(), epoch)
	}
}

// What is in flight comes in one order, once, without what has ended and what
// lies outside.
func TestPendingIsOneSet(t *testing.T) {
	p := sampler.Problem{Space: space.Space{Parameters: []space.Parameter{{Name: "a", Type: space.Integer, Low: 1, High: 9}}}}
	set, err := valid.Of(p.Space)
	if err != nil {
		t.Fatal(err)
	}
	past := sampler.NewPast(set, &p)
	past.Read([]sampler.Observation{{Number: 1, Point: space.Point{"a": int64(3)}, Outcome: experiment.OutcomeLost}})
	read := func(values ...int64) []valid.Key {
		var points []space.Point
		for _, a := range values {
			points = append(points, space.Point{"a": a})
		}
		var keys []valid.Key
		for _, trial := range past.Pending(points) {
			keys = append(keys, trial.Key)
		}
		return keys
	}
	want := read(2, 9, 5, 7)
	if len(want) != 4 {
		t.Fatalf("%d points in flight", len(want))
	}
	for _, other := range [][]int64{{7, 5, 9, 2}, {5, 2, 7, 9, 5, 2}, {9, 3, 2, 99, 7, 5}} {
		if got := read(other...); !slices.Equal(got, want) {
			t.Errorf("%v is read as %v, want %v", other, got, want)
		}
	}
}
