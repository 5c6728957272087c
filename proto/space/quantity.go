package space

import (
	"slices"

	"github.com/expr-lang/expr/ast"
)

// A Quantity is a number that a constraint computes from several parameters,
// such as the threads of a block or the bytes of its tiles. Whoever wrote the
// constraint knew that it matters.
type Quantity struct {
	source string
	params []int
	value  func(coords []float64) float64
}

// Source is the text of the quantity.
func (q *Quantity) Source() string { return q.source }

// Params lists the parameters the quantity is computed from, by position,
// ascending.
func (q *Quantity) Params() []int { return q.params }

// Value computes the quantity from coordinates as Compiled.Coords gives them.
// Those of its parameters must be present.
func (q *Quantity) Value(coords []float64) float64 { return q.value(coords) }

// quantity notes an arithmetic part of an expression that names several
// parameters. Of a remainder, which a constraint holds at one value, the
// quotient is what varies.
func (c *compiler) quantity(n *ast.BinaryNode, value func([]float64) float64, named []int) {
	params := slices.Clone(named)
	slices.Sort(params)
	if params = slices.Compact(params); len(params) < 2 {
		return
	}
	source := n.String()
	if n.Operator == "%" {
		source = "(" + n.Left.String() + ") / (" + n.Right.String() + ")"
	}
	c.found = append(c.found, Quantity{source: source, params: params, value: value})
}
