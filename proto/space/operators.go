package space

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/expr-lang/expr/ast"
)

func (c *compiler) unary(n *ast.UnaryNode, depth int) (term, error) {
	switch n.Operator {
	case "!", "not":
		test, err := c.boolean(n.Node, depth, "the operand of "+n.Operator)
		if err != nil {
			return term{}, err
		}
		return term{kind: kindBool, test: func(v []float64) bool { return !test(v) }}, nil
	case "-", "+":
		value, err := c.number(n.Node, depth, n.Operator)
		if err != nil {
			return term{}, err
		}
		sign := 1.0
		if n.Operator == "-" {
			sign = -1
		}
		t := term{kind: kindNumber, value: func(v []float64) float64 { return sign * value(v) }}
		if l, ok := n.Node.(*ast.IntegerNode); ok {
			t.literal, t.raw = true, sign*float64(l.Value)
		}
		if l, ok := n.Node.(*ast.FloatNode); ok {
			t.literal, t.raw = true, sign*l.Value
		}
		return t, nil
	}
	return term{}, mistake("the operator %q is not allowed", n.Operator)
}

func (c *compiler) binary(n *ast.BinaryNode, depth int) (term, error) {
	switch n.Operator {
	case "and", "&&", "or", "||":
		return c.logic(n, depth)
	case "==", "!=":
		return c.equality(n, depth)
	case "in":
		return c.membership(n, depth)
	case "<", "<=", ">", ">=":
		return c.order(n, depth)
	case "+", "-", "*", "/", "%", "**", "^":
		return c.arithmetic(n, depth)
	}
	return term{}, mistake("the operator %q is not allowed", n.Operator)
}

func (c *compiler) logic(n *ast.BinaryNode, depth int) (term, error) {
	a, err := c.boolean(n.Left, depth, "the left side of "+n.Operator)
	if err != nil {
		return term{}, err
	}
	b, err := c.boolean(n.Right, depth, "the right side of "+n.Operator)
	if err != nil {
		return term{}, err
	}
	if n.Operator == "and" || n.Operator == "&&" {
		return term{kind: kindBool, test: func(v []float64) bool { return a(v) && b(v) }}, nil
	}
	return term{kind: kindBool, test: func(v []float64) bool { return a(v) || b(v) }}, nil
}

func (c *compiler) equality(n *ast.BinaryNode, depth int) (term, error) {
	a, err := c.term(n.Left, depth)
	if err != nil {
		return term{}, err
	}
	b, err := c.term(n.Right, depth)
	if err != nil {
		return term{}, err
	}
	same, err := c.same(a, b)
	if err != nil {
		return term{}, err
	}
	if n.Operator == "==" {
		return term{kind: kindBool, test: same}, nil
	}
	if a.kind == kindNumber && b.kind == kindNumber {
		return term{kind: kindBool, test: func(v []float64) bool {
			x, y := a.value(v), b.value(v)
			return x < y || x > y // false when either is undefined
		}}, nil
	}
	return term{kind: kindBool, test: func(v []float64) bool { return !same(v) }}, nil
}

// same compares two terms for equality. Kinds that can never be equal are a
// mistake of the author, not false.
func (c *compiler) same(a, b term) (func([]float64) bool, error) {
	switch {
	case a.kind == kindMixed || b.kind == kindMixed:
		x, y := c.coded(a), c.coded(b)
		return func(v []float64) bool { return math.Float64bits(x(v)) == math.Float64bits(y(v)) }, nil
	case a.kind != b.kind:
		return nil, mistake("a %s and a %s are never equal", a.kind, b.kind)
	case a.kind == kindBool:
		return func(v []float64) bool { return a.test(v) == b.test(v) }, nil
	case a.kind == kindText:
		return func(v []float64) bool { return math.Float64bits(a.value(v)) == math.Float64bits(b.value(v)) }, nil
	default:
		return func(v []float64) bool { return a.value(v) == b.value(v) }, nil
	}
}

// coded gives a term's value in the code of mixed choices.
func (c *compiler) coded(t term) func([]float64) float64 {
	if t.kind != kindBool {
		return t.value
	}
	yes, no := c.coder.code(true), c.coder.code(false)
	return func(v []float64) float64 {
		if t.test(v) {
			return yes
		}
		return no
	}
}

