package valid_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/fleetune/fleetune/manager/search/valid"
	"github.com/fleetune/fleetune/proto/space"
)

// drawSpace draws small spaces with constraints and conditions.
func drawSpace(t *rapid.T) space.Space {
	var s space.Space
	n := rapid.IntRange(1, 5).Draw(t, "parameters")
	for i := range n {
		p := space.Parameter{Name: fmt.Sprintf("p%d", i)}
		switch rapid.IntRange(0, 2).Draw(t, "type") {
		case 0:
			p.Type = space.Choice
			for k := range rapid.IntRange(1, 4).Draw(t, "values") {
				p.Values = append(p.Values, int64(1)<<k)
			}
		case 1:
			p.Type, p.Low, p.High = space.Integer, 1, float64(rapid.IntRange(1, 5).Draw(t, "high"))
		default:
			p.Type = space.Boolean
		}
		if i > 0 && rapid.Bool().Draw(t, "condition") {
			j := rapid.IntRange(0, i-1).Draw(t, "on")
			if s.Parameters[j].Type == space.Boolean {
				p.When = fmt.Sprintf("p%d", j)
			} else {
				p.When = fmt.Sprintf("p%d > 1", j)
			}
		}
		s.Parameters = append(s.Parameters, p)
	}
	for range rapid.IntRange(0, 3).Draw(t, "constraints") {
		i, j := rapid.IntRange(0, n-1).Draw(t, "a"), rapid.IntRange(0, n-1).Draw(t, "b")
		if s.Parameters[i].Type == space.Boolean || s.Parameters[j].Type == space.Boolean {
			continue
		}
		op := rapid.SampledFrom([]string{"p%d * p%d <= 6", "p%d %% p%d == 0", "p%d != p%d", "p%d + p%d > 3"}).Draw(t, "op")
		s.Constraints = append(s.Constraints, fmt.Sprintf(op, i, j))
	}
	return s
}

// brute lists the valid points by trying every combination.
func brute(c *space.Compiled) []space.Point {
	var out []space.Point
	var walk func(i int, p space.Point, coords []float64)
	walk = func(i int, p space.Point, coords []float64) {
		if i == c.Len() {
			if c.Contains(p) == nil {
				q := space.Point{}
				for k, v := range p {
					q[k] = v
				}
				out = append(out, q)
			}
			return
		}
		if !c.Exists(i, coords) {
			coords[i] = space.Absent()
			walk(i+1, p, coords)
			return
		}
		name := c.Space().Parameters[i].Name
		for rank := 0.0; rank < c.Domain(i).Size(); rank++ {
			p[name], coords[i] = c.Domain(i).Value(rank), c.Coord(i, rank)
			walk(i+1, p, coords)
			delete(p, name)
		}
	}
	walk(0, space.Point{}, make([]float64, c.Len()))
	return out
}

func TestDiagramHoldsExactlyTheValidPoints(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSpace(t)
		c, err := space.Compile(s)
		if err != nil {
			t.Fatal(err)
		}
		set, want := valid.New(c), brute(c)
		if set.Len() != int64(len(want)) || set.Count().Valid != float64(len(want)) {
			t.Fatalf("%d points, want %d", set.Len(), len(want))
		}
		i := 0
		for v := range set.All(nil) {
			if got := set.Point(v); !got.Equal(want[i]) {
				t.Fatalf("point %d is %v, want %v", i, got, want[i])
			}
			if got := set.Point(set.At(int64(i))); !got.Equal(want[i]) {
				t.Fatalf("At(%d) is %v, want %v", i, got, want[i])
			}
			if k, ok := set.Index(v); !ok || k != int64(i) {
				t.Fatalf("Index of point %d is %d, %v", i, k, ok)
			}
			for w := range set.All(v) {
				if !set.Point(w).Equal(want[i]) {
					t.Fatalf("All from point %d starts at %v", i, set.Point(w))
				}
				break
			}
			i++
		}
		if i != len(want) {
			t.Fatalf("All gave %d points, want %d", i, len(want))
		}
		rng := rand.New(rand.NewPCG(1, 1))
		for range 20 {
			v, ok := set.Sample(rng)
			if ok != (len(want) > 0) {
				t.Fatalf("sample %v of %d points", ok, len(want))
			}
			if !ok {
				return
			}
			if err := c.Contains(set.Point(v)); err != nil {
				t.Fatal(err)
			}
			for _, w := range set.Neighbors(v, rng) {
				if err := c.Contains(set.Point(w)); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

func TestTableHoldsItsRows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSpace(t)
		c, err := space.Compile(s)
		if err != nil {
			t.Fatal(err)
		}
		var rows []space.Point
		for i, p := range brute(c) {
			if i%3 != 0 {
				rows = append(rows, p, p)
			}
		}
		set, err := valid.Table(c, rows)
		if err != nil {
			t.Fatal(err)
		}
		i := 0
		for v := range set.All(nil) {
			if !set.Point(v).Equal(rows[2*i]) {
				t.Fatalf("row %d is %v, want %v", i, set.Point(v), rows[2*i])
			}
			i++
		}
		if 2*i != len(rows) {
			t.Fatalf("%d rows, want %d", i, len(rows)/2)
		}
	})
}

