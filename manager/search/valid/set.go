// Package valid holds the valid points of a space: those that meet its
// conditions and constraints. It is the ground that every sampler stands on.
//
// The points are kept as a decision diagram, one level a parameter in the
// order of the task file. Two partial points share a node when the parameters
// that later constraints and conditions still look at have the same values, so
// the diagram is far smaller than the set, and each constraint is checked as
// soon as its last parameter is bound. Node counts give the exact size, the
// point at any index, the index of any point, and uniform samples.
//
// Constraints that look at continuous or very wide parameters, or that would
// make the diagram too large, are not in it: they are checked on each point
// that is drawn (rejection), and Exact says so.
package valid

import (
	"encoding/binary"
	"fmt"
	"math"
	"sort"
	"sync"

	"github.com/fleetune/fleetune/proto/space"
)

// A Vec is a point by coordinates: for each parameter the rank of its value,
// the value itself when it is continuous, or space.Absent.
type Vec []float64

// Bounds of a diagram. Beyond them constraints are left to rejection.
const (
	maxListed = 4096      // values of a parameter that constraints look at
	maxNodes  = 300_000   // nodes of the diagram
	maxEdges  = 1_500_000 // edges tried while building it
	maxIndex  = 1 << 53   // sizes beyond this have no index
)

// A Set is the set of valid points of one space. It is immutable and safe for
// concurrent use.
type Set struct {
	space  *space.Compiled
	root   *node
	levels []level
	// residual are the constraints outside the diagram, by their last parameter.
	residual [][]*space.Expression
	rejects  bool
	table    bool

	estimate sync.Once
	share    float64
}

// level is what the diagram knows of one parameter.
type level struct {
	listed bool // edges depend on the value
	loose  bool // the condition is outside the diagram
	size   float64
	checks []*space.Expression // constraints whose last parameter this is
	live   []int               // parameters that the next levels still look at
}

// node is a set of ways to go on. A listed node has an edge for each value
// that may follow, an unlisted one a single child for all of them.
type node struct {
	count float64
	ranks []int32 // absentRank for the edge of an absent parameter
	next  []*node
	upto  []float64 // counts of next, summed
}

const absentRank = -1

// New prepares the valid set of a space.
func New(c *space.Compiled) *Set {
	b := newBuilder(c, c.Constraints())
	for {
		root, err := b.build()
		if err == nil {
			return b.set(root)
		}
		b.relax()
	}
}

// Of compiles a space and prepares its valid set.
func Of(s space.Space) (*Set, error) {
	c, err := space.Compile(s)
	if err != nil {
		return nil, err
	}
	return New(c), nil
}

// Space returns the space whose points these are.
func (s *Set) Space() *space.Compiled { return s.space }

// Exact says whether the set has a known size and an index: no constraint is
// left to rejection and no parameter is continuous.
func (s *Set) Exact() bool { return !s.rejects && s.root.count < maxIndex && !s.Continuous() }

// Continuous says whether some parameter has infinitely many values.
func (s *Set) Continuous() bool {
	for i := range s.levels {
		if math.IsInf(s.levels[i].size, 1) {
			return true
		}
	}
	return false
}

// Len is the number of points of an exact set.
func (s *Set) Len() int64 {
	if !s.Exact() {
		return 0
	}
	return int64(s.root.count)
}

// Empty says whether the diagram proves that no point is valid.
func (s *Set) Empty() bool { return s.root.count == 0 }

// At returns the i-th point of an exact set in the order of the task file, the
// last parameter varying fastest.
func (s *Set) At(i int64) Vec {
	v := make(Vec, len(s.levels))
	rest, n := float64(i), s.root
	for l := range s.levels {
		if n.ranks == nil {
			child := n.next[0]
			rank := math.Floor(rest / child.count)
			rest -= rank * child.count
			v[l], n = rank, child
			continue
		}
		e := sort.Search(len(n.upto), func(k int) bool { return n.upto[k] > rest })
		if e > 0 {
			rest -= n.upto[e-1]
		}
		v[l], n = coordinate(n.ranks[e]), n.next[e]
	}
	return v
}

func coordinate(rank int32) float64 {
	if rank == absentRank {
		return space.Absent()
	}
	return float64(rank)
}

// Index is the inverse of At; false for a vector that is not in the set.
func (s *Set) Index(v Vec) (int64, bool) {
	index, n := 0.0, s.root
	for l := range s.levels {
		if n.count == 0 {
			return 0, false
		}
		if n.ranks == nil {
			child := n.next[0]
			if space.IsAbsent(v[l]) || v[l] < 0 || v[l] >= s.levels[l].size {
				return 0, false
			}
			index += v[l] * child.count
			n = child
			continue
		}
		e := n.edge(v[l])
		if e < 0 {
			return 0, false
		}
		if e > 0 {
			index += n.upto[e-1]
		}
		n = n.next[e]
	}
	return int64(index), true
}

// edge finds the edge of a coordinate, -1 when there is none.
func (n *node) edge(coord float64) int {
	rank := int32(absentRank)
	if !space.IsAbsent(coord) {
		rank = int32(coord)
	}
	e := sort.Search(len(n.ranks), func(k int) bool { return n.ranks[k] >= rank })
	if e < len(n.ranks) && n.ranks[e] == rank {
		return e
	}
	return -1
}

// Coords gives the coordinates that expressions see.
func (s *Set) Coords(v Vec) []float64 {
	coords := make([]float64, len(v))
	for i, rank := range v {
		coords[i] = s.coord(i, rank)
	}
	return coords
}

func (s *Set) coord(i int, rank float64) float64 {
	if space.IsAbsent(rank) {
		return rank
	}
	return s.space.Coord(i, rank)
}

// Contains says whether a vector with the right presence of parameters is valid.
func (s *Set) Contains(v Vec) bool {
	if s.table {
		_, ok := s.Index(v)
		return ok
	}
	return s.space.Violated(s.Coords(v)) == nil
}

// Vec turns a point into its vector. The error says why the point is not in
// the set.
func (s *Set) Vec(p space.Point) (Vec, error) {
	coords, ranks, err := s.space.Coords(p)
	if err != nil {
		return nil, err
	}
	if s.table {
		if _, ok := s.Index(ranks); !ok {
			return nil, fmt.Errorf("the point is not in the table")
		}
		return ranks, nil
	}
	if e := s.space.Violated(coords); e != nil {
		return nil, fmt.Errorf("the constraint %q does not hold", e.Source())
	}
	return ranks, nil
}

// Point turns a vector into a point.
func (s *Set) Point(v Vec) space.Point { return s.space.Point(v) }

// A Key identifies a vector within a set.
type Key [2]uint64

// Key returns the vector's key: its index in an exact set, else a hash of 128
// bits.
func (s *Set) Key(v Vec) Key {
	if s.Exact() {
		if i, ok := s.Index(v); ok {
			return Key{uint64(i), 0}
		}
	}
	const prime = 0x9e3779b97f4a7c15
	h := Key{0x243f6a8885a308d3, 0x13198a2e03707344}
	for _, coord := range v {
		x := math.Float64bits(coord)
		h[0] = mix(h[0] ^ x)
		h[1] = mix(h[1] + x*prime)
	}
	h[1] |= 1 << 63 // apart from every index
	return h
}

// mix is the finaliser of splitmix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// stateKey writes the live coordinates, for sharing nodes.
func stateKey(buffer []byte, live []int, ranks []int32) []byte {
	buffer = buffer[:0]
	for _, j := range live {
		buffer = binary.LittleEndian.AppendUint16(buffer, uint16(ranks[j]+1))
	}
	return buffer
}
