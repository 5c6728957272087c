package fidelity

import (
	"slices"
	"testing"

	"github.com/fleetune/fleetune/manager/search/sampler"
	"github.com/fleetune/fleetune/manager/search/valid"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

// The sizes of Li et al., "Hyperband", 2018, table 1, for 81 units and eta 3.
func TestBracketsAreThoseOfThePaper(t *testing.T) {
	s := &Sampler{problem: sampler.Problem{Fidelity: &task.Fidelity{Levels: []float64{1, 3, 9, 27, 81}, Eta: 3}}}
	for i, want := range []int{81, 34, 15, 8, 5, 81} {
		if b := s.bracketAt(i); b.size != want || b.start != i%5 {
			t.Errorf("bracket %d has %d points from level %d on, want %d", i, b.size, b.start, want)
		}
	}
}

func line(t *testing.T) (*sampler.Problem, *valid.Set) {
	t.Helper()
	p := &sampler.Problem{
		Space:      space.Space{Parameters: []space.Parameter{{Name: "a", Type: space.Integer, Low: 1, High: 99}}},
		Objectives: []task.Objective{{Metric: "time", Direction: task.Minimize}},
		Fidelity:   &task.Fidelity{Levels: []float64{1, 3, 9}, Eta: 3},
	}
	set, err := p.Set()
	if err != nil {
		t.Fatal(err)
	}
	return p, set
}

func seen(number int, a int64, level float64, value ...float64) sampler.Observation {
	o := sampler.Observation{Number: number, Point: space.Point{"a": a}, Fidelity: level, Values: value, Outcome: experiment.OutcomeSuccess}
	if len(value) == 0 {
		o.Outcome = experiment.OutcomeOutOfMemory
	}
	return o
}

// A point counts by its highest level, carried over to full measurements by
// what points have at both levels; one that failed on its way up has failed.
func TestLevelsAreFused(t *testing.T) {
	p, set := line(t)
	history, pending := newLadder(p, set, []sampler.Observation{
		seen(1, 1, 1, 10), seen(2, 2, 1, 20), seen(3, 3, 1, 40), seen(4, 4, 1, 80),
		seen(5, 1, 3, 20), seen(6, 2, 3, 40), seen(7, 3, 3),
		seen(8, 1, 0, 60),
		{Number: 9, Point: space.Point{"a": int64(5)}, Fidelity: 1, Outcome: experiment.OutcomeLost},
	}, []sampler.Observation{{Number: 10, Point: space.Point{"a": int64(2)}}, {Number: 11, Point: space.Point{"a": int64(6)}, Fidelity: 1}}).fuse()
	want := map[int]float64{1: 60, 2: 120, 4: 480} // levels 1 to 3 double, 3 to full triples
	for _, o := range history {
		switch v, measured := want[o.Number]; {
		case measured && (len(o.Values) != 1 || o.Values[0] != v):
			t.Errorf("point %d counts %v, want %v", o.Number, o.Values, v)
		case !measured && len(o.Values) > 0:
			t.Errorf("point %d has values %v", o.Number, o.Values)
		case o.Number == 3 && o.Outcome != experiment.OutcomeOutOfMemory, o.Number == 9 && o.Outcome != experiment.OutcomeLost:
			t.Errorf("point %d ended as %s", o.Number, o.Outcome)
		}
	}
	if len(history) != 5 || len(pending) != 1 || pending[0]["a"] != int64(6) {
		t.Errorf("%d points, pending %v", len(history), pending)
	}
}

// Where values lie on both sides of zero, levels differ by an amount.
func TestLevelsAreFusedByDifference(t *testing.T) {
	p, set := line(t)
	history, _ := newLadder(p, set, []sampler.Observation{seen(1, 1, 1, -5), seen(2, 2, 1, 5), seen(3, 1, 0, -3)}, nil).fuse()
	if history[1].Values[0] != 7 {
		t.Errorf("it counts %v, want 7", history[1].Values[0])
	}
}

// One in eta goes on, the best of the highest level first, and what is on its
// way or failed is not sent twice.
func TestASHASendsTheBestUp(t *testing.T) {
	p, set := line(t)
	s := &Sampler{problem: *p, set: set}
	var history []sampler.Observation
	for i := range 9 {
		history = append(history, seen(i+1, int64(i+1), 1, float64(20-i)))
	}
	up, starts := s.halve(newLadder(p, set, history, nil), 5)
	if len(up) != 3 || up[0].Point["a"] != int64(9) || up[0].Fidelity != 3 || len(starts) != 2 {
		t.Fatalf("%v go up, %d start", up, len(starts))
	}
	history = append(history, seen(10, 9, 3), seen(11, 8, 3, 5), seen(12, 7, 3, 6))
	up, _ = s.halve(newLadder(p, set, history, nil), 5)
	if len(up) != 1 || up[0].Point["a"] != int64(8) || up[0].Fidelity != 0 {
		t.Errorf("%v go up, want 8 in full", up)
	}
	up, _ = s.halve(newLadder(p, set, history, []sampler.Observation{{Number: 13, Point: space.Point{"a": int64(8)}}}), 5)
	if len(up) != 0 {
		t.Errorf("%v go up twice", up)
	}
}

// What a lost worker was measuring is no evidence that lets others go on; what
// failed by itself is.
func TestOnlyEvidenceSendsOthersUp(t *testing.T) {
	p, set := line(t)
	s := &Sampler{problem: *p, set: set}
	for outcome, want := range map[experiment.Outcome]int{experiment.OutcomeLost: 0, experiment.OutcomeOutOfMemory: 1} {
		ended := sampler.Observation{Number: 3, Point: space.Point{"a": int64(3)}, Fidelity: 1, Outcome: outcome}
		up, _ := s.halve(newLadder(p, set, []sampler.Observation{seen(1, 1, 1, 10), seen(2, 2, 1, 20), ended}, nil), 5)
		if len(up) != want {
			t.Errorf("%s: %d go up, want %d", outcome, len(up), want)
		}
	}
}

// A bracket is halved when it is full and all of a level has ended, not before;
// the next one begins meanwhile. The baseline, measured in full at once, is in
// no bracket.
func TestBracketsWaitForTheirLevels(t *testing.T) {
	p, set := line(t)
	s := &Sampler{problem: *p, set: set}
	history := []sampler.Observation{seen(1, 99, 0, 1)}
	for i := range 8 {
		history = append(history, seen(i+2, int64(i+1), 1, float64(20-i)))
	}
	chosen := func(pending ...sampler.Observation) (up []int64, starts []int) {
		proposals, starts := s.brackets(newLadder(p, set, history, pending), 7)
		for _, u := range proposals {
			up = append(up, u.Point["a"].(int64))
		}
		return up, starts
	}
	expect := func(when string, up []int64, wantUp []int64, starts []int, wantStarts []int) {
		t.Helper()
		if !slices.Equal(up, wantUp) || !slices.Equal(starts, wantStarts) {
			t.Errorf("%s: %v go up and %v start, want %v and %v", when, up, starts, wantUp, wantStarts)
		}
	}
	last := sampler.Observation{Number: 10, Point: space.Point{"a": int64(9)}, Fidelity: 1}
	up, starts := chosen()
	expect("one is missing", up, nil, starts, []int{0, 1, 1, 1, 1, 1, 2})
	up, starts = chosen(last)
	expect("one is pending", up, nil, starts, []int{1, 1, 1, 1, 1, 2, 2})
	history = append(history, seen(10, 9, 1, 12))
	up, starts = chosen()
	expect("all have ended", up, []int64{9, 8, 7}, starts, []int{1, 1, 1, 1})
	history = append(history, seen(11, 9, 3, 5), seen(12, 8, 3, 6))
	up, _ = chosen(sampler.Observation{Number: 13, Point: space.Point{"a": int64(7)}, Fidelity: 3})
	expect("the second level is pending", up, nil, nil, nil)
	history = append(history, seen(13, 7, 3, 4))
	up, _ = chosen()
	expect("the second level has ended", up, []int64{7}, nil, nil)
}
