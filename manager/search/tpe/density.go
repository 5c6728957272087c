package tpe

import (
	"math"
	"math/rand/v2"

	"github.com/fleetune/fleetune/manager/search/valid"
	"github.com/fleetune/fleetune/proto/space"
)

// axis is one parameter as the densities see it.
type axis struct {
	size    float64 // +Inf when continuous
	ordered bool
	low     float64 // range of the position; a continuous one may be a logarithm
	high    float64
	log     bool
}

func axes(set *valid.Set) []axis {
	c := set.Space()
	out := make([]axis, c.Len())
	for i := range out {
		d := c.Domain(i)
		p := c.Space().Parameters[i]
		a := axis{size: d.Size(), ordered: d.Ordinal() && d.Size() > 2}
		a.high = a.size - 1
		if math.IsInf(a.size, 1) {
			a.ordered, a.low, a.high, a.log = true, p.Low, p.High, p.Log
			if a.log {
				a.low, a.high = math.Log(p.Low), math.Log(p.High)
			}
		}
		out[i] = a
	}
	return out
}

// position is where a coordinate lies on its axis.
func (a *axis) position(coord float64) float64 {
	if a.log {
		return math.Log(coord)
	}
	return coord
}

// density is a mixture of product kernels, one for each point, and a uniform
// one: the multivariate Parzen estimator of Falkner, Klein and Hutter (BOHB,
// 2018). Ordered parameters have Gaussian kernels over their ranks, cut off at
// the range; the others keep their value with a high probability.
type density struct {
	axes   []axis
	points []valid.Vec
	width  []float64     // of the Gaussian on each ordered axis
	stay   []float64     // probability to keep the value of any other axis
	tables [][][]float64 // by axis, centre and value: log probability
}

// sharpness is the width of a kernel for one point, in parts of the range.
const sharpness = 0.2

// widest is the number of values up to which kernels are tabulated.
const widest = 64

func newDensity(axes []axis, points []valid.Vec) *density {
	d := &density{axes: axes, points: points, width: make([]float64, len(axes)), stay: make([]float64, len(axes)), tables: make([][][]float64, len(axes))}
	n := float64(len(points) + 1)
	// Scott's rule for the number of points and dimensions.
	shrink := math.Pow(n, -1/float64(len(axes)+4))
	for i := range axes {
		a := &axes[i]
		if a.ordered {
			d.width[i] = max(sharpness*shrink*(a.high-a.low), 0.35*boolTo(!math.IsInf(a.size, 1)), 1e-3*(a.high-a.low))
		} else {
			d.stay[i] = 1 - min(0.9, 2*sharpness*shrink)*(a.size-1)/max(a.size, 1)
		}
		if a.size <= widest {
			d.tables[i] = d.table(i)
		}
	}
	return d
}

func boolTo(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (d *density) table(i int) [][]float64 {
	n := int(d.axes[i].size)
	table := make([][]float64, n)
	for centre := range table {
		table[centre] = make([]float64, n)
		total := 0.0
		for v := range n {
			table[centre][v] = d.weight(i, float64(centre), float64(v))
			total += table[centre][v]
		}
		for v := range n {
			table[centre][v] = math.Log(table[centre][v] / total)
		}
	}
	return table
}

func (d *density) weight(i int, centre, v float64) float64 {
	if !d.axes[i].ordered {
		if centre == v {
			return d.stay[i]
		}
		return (1 - d.stay[i]) / max(d.axes[i].size-1, 1)
	}
	z := (v - centre) / d.width[i]
	return max(math.Exp(-z*z/2), 1e-12)
}

// log is the logarithm of the density at a point, up to a factor that all
// densities over the same axes share.
func (d *density) log(v valid.Vec, scratch []float64) float64 {
	scratch = scratch[:0]
	most := math.Inf(-1)
	for k := -1; k < len(d.points); k++ {
		sum := 0.0
		for i := range d.axes {
			centre := space.Absent()
			if k >= 0 {
				centre = d.points[k][i]
			}
			sum += d.kernel(i, centre, v[i])
		}
		scratch = append(scratch, sum)
		most = max(most, sum)
	}
	total := 0.0
	for _, s := range scratch {
		total += math.Exp(s - most)
	}
	return most + math.Log(total/float64(len(d.points)+1))
}

// kernel is the log probability of a coordinate under one component; a
// component without the parameter knows nothing of it and is uniform.
func (d *density) kernel(i int, centre, v float64) float64 {
	a := &d.axes[i]
	switch {
	case space.IsAbsent(v):
		return 0
	case a.size == 1:
		return 0
	case space.IsAbsent(centre):
		if math.IsInf(a.size, 1) {
			return -math.Log(a.high - a.low)
		}
		return -math.Log(a.size)
	case d.tables[i] != nil:
		return d.tables[i][int(centre)][int(v)]
	}
	if !a.ordered {
		return math.Log(d.weight(i, centre, v))
	}
	w, c, x := d.width[i], a.position(centre), a.position(v)
	z := (x - c) / w
	mass := 0.5 * (math.Erf((a.high-c)/(w*math.Sqrt2)) - math.Erf((a.low-c)/(w*math.Sqrt2)))
	return max(-z*z/2-math.Log(w*math.Sqrt(2*math.Pi)*max(mass, 1e-12)), -60)
}

// draw samples a point of the density; its conditions and constraints are not
// yet repaired and checked.
func (d *density) draw(rng *rand.Rand) valid.Vec {
	v := make(valid.Vec, len(d.axes))
	k := rng.IntN(len(d.points))
	for i := range d.axes {
		v[i] = d.move(i, d.points[k][i], rng)
	}
	return v
}

func (d *density) move(i int, centre float64, rng *rand.Rand) float64 {
	a := &d.axes[i]
	if space.IsAbsent(centre) {
		return centre
	}
	if !a.ordered {
		if rng.Float64() < d.stay[i] || a.size < 2 {
			return centre
		}
		other := float64(rng.IntN(int(a.size) - 1))
		if other >= centre {
			other++
		}
		return other
	}
	for range 20 {
		x := a.position(centre) + d.width[i]*rng.NormFloat64()
		if !math.IsInf(a.size, 1) {
			x = math.Round(x)
		}
		if x >= a.low && x <= a.high {
			if a.log {
				x = math.Exp(x)
			}
			return x
		}
	}
	return centre
}
