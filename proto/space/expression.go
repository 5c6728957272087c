package space

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
)

// Bounds on an expression, so that no task file can make the manager work
// without end.
const (
	maxExpressionBytes = 4096
	maxExpressionNodes = 1024
	maxExpressionDepth = 256
)

// An Expression is a compiled condition or constraint: a boolean function of
// the parameters it names. It reads numbers only from the coordinates handed
// to Holds; there is nothing else it could reach.
//
// Arithmetic is on float64, which holds integers exactly up to 2^53: the
// operators + - * and % of integers are exact to that size, / is always real
// division (7 / 2 is 3.5; write floor(7 / 2) for 3), and % takes the sign of
// its right side and accepts reals. A comparison with an undefined number,
// such as 1 % 0, is false.
type Expression struct {
	source string
	params []int
	eval   func(coords []float64) bool
	// quantities are what it computes from several parameters.
	quantities []Quantity
}

// Source is the text the expression was compiled from.
func (e *Expression) Source() string { return e.source }

// Params lists the parameters the expression names, by position, ascending.
func (e *Expression) Params() []int { return e.params }

// Holds evaluates the expression on coordinates as Compiled.Coords gives them.
// Coordinates it does not name may be anything; those it names must be present.
func (e *Expression) Holds(coords []float64) bool { return e.eval(coords) }

// Present says whether every parameter the expression names exists.
func (e *Expression) Present(coords []float64) bool {
	for _, i := range e.params {
		if IsAbsent(coords[i]) {
			return false
		}
	}
	return true
}

// An expressionError is a mistake in an expression's text.
type expressionError struct {
	message string
	nearest string
}

func (e *expressionError) Error() string { return e.message }

func mistake(format string, args ...any) error {
	return &expressionError{message: fmt.Sprintf(format, args...)}
}

// scope is what names mean in an expression.
type scope struct {
	params map[string]int // expression name → position
	kinds  []kind
	coder  *coder
	// limit is the number of leading parameters that may be named; the later
	// ones exist but stand after the condition.
	limit int
}

// compile parses and checks an expression. The error is an *expressionError.
func (s *scope) compile(source string) (*Expression, error) {
	if strings.TrimSpace(source) == "" {
		return nil, mistake("the expression is empty")
	}
	if len(source) > maxExpressionBytes {
		return nil, mistake("the expression is longer than %d bytes", maxExpressionBytes)
	}
	if err := scan(source); err != nil {
		return nil, err
	}
	tree, err := parser.Parse(source)
	if err != nil {
		return nil, syntaxError(err)
	}
	c := compiler{scope: s}
	t, err := c.term(tree.Node, 0)
	if err != nil {
		return nil, err
	}
	if t.kind != kindBool {
		return nil, mistake("the expression gives a %s, not true or false", t.kind)
	}
	slices.Sort(c.named)
	test := t.test
	return &Expression{source: source, params: slices.Compact(c.named), eval: test, quantities: c.found}, nil
}

// scan refuses what the parser would read differently than meant, or too deep.
func scan(source string) error {
	depth := 0
	var quote rune
	for i, r := range source {
		switch {
		case quote != 0:
			if r == quote {
				quote = 0
			}
		case r == '"' || r == '\'' || r == '`':
			quote = r
		case r == '/' && (strings.HasPrefix(source[i:], "//") || strings.HasPrefix(source[i:], "/*")):
			return mistake("%q is not an operator: write floor(a / b) for integer division", source[i:i+2])
		case r == '#' || r == ';' || r == '\\':
			return mistake("%q is not part of an expression", string(r))
		case r == '(' || r == '[' || r == '{' || r == '?' || r == '!' || r == '-':
			if depth++; depth > maxExpressionDepth {
				return mistake("the expression is nested too deep")
			}
		case r == ')' || r == ']' || r == '}':
			depth--
		}
	}
	return nil
}

// syntaxError words the parser's error in one line.
func syntaxError(err error) error {
	var at *file.Error
	if errors.As(err, &at) {
		return mistake("%s at column %d", at.Message, at.Column+1)
	}
	message, _, _ := strings.Cut(err.Error(), "\n")
	return mistake("%s", message)
}

