package evolve

import (
	"math"
	"slices"
	"testing"

	"github.com/fleetune/fleetune/manager/search/sampler"
	"github.com/fleetune/fleetune/manager/search/valid"
)

func TestDirectionsFillTheSimplex(t *testing.T) {
	for _, c := range []struct{ objectives, divisions, want int }{{2, 19, 20}, {3, 7, 36}, {4, 4, 35}, {3, 12, 91}, {5, 6, 210}} {
		got := directions(c.objectives, c.divisions)
		if len(got) != c.want {
			t.Errorf("%d objectives in %d parts: %d directions, want %d", c.objectives, c.divisions, len(got), c.want)
		}
		for _, w := range append(got, inner(got)...) {
			sum := 0.0
			for _, v := range w {
				sum += v
			}
			if math.Abs(sum-1) > 1e-9 {
				t.Errorf("%v adds up to %v", w, sum)
			}
		}
		if h := divisions(c.objectives, c.want); h != c.divisions {
			t.Errorf("%d directions of %d objectives are %d parts, want %d", c.want, c.objectives, h, c.divisions)
		}
	}
}

// TestNichesAreFilledInTurn has a front with a crowd at one end: every direction
// that has a point near it keeps one.
func TestNichesAreFilledInTurn(t *testing.T) {
	var trials []sampler.Trial
	add := func(x, y, violation float64) {
		trials = append(trials, sampler.Trial{Number: len(trials) + 1, Vec: valid.Vec{float64(len(trials))}, Losses: []float64{x, y}, Violation: violation})
	}
	for i := range 10 { // the crowd
		add(0.001*float64(i), 1-0.001*float64(i), 0)
	}
	add(0.5, 0.5, 0)
	add(1, 0, 0)
	add(2, 2, 0)    // dominated
	add(-1, -1, 1)  // best of all, but misses a constraint
	add(-1, -1, 10) // by more
	var got []int
	for _, p := range survivors(trials, 3, directions(2, 2)) {
		got = append(got, int(p.vec[0]))
	}
	slices.Sort(got)
	if !slices.Equal(got, []int{0, 10, 11}) {
		t.Errorf("survivors are %v", got)
	}
	all := survivors(trials, 15, directions(2, 2))
	if len(all) != 15 || all[12].vec[0] != 12 || all[13].vec[0] != 13 || all[14].vec[0] != 14 || all[13].grade <= all[12].grade {
		t.Errorf("all survivors are %v", all)
	}
}
