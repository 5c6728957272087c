package evolve

import (
	"context"
	"encoding/json"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/fleetune/fleetune/manager/search/sampler"
	"github.com/fleetune/fleetune/manager/search/valid"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

// wide is a problem of six integers with many values each.
func wide(options map[string]json.RawMessage) sampler.Problem {
	p := sampler.Problem{Options: options, Objectives: []task.Objective{{Metric: "loss", Direction: task.Minimize}}}
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		p.Space.Parameters = append(p.Space.Parameters, space.Parameter{Name: name, Type: space.Integer, Low: 0, High: 999})
	}
	return p
}

func TestTheBetterOfTwoHasChildren(t *testing.T) {
	parents := []parent{{valid.Vec{3}, 3}, {valid.Vec{0}, 0}, {valid.Vec{2}, 2}, {valid.Vec{1}, 1}}
	rng := rand.New(rand.NewPCG(1, 1))
	var won [4]int
	for range 4000 {
		won[int(tournament(parents, rng)[0])]++
	}
	// The best wins whenever it is drawn, 7 times of 16; the worst against itself only.
	for grade, want := range []float64{7.0 / 16, 5.0 / 16, 3.0 / 16, 1.0 / 16} {
		if got := float64(won[grade]) / 4000; math.Abs(got-want) > 0.04 {
			t.Errorf("grade %d has %.3f of the children, want %.3f", grade, got, want)
		}
	}
}

// changed counts how many parameters of a child are of neither parent, and how
// many are of the first one.
func changed(child, a, b valid.Vec) (neither, first int) {
	for i := range child {
		switch child[i] {
		case a[i]:
			first++
		case b[i]:
		default:
			neither++
		}
	}
	return neither, first
}

func TestChildrenMixTheirParents(t *testing.T) {
	for _, mutation := range []string{"0", "2"} {
		g, err := NewGenetic(wide(map[string]json.RawMessage{"mutation": json.RawMessage(mutation)}))
		if err != nil {
			t.Fatal(err)
		}
		a, b := valid.Vec{10, 10, 10, 10, 10, 10}, valid.Vec{800, 800, 800, 800, 800, 800}
		parents := []parent{{a, 0}, {b, 0}}
		picker := sampler.NewPicker(g.set, g.past, nil)
		rng := rand.New(rand.NewPCG(1, 1))
		const children = 500
		mixed, neither := 0, 0
		for range children {
			v, ok := g.child(parents, picker, rng)
			if !ok {
				t.Fatal("no child")
			}
			n, first := changed(v, a, b)
			neither += n
			if first > 0 && first+n < len(v) {
				mixed++
			}
		}
		if float64(mixed) < 0.3*children {
			t.Errorf("mutation %s: %d of %d children have something of both", mutation, mixed, children)
		}
		switch per := float64(neither) / children; {
		case mutation == "0" && neither != 0:
			t.Errorf("without mutation %d values are of neither parent", neither)
		case mutation == "2" && math.Abs(per-2) > 0.3:
			t.Errorf("%.2f values of a child are of neither parent, want about 2", per)
		}
	}
}

// Half of the mutations of a parameter with many values are short.
func TestMutationsAreShortAndLong(t *testing.T) {
	g, err := NewGenetic(wide(nil))
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	short, long := 0, 0
	for range 1000 {
		switch d := math.Abs(g.mutate(0, 500, rng) - 500); {
		case d <= 100:
			short++
		case d > 250:
			long++
		}
	}
	if short < 400 || long < 150 {
		t.Errorf("of 1000 mutations %d are short and %d long", short, long)
	}
}

// ridge is a history over wide: losses rise with the number.
func ridge(points ...space.Point) []sampler.Observation {
	var out []sampler.Observation
	for i, p := range points {
		out = append(out, sampler.Observation{Number: i + 1, Point: p, Values: []float64{float64(i)}, Outcome: experiment.OutcomeSuccess})
	}
	return out
}