// TestSamplesAreUniform bounds the chi-square statistic of draws over a space
// whose constraint makes the parameters depend on each other.
func TestSamplesAreUniform(t *testing.T) {
	for name, s := range map[string]space.Space{
		"diagram": {
			Parameters: []space.Parameter{
				{Name: "a", Type: space.Integer, Low: 1, High: 8},
				{Name: "b", Type: space.Integer, Low: 1, High: 8},
				{Name: "c", Type: space.Boolean, When: "a > 4"},
			},
			Constraints: []string{"a * b <= 12"},
		},
		"rejection": {
			Parameters: []space.Parameter{
				{Name: "a", Type: space.Integer, Low: 1, High: 5000},
				{Name: "b", Type: space.Integer, Low: 1, High: 8},
			},
			Constraints: []string{"a * b <= 12"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			set, err := valid.Of(s)
			if err != nil {
				t.Fatal(err)
			}
			points := 0
			for range set.All(nil) {
				points++
			}
			if set.Exact() != (name == "diagram") {
				t.Fatalf("exact is %v", set.Exact())
			}
			draws := 200 * points
			counts := map[string]int{}
			rng := rand.New(rand.NewPCG(3, 4))
			for range draws {
				v, ok := set.Sample(rng)
				if !ok {
					t.Fatal("no sample")
				}
				counts[s.Key(set.Point(v))]++
			}
			if len(counts) != points {
				t.Fatalf("%d of %d points drawn", len(counts), points)
			}
			chi, expected := 0.0, 200.0
			for _, k := range counts {
				chi += (float64(k) - expected) * (float64(k) - expected) / expected
			}
			// Mean df, deviation sqrt(2 df); five deviations.
			if df := float64(points - 1); chi > df+5*math.Sqrt(2*df) {
				t.Errorf("chi-square %.1f with %v degrees of freedom", chi, df)
			}
		})
	}
}

func TestLargeSpacesCount(t *testing.T) {
	var s space.Space
	for i := range 12 {
		s.Parameters = append(s.Parameters, space.Parameter{Name: fmt.Sprintf("p%d", i), Type: space.Integer, Low: 0, High: 9})
	}
	set, err := valid.Of(s)
	if err != nil {
		t.Fatal(err)
	}
	if got := set.Count(); got.Valid != 1e12 || !got.Exact {
		t.Errorf("count %+v, want 1e12 exactly", got)
	}
	for _, i := range []int64{0, 1, 999_999_999_999, 123_456_789_012} {
		if k, ok := set.Index(set.At(i)); !ok || k != i {
			t.Errorf("index %d came back as %d", i, k)
		}
	}
	s.Constraints = []string{"p0 + p6 == 9", "p11 != p1", "p3 * p4 <= 20 or p5 == 0"}
	if set, err = valid.Of(s); err != nil {
		t.Fatal(err)
	}
	// 10 pairs, 90 pairs, 52 pairs of 0…9 have a product of at most 20.
	low := 0
	for a := range 10 {
		for b := range 10 {
			if a*b <= 20 {
				low++
			}
		}
	}
	want := 10.0 * 90 * float64(low*10+(100-low)) * 1e5
	if got := set.Count(); got.Valid != want || !got.Exact {
		t.Errorf("count %+v, want %v exactly", got, want)
	}
}

func TestTooLargeForADiagramSaysSo(t *testing.T) {
	var s space.Space
	sum := "0"
	for i := range 8 {
		s.Parameters = append(s.Parameters, space.Parameter{Name: fmt.Sprintf("p%d", i), Type: space.Integer, Low: 1, High: 40})
		sum += fmt.Sprintf(" + p%d ** 1.5", i)
	}
	s.Constraints = []string{sum + " <= 800", "p0 <= 20"}
	set, err := valid.Of(s)
	if err != nil {
		t.Fatal(err)
	}
	c := set.Count()
	if c.Exact || set.Exact() {
		t.Fatalf("count %+v says it is exact", c)
	}
	if share := c.Valid / c.Total; share < 0.05 || share > 0.5 {
		t.Errorf("the constraints leave %v", share)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		v, ok := set.Sample(rng)
		if !ok || !set.Contains(v) {
			t.Fatalf("sample %v, %v", v, ok)
		}
	}
}

