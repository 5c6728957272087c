package valid

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/fleetune/fleetune/proto/space"
)

var errTooLarge = errors.New("the diagram would be too large")

// builder makes the diagram of a space.
type builder struct {
	space *space.Compiled
	// exact are the constraints in the diagram, residual the others.
	exact    []*space.Expression
	residual []*space.Expression
	levels   []level
	never    bool // a constraint without parameters is false

	memo   []map[string]*node
	coords []float64
	ranks  []int32
	buffer []byte
	nodes  int
	edges  int
	last   *node
}

func newBuilder(c *space.Compiled, constraints []*space.Expression) *builder {
	b := &builder{space: c, levels: make([]level, c.Len())}
	for i := range b.levels {
		b.levels[i].size = c.Domain(i).Size()
	}
	for i := range b.levels {
		e := c.Condition(i)
		b.levels[i].loose = e != nil && !b.listable(e)
	}
	for _, e := range constraints {
		switch {
		case len(e.Params()) == 0:
			b.never = b.never || !e.Holds(nil)
		case b.listable(e):
			b.exact = append(b.exact, e)
		default:
			b.residual = append(b.residual, e)
		}
	}
	return b
}

// listable says whether all parameters of an expression have few enough
// values, and conditions that are in the diagram.
func (b *builder) listable(e *space.Expression) bool {
	for _, i := range e.Params() {
		if b.levels[i].size > maxListed || b.levels[i].loose {
			return false
		}
	}
	return true
}

// relax takes what costs the diagram most out of it: the constraint with the
// widest scope, or, when only conditions are left, all conditions.
func (b *builder) relax() {
	if len(b.exact) == 0 {
		for i := range b.levels {
			b.levels[i].loose = b.space.Condition(i) != nil
		}
		return
	}
	worst, cost := 0, -1.0
	for k, e := range b.exact {
		c := 0.0
		for _, i := range e.Params() {
			c += math.Log(b.levels[i].size)
		}
		if c > cost {
			worst, cost = k, c
		}
	}
	b.residual = append(b.residual, b.exact[worst])
	b.exact = slices.Delete(b.exact, worst, worst+1)
}

// plan decides for every level what is listed, checked and still looked at.
func (b *builder) plan() {
	d := len(b.levels)
	until := make([]int, d) // the last level that looks at the parameter
	for i := range b.levels {
		b.levels[i].listed, b.levels[i].checks, b.levels[i].live = false, nil, nil
		until[i] = -1
	}
	look := func(e *space.Expression, at int) {
		for _, i := range e.Params() {
			until[i] = max(until[i], at)
			b.levels[i].listed = true
		}
	}
	for _, e := range b.exact {
		at := slices.Max(e.Params())
		b.levels[at].checks = append(b.levels[at].checks, e)
		look(e, at)
	}
	for i := range b.levels {
		if e := b.space.Condition(i); e != nil && !b.levels[i].loose {
			look(e, i)
		}
	}
	for i := range b.levels {
		for j := range i + 1 {
			if until[j] > i {
				b.levels[i].live = append(b.levels[i].live, j)
			}
		}
	}
}

func (b *builder) build() (*node, error) {
	b.plan()
	if b.never {
		return &node{ranks: []int32{}}, nil
	}
	d := len(b.levels)
	b.memo = make([]map[string]*node, d)
	for i := range b.memo {
		b.memo[i] = map[string]*node{}
	}
	b.coords, b.ranks = make([]float64, d), make([]int32, d)
	b.nodes, b.edges = 0, 0
	b.last = &node{count: 1}
	return b.node(0, nil)
}

// node returns the node at a level for the bound prefix. live names the
// parameters of the prefix that this and later levels look at.
func (b *builder) node(l int, live []int) (*node, error) {
	if l == len(b.levels) {
		return b.last, nil
	}
	b.buffer = stateKey(b.buffer, live, b.ranks)
	if n, ok := b.memo[l][string(b.buffer)]; ok {
		return n, nil
	}
	key := string(b.buffer)
	if b.nodes++; b.nodes > maxNodes {
		return nil, errTooLarge
	}
	n, err := b.expand(l)
	if err != nil {
		return nil, err
	}
	b.memo[l][key] = n
	return n, nil
}