// apart is the number of parameters in which two points differ.
func apart(a, b space.Point) (n int) {
	for name := range a {
		if a[name] != b[name] {
			n++
		}
	}
	return n
}

func TestLocalSearchStaysBesideTheBest(t *testing.T) {
	p := sampler.Problem{Objectives: []task.Objective{{Metric: "loss", Direction: task.Minimize}},
		Options: map[string]json.RawMessage{"startup": json.RawMessage("1"), "restart": json.RawMessage("0")}}
	for _, name := range []string{"a", "b"} {
		p.Space.Parameters = append(p.Space.Parameters, space.Parameter{Name: name, Type: space.Integer, Low: 0, High: 8})
	}
	best, second := space.Point{"a": int64(0), "b": int64(0)}, space.Point{"a": int64(8), "b": int64(8)}
	l, err := NewLocal(p)
	if err != nil {
		t.Fatal(err)
	}
	// All that lies beside the best comes first, then what lies beside the next.
	points, err := l.Propose(context.Background(), ridge(best, second), nil, 20)
	if err != nil {
		t.Fatal(err)
	}
	turned := slices.IndexFunc(points, func(q space.Point) bool { return apart(q, best) != 1 })
	if turned < 2 {
		t.Fatalf("point %d of %v is not beside %v", turned+1, points, best)
	}
	for _, q := range points[turned:] {
		if apart(q, second) != 1 && apart(q, best) != 1 {
			// Neighbours of both are taken: what is left is drawn.
			break
		}
		if apart(q, best) == 1 {
			t.Errorf("%v lies beside the best, and came after the points beside the next", q)
		}
	}
	if apart(points[turned], second) != 1 {
		t.Errorf("after all that lies beside the best comes %v, not what lies beside the next", points[turned])
	}

	p.Options["restart"] = json.RawMessage("1")
	if l, err = NewLocal(p); err != nil {
		t.Fatal(err)
	}
	restarted, err := l.Propose(context.Background(), ridge(best, second), nil, 20)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(slices.DeleteFunc(slices.Clone(restarted), func(q space.Point) bool { return apart(q, best) == 1 })); n < 10 {
		t.Errorf("of 20 restarts %d are elsewhere", n)
	}
	if slices.EqualFunc(points, restarted, maps.Equal[space.Point, space.Point]) {
		t.Error("restarts change nothing")
	}
}

// The front of NSGA-III is scaled by where its plane meets the axes, so that an
// objective in large units counts no more than the others.
func TestNichesDoNotDependOnUnits(t *testing.T) {
	choose := func(unit float64) []int {
		var trials []sampler.Trial
		for i := range 21 {
			x := float64(i) / 20
			trials = append(trials, sampler.Trial{Number: i + 1, Vec: valid.Vec{float64(i)}, Losses: []float64{x, unit * math.Pow(1-math.Sqrt(x), 2)}})
		}
		var out []int
		for _, p := range survivors(trials, 5, directions(2, 4)) {
			out = append(out, int(p.vec[0]))
		}
		slices.Sort(out)
		return out
	}
	one, thousand := choose(1), choose(1000)
	if !slices.Equal(one, thousand) {
		t.Errorf("survivors are %v, in other units %v", one, thousand)
	}
	if !slices.Contains(one, 0) || !slices.Contains(one, 20) {
		t.Errorf("the ends of the front are lost: %v", one)
	}
}

// Of the points along one direction the closest to it is kept first.
func TestTheClosestFillsANiche(t *testing.T) {
	var trials []sampler.Trial
	for i, l := range [][]float64{{0, 1}, {1, 0}, {0.62, 0.4}, {0.5, 0.5}, {0.4, 0.61}} {
		trials = append(trials, sampler.Trial{Number: i + 1, Vec: valid.Vec{float64(i)}, Losses: l})
	}
	var got []int
	for _, p := range survivors(trials, 3, directions(2, 2)) {
		got = append(got, int(p.vec[0]))
	}
	slices.Sort(got)
	if !slices.Equal(got, []int{0, 1, 3}) {
		t.Errorf("survivors are %v", got)
	}
}