// A term is a checked part of an expression. Booleans have test, all other
// kinds have value; text and mixed values are compared by their code's bits.
type term struct {
	kind  kind
	value func([]float64) float64
	test  func([]float64) bool
	// constant holds the value of a literal, for lists.
	literal bool
	raw     any
}

type compiler struct {
	*scope
	named []int
	found []Quantity
	nodes int
}

func (c *compiler) term(node ast.Node, depth int) (term, error) {
	if c.nodes++; c.nodes > maxExpressionNodes || depth > maxExpressionDepth {
		return term{}, mistake("the expression is too large")
	}
	depth++
	switch n := node.(type) {
	case *ast.IntegerNode:
		return constant(float64(n.Value)), nil
	case *ast.FloatNode:
		return constant(n.Value), nil
	case *ast.BoolNode:
		return term{kind: kindBool, test: func([]float64) bool { return n.Value }, literal: true, raw: n.Value}, nil
	case *ast.StringNode:
		code := c.coder.code(n.Value)
		return term{kind: kindText, value: func([]float64) float64 { return code }, literal: true, raw: n.Value}, nil
	case *ast.IdentifierNode:
		return c.identifier(n.Value)
	case *ast.UnaryNode:
		return c.unary(n, depth)
	case *ast.BinaryNode:
		return c.binary(n, depth)
	case *ast.ConditionalNode:
		return c.conditional(n, depth)
	case *ast.BuiltinNode:
		return c.call(n.Name, n.Arguments, depth)
	case *ast.CallNode:
		name, ok := n.Callee.(*ast.IdentifierNode)
		if !ok {
			return term{}, mistake("only functions can be called")
		}
		return c.call(name.Value, n.Arguments, depth)
	}
	return term{}, mistake("%q is not allowed in an expression", node.String())
}

func constant(v float64) term {
	return term{kind: kindNumber, value: func([]float64) float64 { return v }, literal: true, raw: v}
}

func (c *compiler) identifier(name string) (term, error) {
	i, ok := c.params[name]
	if !ok {
		known := make([]string, 0, len(c.params))
		for n := range c.params {
			known = append(known, n)
		}
		return term{}, &expressionError{message: fmt.Sprintf("no parameter is named %q", name), nearest: Nearest(name, known)}
	}
	if i >= c.limit {
		return term{}, mistake("%q must stand before the parameter that depends on it", name)
	}
	c.named = append(c.named, i)
	k := c.kinds[i]
	if k == kindBool {
		return term{kind: k, test: func(coords []float64) bool { return coords[i] != 0 }}, nil
	}
	return term{kind: k, value: func(coords []float64) float64 { return coords[i] }}, nil
}

func (c *compiler) conditional(n *ast.ConditionalNode, depth int) (term, error) {
	cond, err := c.boolean(n.Cond, depth, "the condition of ?:")
	if err != nil {
		return term{}, err
	}
	a, err := c.term(n.Exp1, depth)
	if err != nil {
		return term{}, err
	}
	b, err := c.term(n.Exp2, depth)
	if err != nil {
		return term{}, err
	}
	if a.kind != b.kind {
		return term{}, mistake("the two sides of ?: are a %s and a %s", a.kind, b.kind)
	}
	if a.kind == kindBool {
		return term{kind: kindBool, test: func(v []float64) bool {
			if cond(v) {
				return a.test(v)
			}
			return b.test(v)
		}}, nil
	}
	return term{kind: a.kind, value: func(v []float64) float64 {
		if cond(v) {
			return a.value(v)
		}
		return b.value(v)
	}}, nil
}

func (c *compiler) boolean(node ast.Node, depth int, what string) (func([]float64) bool, error) {
	t, err := c.term(node, depth)
	if err != nil {
		return nil, err
	}
	if t.kind != kindBool {
		return nil, mistake("%s is a %s, not true or false: %s", what, t.kind, node.String())
	}
	return t.test, nil
}

func (c *compiler) number(node ast.Node, depth int, what string) (func([]float64) float64, error) {
	t, err := c.term(node, depth)
	if err != nil {
		return nil, err
	}
	if t.kind != kindNumber {
		return nil, mistake("%s needs numbers, and %s is a %s", what, node.String(), t.kind)
	}
	return t.value, nil
}

func modulo(a, b float64) float64 {
	m := math.Mod(a, b)
	if m != 0 && (m < 0) != (b < 0) {
		m += b
	}
	return m
}