func (b *builder) expand(l int) (*node, error) {
	level := &b.levels[l]
	n := &node{}
	switch {
	case !level.loose && !b.space.Exists(l, b.coords):
		b.coords[l], b.ranks[l] = space.Absent(), absentRank
		return n, b.edge(n, l)
	case !level.listed:
		// 0 stands for every value: nothing looks at it.
		b.coords[l], b.ranks[l] = 0, 0
		child, err := b.node(l+1, level.live)
		if err != nil {
			return nil, err
		}
		n.next = []*node{child}
		n.count = child.count
		if !math.IsInf(level.size, 1) {
			n.count *= level.size
		}
		return n, nil
	}
	n.ranks = make([]int32, 0, int(level.size))
	for rank := range int32(level.size) {
		b.coords[l], b.ranks[l] = b.space.Coord(l, float64(rank)), rank
		if err := b.edge(n, l); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// edge adds the value that is bound at level l to the node, if it can lead to
// a valid point.
func (b *builder) edge(n *node, l int) error {
	if n.ranks == nil {
		n.ranks = []int32{}
	}
	if b.edges++; b.edges > maxEdges {
		return errTooLarge
	}
	for _, e := range b.levels[l].checks {
		if e.Present(b.coords) && !e.Holds(b.coords) {
			return nil
		}
	}
	rank := b.ranks[l]
	child, err := b.node(l+1, b.levels[l].live)
	if err != nil {
		return err
	}
	if child.count == 0 {
		return nil
	}
	n.count += child.count
	n.ranks = append(n.ranks, rank)
	n.next = append(n.next, child)
	n.upto = append(n.upto, n.count)
	return nil
}

func (b *builder) set(root *node) *Set {
	s := &Set{space: b.space, root: root, levels: b.levels, residual: make([][]*space.Expression, len(b.levels))}
	for _, e := range b.residual {
		at := slices.Max(e.Params())
		s.residual[at] = append(s.residual[at], e)
		s.rejects = true
	}
	for i := range s.levels {
		s.rejects = s.rejects || s.levels[i].loose
	}
	return s
}

// Table prepares the set of exactly the given points of a space, whatever its
// constraints. The error names the first point outside the domains. Repeated
// points count once. No parameter may be continuous or have more than 2^31
// values.
func Table(c *space.Compiled, points []space.Point) (*Set, error) {
	rows := make([][]int32, 0, len(points))
	for k, p := range points {
		_, ranks, err := c.Coords(p)
		if err != nil {
			return nil, fmt.Errorf("point %d: %w", k, err)
		}
		row := make([]int32, len(ranks))
		for i, rank := range ranks {
			row[i] = absentRank
			if !space.IsAbsent(rank) {
				row[i] = int32(rank)
			}
		}
		rows = append(rows, row)
	}
	slices.SortFunc(rows, slices.Compare[[]int32])
	rows = slices.CompactFunc(rows, slices.Equal[[]int32])
	s := &Set{space: c, table: true, levels: make([]level, c.Len()), residual: make([][]*space.Expression, c.Len())}
	for i := range s.levels {
		s.levels[i] = level{listed: true, size: c.Domain(i).Size()}
		if s.levels[i].size > math.MaxInt32 {
			return nil, fmt.Errorf("parameter %s has too many values for a table", c.Space().Parameters[i].Name)
		}
	}
	s.root = trie(rows, 0, c.Len())
	return s, nil
}

// trie builds the nodes for sorted rows that agree before level l.
func trie(rows [][]int32, l, depth int) *node {
	if l == depth {
		return &node{count: 1}
	}
	n := &node{ranks: []int32{}}
	for len(rows) > 0 {
		k := 1
		for k < len(rows) && rows[k][l] == rows[0][l] {
			k++
		}
		child := trie(rows[:k], l+1, depth)
		n.count += child.count
		n.ranks = append(n.ranks, rows[0][l])
		n.next = append(n.next, child)
		n.upto = append(n.upto, n.count)
		rows = rows[k:]
	}
	return n
}
