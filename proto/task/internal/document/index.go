package document

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// An Index finds the place of a path. It walks the document each time: a table
// of all paths could be far larger than the document.
type Index struct {
	root    *Node
	aliases map[string]string
}

// NewIndex finds places in a document.
func NewIndex(root *Node) *Index { return &Index{root: root, aliases: map[string]string{}} }

// Alias makes a second path lead to where the first one does.
func (x *Index) Alias(path, to string) { x.aliases[path] = to }

// Written is the path as it stands in the document, where it is known by
// another.
func (x *Index) Written(path string) string {
	if to, ok := x.aliases[path]; ok {
		return to
	}
	return path
}

// Has says whether a path stands in the document.
func (x *Index) Has(path string) bool {
	_, _, rest := x.walk(path)
	return rest == ""
}

// Place returns where a path stands: itself, else the nearest thing above it
// that does. A scalar is where it stands, anything else at its key, which is
// what a reader looks for.
func (x *Index) Place(path string) (line, column int) {
	line, column, _ = x.walk(x.Written(path))
	return line, column
}

// walk follows a path as far as it goes and returns what is left of it.
func (x *Index) walk(path string) (line, column int, rest string) {
	n := x.root
	if n == nil {
		return 1, 1, path
	}
	line, column = n.Line, n.Column
	for path != "" {
		next, after, ok := n.child(strings.TrimPrefix(path, "."))
		if !ok {
			return line, column, path
		}
		n, path, line, column = next.Value, after, next.Line, next.Column
		if n.Scalar() {
			line, column = n.Line, n.Column
		}
	}
	return line, column, ""
}

// child finds the item or the entry that a path starts with. Keys may hold
// dots, so the longest one that fits is meant.
func (n *Node) child(path string) (found Entry, rest string, ok bool) {
	if after, isItem := strings.CutPrefix(path, "["); isItem && n.Kind == List {
		digits, after, _ := strings.Cut(after, "]")
		i, err := strconv.Atoi(digits)
		if err != nil || i < 0 || i >= len(n.Items) {
			return Entry{}, "", false
		}
		item := n.Items[i]
		return Entry{Line: item.Line, Column: item.Column, Value: item}, after, true
	}
	for _, e := range n.Entries {
		after, fits := strings.CutPrefix(path, e.Key)
		if fits && (after == "" || after[0] == '.' || after[0] == '[') && (!ok || len(e.Key) > len(found.Key)) {
			found, rest, ok = e, after, true
		}
	}
	return found, rest, ok
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
