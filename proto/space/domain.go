package space

import (
	"fmt"
	"math"
	"strconv"
)

// maxExact is the largest magnitude up to which every integer is a float64.
const maxExact = 1 << 53

// A Domain is the set of values one parameter may take, in a fixed order.
// A value's position in that order is its rank. Only a continuous parameter
// without a step has no ranks.
type Domain struct {
	parameter Parameter
	values    []any // choice and boolean only
	numbers   []float64
	size      float64
	kind      kind
}

// Domain returns the parameter's domain. The parameter must have passed Check.
func (p Parameter) Domain() Domain {
	d := Domain{parameter: p}
	switch p.Type {
	case Choice:
		d.values = p.Values
		d.kind = kindOf(p.Values)
	case Boolean:
		d.values = []any{false, true}
		d.kind = kindBool
	default:
		d.kind = kindNumber
		d.size = steps(p)
	}
	if d.values != nil {
		d.size = float64(len(d.values))
	}
	return d
}

// steps is the number of values of a numeric parameter; +Inf when continuous.
func steps(p Parameter) float64 {
	step := p.Step
	if step == 0 {
		if p.Type == Continuous {
			if p.Low == p.High {
				return 1
			}
			return math.Inf(1)
		}
		step = 1
	}
	// The slack keeps 0.1+0.1+0.1 inside a range that ends at 0.3.
	return math.Floor((p.High-p.Low)/step+1e-9) + 1
}

// Size is the number of values: +Inf for a continuous parameter.
func (d *Domain) Size() float64 { return d.size }

// Numeric says whether every value is a number.
func (d *Domain) Numeric() bool { return d.kind == kindNumber }

// Ordinal says whether the order of the values means something: numbers in
// strictly increasing order.
func (d *Domain) Ordinal() bool {
	if d.kind != kindNumber {
		return false
	}
	for i := 1; i < len(d.values); i++ {
		if number(d.values[i-1]) >= number(d.values[i]) {
			return false
		}
	}
	return true
}

// Value returns the value at a rank. For a continuous parameter the argument
// is the value itself.
func (d *Domain) Value(rank float64) any {
	if d.values != nil {
		return d.values[int(rank)]
	}
	n := d.number(rank)
	if d.parameter.Type == Integer {
		return int64(n)
	}
	return n
}

// number is the numeric value at a rank of a numeric, unlisted domain.
func (d *Domain) number(rank float64) float64 {
	p := &d.parameter
	switch {
	case math.IsInf(d.size, 1):
		return rank
	case p.Type == Integer:
		return p.Low + rank*max(p.Step, 1)
	case p.Step == 0:
		return p.Low
	default:
		return tidy(p.Low + rank*p.Step)
	}
}

// tidy drops the noise of binary steps: 0.1+2*0.1 is 0.3.
func tidy(v float64) float64 {
	t, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 15, 64), 64)
	if err != nil {
		return v
	}
	return t
}

// Rank returns the rank of a value, or the value itself for a continuous
// parameter. Numbers are compared by amount, so 8 finds 8.0. The error says
// why the value is not in the domain.
func (d *Domain) Rank(value any) (float64, error) {
	if d.values != nil {
		for i, v := range d.values {
			if equal(v, value) {
				return float64(i), nil
			}
		}
		return 0, fmt.Errorf("%v is not one of the values", show(value))
	}
	n := number(value)
	p := &d.parameter
	slack := 1e-9 * p.Step // steps carry binary noise, plain bounds do not
	switch {
	case math.IsNaN(n):
		return 0, fmt.Errorf("%v is not a number", show(value))
	case n < p.Low-slack || n > p.High+slack:
		return 0, fmt.Errorf("%v is outside %v to %v", show(value), p.Low, p.High)
	case math.IsInf(d.size, 1):
		return n, nil
	case p.Low == p.High:
		return 0, nil
	}
	step := p.Step
	if step == 0 {
		step = 1
	}
	rank := math.Round((n - p.Low) / step)
	if d.number(rank) != n && math.Abs(p.Low+rank*step-n) > 1e-9*step {
		return 0, fmt.Errorf("%v is not %v plus a multiple of %v", show(value), p.Low, step)
	}
	return min(rank, d.size-1), nil
}

// equal compares two values, numbers by amount.
func equal(a, b any) bool {
	x, y := number(a), number(b)
	if !math.IsNaN(x) || !math.IsNaN(y) {
		return x == y
	}
	switch a := a.(type) {
	case string:
		s, ok := b.(string)
		return ok && s == a
	case bool:
		s, ok := b.(bool)
		return ok && s == a
	}
	return false
}

// number converts any Go number to float64; NaN for everything else.
func number(v any) float64 {
	switch n := v.(type) {
	case int64:
		return float64(n)
	case float64:
		return n
	case int:
		return float64(n)
	case int32:
		return float64(n)
	case uint64:
		return float64(n)
	case uint:
		return float64(n)
	case float32:
		return float64(n)
	}
	return math.NaN()
}

// show writes a value as a person would: strings quoted.
func show(v any) string {
	if s, ok := v.(string); ok {
		return strconv.Quote(s)
	}
	return fmt.Sprint(v)
}
