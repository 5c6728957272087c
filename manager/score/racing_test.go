package score_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/fleetune/fleetune/manager/score"
	"github.com/fleetune/fleetune/proto/task"
	"pgregory.net/rapid"
)

func TestSurelyWorse(t *testing.T) {
	rival := score.Estimate{Median: 10, Spread: 0.4, Count: 10}
	for name, c := range map[string]struct {
		direction task.Direction
		samples   []float64
		worse     bool
	}{
		"twice as slow":                 {task.Minimize, []float64{20, 20.3, 19.8}, true},
		"half the rate":                 {task.Maximize, []float64{5, 5.1, 4.9}, true},
		"better":                        {task.Minimize, []float64{5, 5.1, 4.9}, false},
		"equal":                         {task.Minimize, []float64{10, 10, 10}, false},
		"too few":                       {task.Minimize, []float64{20, 20}, false},
		"a slow first sample":           {task.Minimize, []float64{40, 9.8, 9.9, 10.1}, false},
		"two slow samples of four":      {task.Minimize, []float64{40, 42, 9.9, 10.1}, false},
		"equal samples, a little worse": {task.Minimize, []float64{10.1, 10.1, 10.1}, false},
		"equal samples, much worse":     {task.Minimize, []float64{12, 12, 12}, true},
		"not a number":                  {task.Minimize, []float64{math.NaN(), 20, 20, 20}, false},
		"endless":                       {task.Minimize, []float64{math.Inf(1), 20, 20, 20}, false},
		"zero":                          {task.Minimize, []float64{0, 0, 0}, false},
		"nothing":                       {task.Minimize, nil, false},
	} {
		if got := score.SurelyWorse(c.direction, c.samples, rival, 3, 0.99); got != c.worse {
			t.Errorf("%s: %v", name, got)
		}
	}
	if score.SurelyWorse(task.Minimize, []float64{20, 20, 20}, score.Estimate{Median: math.NaN()}, 3, 0.99) {
		t.Error("a rival without a score")
	}
}

// Looking after every sample errs no more often than it promises: what is as
// good as the rival is given up in less than one of a hundred races, and with
// it what is better.
func TestLookingOftenIsAllowed(t *testing.T) {
	const races = 4000
	source := rand.New(rand.NewPCG(1, 2))
	given := 0
	for range races {
		var samples, rivals []float64
		for range 20 {
			rivals = append(rivals, 10+source.NormFloat64())
		}
		rival := score.Estimate{Median: score.Median(rivals), Spread: 1.349, Count: len(rivals)}
		for range 50 {
			samples = append(samples, 10+source.NormFloat64())
			if score.SurelyWorse(task.Minimize, samples, rival, 3, 0.99) {
				given++
				break
			}
		}
	}
	if share := float64(given) / races; share > 0.01 {
		t.Errorf("%.4f of equals were given up", share)
	}
}

// Turning every sign turns the direction, and a better experiment is never
// given up.
func TestSurelyWorseIsConsistent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		samples := rapid.SliceOfN(rapid.Float64Range(-100, 100), 0, 30).Draw(t, "samples")
		rival := score.Estimate{Median: rapid.Float64Range(-100, 100).Draw(t, "median"),
			Spread: rapid.Float64Range(0, 50).Draw(t, "spread"), Count: rapid.IntRange(1, 30).Draw(t, "count")}
		worse := score.SurelyWorse(task.Minimize, samples, rival, 3, 0.95)
		turned := make([]float64, len(samples))
		for i, v := range samples {
			turned[i] = -v
		}
		mirror := rival
		mirror.Median = -rival.Median
		if score.SurelyWorse(task.Maximize, turned, mirror, 3, 0.95) != worse {
			t.Fatal("the mirror disagrees")
		}
		if worse && score.Median(samples) <= rival.Median {
			t.Fatal("it was no worse")
		}
	})
}