func (c *compiler) membership(n *ast.BinaryNode, depth int) (term, error) {
	list, ok := n.Right.(*ast.ArrayNode)
	if !ok {
		return term{}, mistake("the right side of in must be a list such as [1, 2, 4]")
	}
	a, err := c.term(n.Left, depth)
	if err != nil {
		return term{}, err
	}
	tests := make([]func([]float64) bool, len(list.Nodes))
	for i, node := range list.Nodes {
		b, err := c.term(node, depth)
		if err != nil {
			return term{}, err
		}
		if tests[i], err = c.same(a, b); err != nil {
			return term{}, err
		}
	}
	return term{kind: kindBool, test: func(v []float64) bool {
		for _, test := range tests {
			if test(v) {
				return true
			}
		}
		return false
	}}, nil
}

func (c *compiler) numbers(n *ast.BinaryNode, depth int) (a, b func([]float64) float64, err error) {
	if a, err = c.number(n.Left, depth, n.Operator); err != nil {
		return nil, nil, err
	}
	b, err = c.number(n.Right, depth, n.Operator)
	return a, b, err
}

func (c *compiler) order(n *ast.BinaryNode, depth int) (term, error) {
	a, b, err := c.numbers(n, depth)
	if err != nil {
		return term{}, err
	}
	t := term{kind: kindBool}
	switch n.Operator {
	case "<":
		t.test = func(v []float64) bool { return a(v) < b(v) }
	case "<=":
		t.test = func(v []float64) bool { return a(v) <= b(v) }
	case ">":
		t.test = func(v []float64) bool { return a(v) > b(v) }
	default:
		t.test = func(v []float64) bool { return a(v) >= b(v) }
	}
	return t, nil
}

func (c *compiler) arithmetic(n *ast.BinaryNode, depth int) (term, error) {
	named, found := len(c.named), len(c.found)
	a, b, err := c.numbers(n, depth)
	if err != nil {
		return term{}, err
	}
	if len(c.found) > found {
		c.found = c.found[:found] // parts of this one
	}
	t := term{kind: kindNumber}
	switch n.Operator {
	case "+":
		t.value = func(v []float64) float64 { return a(v) + b(v) }
	case "-":
		t.value = func(v []float64) float64 { return a(v) - b(v) }
	case "*":
		t.value = func(v []float64) float64 { return a(v) * b(v) }
	case "/":
		t.value = func(v []float64) float64 { return a(v) / b(v) }
	case "%":
		t.value = func(v []float64) float64 { return modulo(a(v), b(v)) }
	default:
		t.value = func(v []float64) float64 { return math.Pow(a(v), b(v)) }
	}
	value := t.value
	if n.Operator == "%" {
		value = func(v []float64) float64 { return a(v) / b(v) }
	}
	c.quantity(n, value, c.named[named:])
	return t, nil
}

// A function of expressions: its number of arguments (many means one or more)
// and its value.
type function struct {
	args int
	eval func(args []float64) float64
}

const many = -1

func one(f func(float64) float64) function {
	return function{1, func(a []float64) float64 { return f(a[0]) }}
}

// functions lists what an expression may call.
func functions() map[string]function {
	return map[string]function{
		"abs": one(math.Abs), "ceil": one(math.Ceil), "floor": one(math.Floor),
		"round": one(math.Round), "int": one(math.Trunc), "sqrt": one(math.Sqrt),
		"log": one(math.Log), "log2": one(math.Log2), "log10": one(math.Log10), "exp": one(math.Exp),
		"pow": {2, func(a []float64) float64 { return math.Pow(a[0], a[1]) }},
		"min": {many, slices.Min[[]float64]},
		"max": {many, slices.Max[[]float64]},
	}
}

// Functions names the functions an expression may call, sorted.
func Functions() []string { return slices.Sorted(maps.Keys(functions())) }

func (c *compiler) call(name string, nodes []ast.Node, depth int) (term, error) {
	f, ok := functions()[name]
	if !ok {
		return term{}, &expressionError{message: fmt.Sprintf("no function is named %q", name), nearest: Nearest(name, Functions())}
	}
	if f.args != many && f.args != len(nodes) || len(nodes) == 0 {
		return term{}, mistake("%s takes %s, not %d", name, arity(f.args), len(nodes))
	}
	args := make([]func([]float64) float64, len(nodes))
	for i, node := range nodes {
		arg, err := c.number(node, depth, name)
		if err != nil {
			return term{}, err
		}
		args[i] = arg
	}
	return term{kind: kindNumber, value: func(v []float64) float64 {
		var buffer [4]float64
		values := buffer[:0]
		for _, arg := range args {
			values = append(values, arg(v))
		}
		return f.eval(values)
	}}, nil
}

func arity(n int) string {
	switch n {
	case many:
		return "at least one argument"
	case 1:
		return "one argument"
	default:
		return fmt.Sprintf("%d arguments", n)
	}
}
