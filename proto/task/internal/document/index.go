package document

import (
	"cmp"
	"slices"
	"strings"
)

// An Index finds the place of a path.
type Index struct{ places map[string][2]int }

// NewIndex walks a document.
func NewIndex(root *Node) *Index {
	x := &Index{places: map[string][2]int{}}
	if root != nil {
		x.add(root, "", root.Line, root.Column)
	}
	return x
}

// add enters a value: a scalar where it stands, anything else at its key, which
// is what a reader looks for.
func (x *Index) add(n *Node, path string, line, column int) {
	if n.Scalar() {
		line, column = n.Line, n.Column
	}
	if _, ok := x.places[path]; !ok {
		x.places[path] = [2]int{line, column}
	}
	for i, item := range n.Items {
		x.add(item, Item(path, i), item.Line, item.Column)
	}
	for _, e := range n.Entries {
		x.add(e.Value, Join(path, e.Key), e.Line, e.Column)
	}
}

// Alias makes a second path lead to where the first one does.
func (x *Index) Alias(path, to string) {
	if place, ok := x.places[to]; ok {
		x.places[path] = place
	}
}

// Place returns where a path stands: itself, else the nearest thing above it
// that does.
func (x *Index) Place(path string) (line, column int) {
	for {
		if place, ok := x.places[path]; ok {
			return place[0], place[1]
		}
		if path == "" {
			return 1, 1
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
}

// Locate fills in the places of problems that name a field only, and sorts all
// by place.
func (x *Index) Locate(problems []Problem) {
	for i := range problems {
		if problems[i].Line == 0 {
			problems[i].Line, problems[i].Column = x.Place(problems[i].Field)
		}
	}
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

// Has says whether a path stands in the document.
func (x *Index) Has(path string) bool {
	_, ok := x.places[path]
	return ok
}