func TestContinuousParametersAreSampled(t *testing.T) {
	set, err := valid.Of(space.Space{
		Parameters: []space.Parameter{
			{Name: "x", Type: space.Continuous, Low: 0.001, High: 1, Log: true},
			{Name: "n", Type: space.Integer, Low: 1, High: 4},
			{Name: "y", Type: space.Continuous, Low: 0, High: 1, When: "x < 0.1"},
		},
		Constraints: []string{"x * n < 0.5", "n > 1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if c := set.Count(); !math.IsInf(c.Valid, 1) {
		t.Errorf("count %+v", c)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	low, absent := 0, 0
	for range 2000 {
		v, ok := set.Sample(rng)
		if !ok {
			t.Fatal("no sample")
		}
		if err := set.Space().Contains(set.Point(v)); err != nil {
			t.Fatal(err)
		}
		if v[0] < 0.0316 {
			low++
		}
		if space.IsAbsent(v[2]) {
			absent++
		}
	}
	if low < 900 || absent == 0 || absent > 900 {
		t.Errorf("%d of 2000 in the lower half of the logarithm, %d without y", low, absent)
	}
}

func TestNoPointAndOnePoint(t *testing.T) {
	for text, want := range map[string]int64{"1 > 2": 0, "a > 5": 0, "a == 3": 1} {
		set, err := valid.Of(space.Space{Parameters: []space.Parameter{{Name: "a", Type: space.Integer, Low: 1, High: 4}}, Constraints: []string{text}})
		if err != nil {
			t.Fatal(err)
		}
		if set.Len() != want {
			t.Errorf("%s leaves %d points, want %d", text, set.Len(), want)
		}
	}
	set, err := valid.Of(space.Space{})
	if err != nil {
		t.Fatal(err)
	}
	if set.Len() != 1 || len(set.At(0)) != 0 {
		t.Errorf("the space without parameters has %d points", set.Len())
	}
}

func TestPlaceIsTheInverseOfUnit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		low := float64(rapid.IntRange(1, 50).Draw(t, "low"))
		p := space.Parameter{Name: "a", Type: rapid.SampledFrom([]space.Type{space.Integer, space.Continuous}).Draw(t, "type"),
			Low: low, High: low + float64(rapid.IntRange(1, 500).Draw(t, "width"))}
		p.Log = rapid.Bool().Draw(t, "log")
		set, err := valid.Of(space.Space{Parameters: []space.Parameter{p}})
		if err != nil {
			t.Fatal(err)
		}
		c := set.Draw(0, rand.New(rand.NewPCG(1, rapid.Uint64().Draw(t, "draw"))))
		u := set.Unit(0, c)
		if back := set.Place(0, u); u < 0 || u > 1 || math.Abs(back-c) > 1e-9*p.High {
			t.Fatalf("%v lies at %v, where %v is", c, u, back)
		}
	})
}

// A count that is an estimate says from how many draws, and none that met the
// constraints is no proof that there is none.
func TestCountsTellWhatTheyRestOn(t *testing.T) {
	wide := func(constraint string) space.Space {
		return space.Space{Parameters: []space.Parameter{
			{Name: "a", Type: space.Integer, Low: 1, High: 1_000_000}, {Name: "b", Type: space.Integer, Low: 1, High: 1_000_000}},
			Constraints: []string{constraint}}
	}
	continuous := space.Space{Parameters: []space.Parameter{{Name: "x", Type: space.Continuous, Low: 0, High: 1}}, Constraints: []string{"x > 2"}}
	for _, c := range []struct {
		space space.Space
		want  func(valid.Count) bool
	}{
		{wide("a < b"), func(c valid.Count) bool {
			return !c.Exact && c.Draws > 0 && math.Abs(c.Share-0.5) < 0.02 && c.Valid == c.Total*c.Share
		}},
		{wide("a + b == 2"), func(c valid.Count) bool { return !c.Exact && c.Share == 0 && c.Valid == 0 }},
		{wide("a > 0"), func(c valid.Count) bool { return !c.Exact && c.Share == 1 }},
		{continuous, func(c valid.Count) bool { return !c.Exact && c.Share == 0 && math.IsInf(c.Valid, 1) }},
		{space.Space{Parameters: []space.Parameter{{Name: "a", Type: space.Integer, Low: 1, High: 8}}, Constraints: []string{"a > 9"}},
			func(c valid.Count) bool { return c.Exact && c.Valid == 0 && c.Draws == 0 }},
	} {
		set, err := valid.Of(c.space)
		if err != nil {
			t.Fatal(err)
		}
		if got := set.Count(); !c.want(got) {
			t.Errorf("%v: %+v", c.space.Constraints, got)
		}
	}
}
