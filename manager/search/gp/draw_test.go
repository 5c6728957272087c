package gp

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/stat"

	"github.com/fleetune/fleetune/manager/search/valid"
	"github.com/fleetune/fleetune/proto/space"
)

// TestDrawsComeFromThePosterior compares the mean and deviation of draws with
// those of draws of the prior that are weighted by their likelihood.
func TestDrawsComeFromThePosterior(t *testing.T) {
	dims, rows, y := sample(rand.New(rand.NewPCG(1, 1)), 12)
	f := newFitter(dims, rows, y)
	rng := rand.New(rand.NewPCG(2, 2))
	const n = 20_000
	mean, spread := f.start(0), f.spreads()
	prior, weights := make([][]float64, len(mean)), make([]float64, n)
	for i := range n {
		theta := make([]float64, len(mean))
		for k := range theta {
			theta[k] = mean[k] + spread[k]*rng.NormFloat64()
			prior[k] = append(prior[k], theta[k])
		}
		weights[i] = math.Exp(f.likelihood(theta))
	}
	drawn := make([][]float64, len(mean))
	for _, theta := range f.draw(f.start(0), n/4, 4, rng) {
		for k, x := range theta {
			drawn[k] = append(drawn[k], x)
		}
	}
	for k := range mean {
		want, deviation := stat.MeanStdDev(prior[k], weights)
		got, spread := stat.MeanStdDev(drawn[k], nil)
		if math.Abs(got-want) > 0.1*deviation || math.Abs(spread-deviation) > 0.1*deviation {
			t.Errorf("parameter %d: drawn %.3f ± %.3f, want %.3f ± %.3f", k, got, spread, want, deviation)
		}
	}
}

func TestFewValuesAreReadInSeveralWays(t *testing.T) {
	dims, rows, y := sample(rand.New(rand.NewPCG(3, 3)), 60)
	m := model{dims: dims, most: valuePoints, others: otherReadings}
	d := data{rows: rows, y: y}
	for i := range rows {
		d.keys = append(d.keys, valid.Key{uint64(i)})
	}
	few := d
	few.keys, few.rows, few.y = d.keys[:12], d.rows[:12], d.y[:12]
	m.train(few)
	if got := m.readings(10); len(got) != 1+otherReadings || got[1].params.scale == got[0].params.scale {
		t.Errorf("%d readings of 12 values", len(got))
	}
	if got := m.readings(2); len(got) != 2 {
		t.Errorf("%d readings where 2 are wanted", len(got))
	}
	if got := m.readings(0); len(got) != 1 {
		t.Errorf("%d readings at least", len(got))
	}
	m.train(d)
	if got := m.readings(10); len(got) != 1 {
		t.Errorf("%d readings of 60 values", len(got))
	}
}

func TestConstraintsMakeFeatures(t *testing.T) {
	s := space.Space{
		Parameters: []space.Parameter{
			{Name: "x", Type: space.Choice, Values: []any{int64(1), int64(2), int64(4), int64(8)}},
			{Name: "y", Type: space.Choice, Values: []any{int64(1), int64(2), int64(4), int64(8)}},
			{Name: "deep", Type: space.Boolean},
			{Name: "z", Type: space.Integer, Low: 1, High: 4, When: "deep"},
		},
		Constraints: []string{"2 <= x * y <= 32", "64 % (x * y) == 0", "x - y + (y - x) == 0", "x * z < 100"},
	}
	set, err := valid.Of(s)
	if err != nil {
		t.Fatal(err)
	}
	found := derived(set)
	if len(found) != 2 || found[0].quantity.Source() != "x * y" || found[1].quantity.Source() != "x * z" {
		t.Fatalf("%d features", len(found))
	}
	e := newEncoder(set)
	for point, want := range map[*[4]any][2]float64{
		{int64(1), int64(2), false, nil}:     {0, absent},
		{int64(8), int64(4), true, int64(1)}: {1, 3.0 / 5},
		{int64(2), int64(4), true, int64(4)}: {0.5, 3.0 / 5},
	} {
		p := space.Point{"x": point[0], "y": point[1], "deep": point[2]}
		if point[3] != nil {
			p["z"] = point[3]
		}
		v, err := set.Vec(p)
		if err != nil {
			t.Fatal(err)
		}
		row := e.row(v)
		var got []float64
		for k, d := range e.dims {
			if d.quantity != nil {
				got = append(got, row[k])
			}
		}
		if math.Abs(got[0]-want[0]) > 1e-9 || math.Abs(got[1]-want[1]) > 1e-9 {
			t.Errorf("%v has the features %v, want %v", p, got, want)
		}
	}
}
