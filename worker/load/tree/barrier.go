package tree

import (
	"cmp"
	"slices"
	"time"
)

// A Point is one turn of one stream.
type Point struct{ Stream, Turn int }

// Barriers lists, for each turn of each stream, the turns of other streams
// that it waits for.
type Barriers [][][]Point

// Barriers works out in which order the requests of a timed tree must be kept
// beyond what turns, spawns and joins keep already: a request waits, for each
// other stream, for that stream's latest request whose recorded interval had
// ended when it was sent. What other waits imply is left out, and so is what
// the tree's own order contradicts. It is nil without recorded ends.
func (t *Tree) Barriers() Barriers {
	if !t.Timed || slices.ContainsFunc(t.Streams, func(s Stream) bool { return s.Ends == nil }) {
		return nil
	}
	o := order{tree: t, before: map[moment][]moment{}}
	o.own()
	out := make(Barriers, len(t.Streams))
	for i := range t.Streams {
		out[i] = make([][]Point, len(t.Streams[i].Starts))
	}
	for _, p := range t.byStart() {
		for _, w := range t.waits(p) {
			there, here := moment{w, true}, moment{p, false}
			if o.reaches(there, here) || o.reaches(here, there) {
				continue
			}
			o.after(here, there)
			out[p.Stream][p.Turn] = append(out[p.Stream][p.Turn], w)
		}
	}
	return out
}

// byStart lists all turns by their recorded start.
func (t *Tree) byStart() []Point {
	var all []Point
	for i := range t.Streams {
		for k := range t.Streams[i].Starts {
			all = append(all, Point{i, k})
		}
	}
	slices.SortStableFunc(all, func(a, b Point) int { return cmp.Compare(t.start(a), t.start(b)) })
	return all
}

func (t *Tree) start(p Point) time.Duration { return t.Streams[p.Stream].Starts[p.Turn] }
func (t *Tree) end(p Point) time.Duration   { return t.Streams[p.Stream].Ends[p.Turn] }

// waits lists each other stream's latest turn that had ended, the latest end
// first. Turns of equal starts are in no order.
func (t *Tree) waits(p Point) []Point {
	var out []Point
	for i := range t.Streams {
		if i == p.Stream {
			continue
		}
		last := Point{i, -1}
		for k := range t.Streams[i].Starts {
			if w := (Point{i, k}); t.end(w) <= t.start(p) && t.start(w) != t.start(p) {
				last = w
			}
		}
		if last.Turn >= 0 {
			out = append(out, last)
		}
	}
	slices.SortStableFunc(out, func(a, b Point) int { return cmp.Compare(t.end(b), t.end(a)) })
	return out
}

// A moment is a turn's send or its return.
type moment struct {
	Point
	back bool
}

// order is which moments come before which.
type order struct {
	tree   *Tree
	before map[moment][]moment // what each comes right after
}

func (o *order) after(a, b moment) { o.before[a] = append(o.before[a], b) }

// own takes in the order of turns, spawns and joins.
func (o *order) own() {
	for i := range o.tree.Streams {
		for k := range o.tree.Streams[i].Starts {
			o.after(returned(i, k), sent(i, k))
			if k > 0 {
				o.after(sent(i, k), returned(i, k-1))
			}
		}
	}
	for i := range o.tree.Branches {
		b := &o.tree.Branches[i]
		for _, c := range b.Children {
			switch {
			case b.FromSend:
				o.after(sent(c, 0), sent(b.Parent, b.Spawn))
			case b.Spawn >= 0:
				o.after(sent(c, 0), returned(b.Parent, b.Spawn))
			}
			if b.Join != NoJoin {
				o.after(sent(b.Parent, b.Join), returned(c, len(o.tree.Streams[c].Starts)-1))
			}
		}
	}
}

func sent(stream, turn int) moment     { return moment{Point{stream, turn}, false} }
func returned(stream, turn int) moment { return moment{Point{stream, turn}, true} }

// reaches says that a comes before b.
func (o *order) reaches(a, b moment) bool {
	seen := map[moment]bool{b: true}
	for todo := []moment{b}; len(todo) > 0; {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, m := range o.before[at] {
			if m == a {
				return true
			}
			if !seen[m] {
				seen[m] = true
				todo = append(todo, m)
			}
		}
	}
	return false
}
