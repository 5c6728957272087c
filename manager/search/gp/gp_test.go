package gp

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/diff/fd"
	"gonum.org/v1/gonum/floats/scalar"
	"gonum.org/v1/gonum/mat"
)

// sample draws rows over an ordered, an unordered and a conditional dimension.
func sample(rng *rand.Rand, n int) ([]dimension, [][]float64, []float64) {
	dims := []dimension{{ordered: true}, {ordered: false}, {ordered: true}}
	rows, y := make([][]float64, n), make([]float64, n)
	for i := range rows {
		rows[i] = []float64{float64(rng.IntN(8)) / 7, float64(rng.IntN(3)), float64(rng.IntN(5)) / 4}
		if rows[i][1] == 0 {
			rows[i][2] = absent
		}
		y[i] = math.Sin(4*rows[i][0]) + rows[i][1]/2 + 0.1*rng.NormFloat64()
	}
	return dims, rows, standardize(y)
}

func TestPosteriorMatchesTheFormula(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	dims, rows, y := sample(rng, 30)
	_, candidates, _ := sample(rng, 10)
	p := params{weights: []float64{3, 0.7, 1.5}, scale: 1.3, noise: 0.01}
	columns := make([][]float64, 3)
	for k := range columns {
		for _, c := range candidates {
			columns[k] = append(columns[k], c[k])
		}
	}
	post := newPosterior(dims, p, columns, len(candidates))
	for _, x := range rows {
		post.add(x)
	}
	means := make([]float64, len(candidates))
	post.means(post.whiten(y), means)

	k := mat.NewSymDense(len(rows), nil)
	for i := range rows {
		for j := range i + 1 {
			k.SetSym(i, j, p.covariance(dims, rows[i], rows[j]))
		}
		k.SetSym(i, i, p.scale+p.noise)
	}
	var inverse mat.Dense
	if err := inverse.Inverse(k); err != nil {
		t.Fatal(err)
	}
	for c, x := range candidates {
		cross := mat.NewVecDense(len(rows), nil)
		for i := range rows {
			cross.SetVec(i, p.covariance(dims, x, rows[i]))
		}
		var weights mat.VecDense
		weights.MulVec(&inverse, cross)
		mean, variance := mat.Dot(&weights, mat.NewVecDense(len(y), y)), p.scale-mat.Dot(&weights, cross)
		if !scalar.EqualWithinAbs(mean, means[c], 1e-8) || !scalar.EqualWithinAbs(variance, post.variance(c), 1e-8) {
			t.Errorf("candidate %d: mean %v, variance %v; want %v, %v", c, means[c], post.variance(c), mean, variance)
		}
	}
}

func TestTruncatingLeavesWhatWasThere(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	dims, rows, _ := sample(rng, 20)
	p := params{weights: []float64{3, 0.7, 1.5}, scale: 1.3, noise: 0.01}
	columns := [][]float64{{0, 0.5}, {1, 2}, {0.25, 1}}
	a, b := newPosterior(dims, p, columns, 2), newPosterior(dims, p, columns, 2)
	for i, x := range rows {
		a.add(x)
		if i < 12 {
			b.add(x)
		}
	}
	a.truncate(12)
	for i := range 2 {
		if a.variance(i) != b.variance(i) {
			t.Errorf("variance %v after truncating, %v without", a.variance(i), b.variance(i))
		}
	}
}

func TestSlopeOfTheLikelihood(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	dims, rows, y := sample(rng, 25)
	f := newFitter(dims, rows, y)
	for range 5 {
		theta := f.start(0)
		for k := range theta {
			theta[k] += 0.5 * rng.NormFloat64()
		}
		slope := make([]float64, len(theta))
		f.gradient(slope, theta)
		want := fd.Gradient(nil, f.value, theta, &fd.Settings{Formula: fd.Central})
		for k := range theta {
			if !scalar.EqualWithinAbsOrRel(slope[k], want[k], 1e-4, 1e-4) {
				t.Errorf("slope %d is %v, want %v", k, slope[k], want[k])
			}
		}
	}
}

func TestLogImprovement(t *testing.T) {
	for z := -4.0; z < 6; z += 0.25 {
		// The plain formula is exact enough here.
		want := math.Log(math.Exp(-z*z/2)/math.Sqrt(2*math.Pi) + z*0.5*math.Erfc(-z/math.Sqrt2))
		if got := logH(z); !scalar.EqualWithinAbs(got, want, 1e-6) {
			t.Errorf("log h(%v) is %v, want %v", z, got, want)
		}
	}
	last := math.Inf(-1)
	for z := -200.0; z < 10; z += 0.05 {
		got := logH(z)
		if math.IsNaN(got) || got < last {
			t.Fatalf("log h(%v) is %v after %v", z, got, last)
		}
		last = got
	}
	for x := 0.5; x < 8; x += 0.5 {
		want := math.Exp(x*x) * math.Erfc(x)
		if got := scaledErfc(x); !scalar.EqualWithinRel(got, want, 1e-9) {
			t.Errorf("scaled erfc(%v) is %v, want %v", x, got, want)
		}
	}
}

func TestCheckpointsGrowByParts(t *testing.T) {
	for n := 1; n < 3000; n++ {
		c := checkpoint(n)
		if c > n || n-c > recentStep || float64(n-c) > max(1, float64(n)/6) {
			t.Fatalf("checkpoint of %d is %d", n, c)
		}
	}
}
