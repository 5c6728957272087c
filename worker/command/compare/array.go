package compare

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"

	"github.com/fleetune/fleetune/proto/task"
)

// An array is an open output.
type array struct {
	file    *os.File
	data    *bufio.Reader // stands at the first element once described
	size    int64         // of the file, in bytes
	dtype   string
	kind    kind
	shape   []int
	count   int64
	fortran bool
}

func (a *array) close() { _ = a.file.Close() }

// A kind reads one element.
type kind struct {
	size int
	// float is nil where elements must be equal bit for bit.
	float func([]byte) float64
	text  func([]byte) string
}

var little = binary.LittleEndian

// kindOf returns how elements of a dtype are read. Raw files are little-endian.
func kindOf(dtype string) (kind, bool) {
	switch dtype {
	case "float64":
		return floating(8, func(b []byte) float64 { return math.Float64frombits(little.Uint64(b)) }), true
	case "float32":
		return floating(4, func(b []byte) float64 { return float64(math.Float32frombits(little.Uint32(b))) }), true
	case "float16":
		return floating(2, func(b []byte) float64 { return half(little.Uint16(b)) }), true
	case "bfloat16":
		return floating(2, func(b []byte) float64 {
			return float64(math.Float32frombits(uint32(little.Uint16(b)) << 16))
		}), true
	case "int8", "int16", "int32", "int64":
		return exact(integerSize(dtype), func(b []byte) string { return strconv.FormatInt(signed(b), 10) }), true
	case "uint8", "uint16", "uint32", "uint64":
		return exact(integerSize(dtype), func(b []byte) string { return strconv.FormatUint(unsigned(b), 10) }), true
	case "bool":
		return exact(1, func(b []byte) string { return strconv.FormatBool(b[0] != 0) }), true
	case "bytes":
		return exact(1, func(b []byte) string { return fmt.Sprintf("0x%02x", b[0]) }), true
	}
	return kind{}, false
}

func integerSize(dtype string) int {
	switch dtype[len(dtype)-1] {
	case '8':
		return 1
	case '6':
		return 2
	case '2':
		return 4
	default:
		return 8
	}
}

func floating(size int, f func([]byte) float64) kind {
	return kind{size: size, float: f, text: func(b []byte) string { return strconv.FormatFloat(f(b), 'g', 9, 64) }}
}

func exact(size int, text func([]byte) string) kind { return kind{size: size, text: text} }

func unsigned(b []byte) uint64 {
	var v uint64
	for i, c := range b {
		v |= uint64(c) << (8 * i)
	}
	return v
}

func signed(b []byte) int64 {
	shift := 64 - 8*len(b)
	return int64(unsigned(b)<<shift) >> shift
}

// half widens an IEEE 754 binary16 number.
func half(h uint16) float64 {
	sign := 1.0
	if h&0x8000 != 0 {
		sign = -1
	}
	exponent, fraction := int(h>>10&0x1f), float64(h&0x3ff)
	switch exponent {
	case 0:
		return sign * math.Ldexp(fraction, -24)
	case 31:
		if fraction != 0 {
			return math.NaN()
		}
		return math.Inf(int(sign))
	default:
		return sign * math.Ldexp(1024+fraction, exponent-25)
	}
}

// describe finds dtype, shape and count, from the declaration or from the
// header of an npy file, and checks that the file is exactly as long as they
// say.
func (a *array) describe(o task.Output) error {
	header := int64(0)
	a.dtype, a.shape = o.DType, o.Shape
	if o.DType == "npy" {
		h, n, err := readNPY(a.data)
		if err != nil {
			return err
		}
		a.dtype, a.shape, a.fortran, header = h.dtype, h.shape, h.fortran, n
		if len(o.Shape) > 0 && !slices.Equal(o.Shape, h.shape) {
			return fmt.Errorf("its shape is %s, the task declares %s", shapeText(h.shape), shapeText(o.Shape))
		}
	}
	k, ok := kindOf(a.dtype)
	if !ok {
		return fmt.Errorf("unknown dtype %q", a.dtype)
	}
	a.kind = k
	payload := a.size - header
	if len(a.shape) == 0 && o.DType != "npy" { // whatever the file holds
		if payload%int64(k.size) != 0 {
			return fmt.Errorf("its %d bytes are no whole number of %s", payload, a.dtype)
		}
		a.count = payload / int64(k.size)
		a.shape = []int{int(a.count)}
		return nil
	}
	n, err := product(a.shape, k.size)
	if err != nil {
		return err
	}
	if a.count = n; payload != n*int64(k.size) {
		return fmt.Errorf("it holds %d bytes, %s of shape %s takes %d", payload, a.dtype, shapeText(a.shape), n*int64(k.size))
	}
	return nil
}

var errShape = errors.New("its shape is not possible")

// product multiplies a shape and refuses what no file can hold.
func product(shape []int, size int) (int64, error) {
	n := int64(1)
	for _, d := range shape {
		if d < 0 || d > 0 && n > math.MaxInt64/int64(size)/int64(d) {
			return 0, fmt.Errorf("%w: %s", errShape, shapeText(shape))
		}
		n *= int64(d)
	}
	return n, nil
}

// index writes an element's position as indices of the shape.
func (a *array) index(flat int64) string {
	at := make([]int, len(a.shape))
	for i := range a.shape {
		d := len(a.shape) - 1 - i
		if a.fortran {
			d = i
		}
		at[d] = int(flat % int64(a.shape[d]))
		flat /= int64(a.shape[d])
	}
	parts := shapeText(at)
	return "[" + parts[1:len(parts)-1] + "]"
}
