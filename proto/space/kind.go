package space

import "math"

// kind is what an expression knows about a value.
type kind uint8

const (
	kindNumber kind = iota
	kindBool
	kindText
	kindMixed // a choice whose values are of several kinds
)

func (k kind) String() string {
	return [...]string{"number", "truth value", "text", "value of changing type"}[k]
}

func kindOfValue(v any) kind {
	switch v.(type) {
	case bool:
		return kindBool
	case string:
		return kindText
	}
	return kindNumber
}

func kindOf(values []any) kind {
	for _, v := range values[1:] {
		if kindOfValue(v) != kindOfValue(values[0]) {
			return kindMixed
		}
	}
	return kindOfValue(values[0])
}

// Codes carry a payload in a quiet NaN: 1 marks an absent parameter, the
// higher ones stand for texts and for booleans among other kinds.
const codeBits = 0x7ff8_0000_0000_0000

// Absent is the coordinate of a parameter whose condition is false.
func Absent() float64 { return math.Float64frombits(codeBits | 1) }

// IsAbsent recognises Absent.
func IsAbsent(coord float64) bool { return math.Float64bits(coord) == codeBits|1 }

// coder gives every text one code, shared by a space's choices and expressions.
type coder struct{ codes map[any]float64 }

func (c *coder) code(v any) float64 {
	code, ok := c.codes[v]
	if !ok {
		code = math.Float64frombits(codeBits | uint64(len(c.codes)+2))
		c.codes[v] = code
	}
	return code
}

// encode gives a value's coordinate in expressions over a parameter of kind k.
func (c *coder) encode(v any, k kind) float64 {
	switch value := v.(type) {
	case string:
		return c.code(value)
	case bool:
		if k == kindMixed {
			return c.code(value)
		}
		if value {
			return 1
		}
		return 0
	}
	return number(v) + 0 // turns -0 into 0, which has other bits
}
