package compare

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fleetune/fleetune/proto/task"
)

var tolerance = task.Tolerance{Absolute: 1e-3, Relative: 1e-3}

// pair is a folder for each side.
type pair struct {
	t                    testing.TB
	reference, candidate *os.Root
}

func newPair(t testing.TB) pair {
	t.Helper()
	open := func() *os.Root {
		root, err := os.OpenRoot(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = root.Close() })
		return root
	}
	return pair{t, open(), open()}
}

func write(t testing.TB, root *os.Root, data any) {
	t.Helper()
	var b bytes.Buffer
	if err := binary.Write(&b, binary.LittleEndian, data); err != nil {
		t.Fatal(err)
	}
	if err := root.WriteFile("out", b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// compare writes both sides and returns the one check.
func (p pair) compare(o task.Output, candidate, reference any) (bool, string) {
	p.t.Helper()
	write(p.t, p.reference, reference)
	write(p.t, p.candidate, candidate)
	o.Path = "out"
	checks, err := Outputs(p.t.Context(), []task.Output{o}, p.reference, p.candidate, tolerance)
	if err != nil {
		p.t.Fatal(err)
	}
	if (Failed(checks) == nil) != checks[0].OK || checks[0].Name != "out" {
		p.t.Fatalf("checks are %+v", checks)
	}
	return checks[0].OK, checks[0].Detail
}

func TestOutputs(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	nan32 := float32(nan)
	for name, c := range map[string]struct {
		output               task.Output
		candidate, reference any
		ok                   bool
		detail               string
	}{
		"equal":              {task.Output{DType: "float64"}, []float64{1, 2}, []float64{1, 2}, true, "2 elements agree"},
		"within absolute":    {task.Output{DType: "float64"}, []float64{0.0009}, []float64{0}, true, "largest error 0.0009 at [0]"},
		"beyond absolute":    {task.Output{DType: "float64"}, []float64{0.0011}, []float64{0}, false, "1 of 1 elements differ, first at [0]: 0.0011, the reference has 0"},
		"within relative":    {task.Output{DType: "float32"}, []float32{1000.9}, []float32{1000}, true, "agree"},
		"beyond relative":    {task.Output{DType: "float32"}, []float32{1002}, []float32{1000}, false, "largest error 2 at [0]"},
		"first and worst":    {task.Output{DType: "float64", Shape: []int{2, 3}}, []float64{0, 1, 0, 0, 0, 9}, make([]float64, 6), false, "2 of 6 elements differ, first at [0, 1]: 1, the reference has 0; largest error 9 at [1, 2]"},
		"NaN on one side":    {task.Output{DType: "float64"}, []float64{nan}, []float64{1}, false, "first at [0]: NaN"},
		"NaN on the other":   {task.Output{DType: "float32"}, []float32{1}, []float32{nan32}, false, "the reference has NaN"},
		"NaN on both":        {task.Output{DType: "float64"}, []float64{nan}, []float64{nan}, true, ""},
		"same infinity":      {task.Output{DType: "float64"}, []float64{inf}, []float64{inf}, true, ""},
		"other infinity":     {task.Output{DType: "float64"}, []float64{-inf}, []float64{inf}, false, "-Inf"},
		"infinite reference": {task.Output{DType: "float64"}, []float64{1}, []float64{inf}, false, "+Inf"},
		"negative zero":      {task.Output{DType: "float64"}, []float64{math.Copysign(0, -1)}, []float64{0}, true, ""},
		"integers are exact": {task.Output{DType: "int32"}, []int32{100000}, []int32{100001}, false, "100000, the reference has 100001"},
		"negative integers":  {task.Output{DType: "int8"}, []int8{-3}, []int8{-4}, false, "-3, the reference has -4"},
		"unsigned integers":  {task.Output{DType: "uint64"}, []uint64{math.MaxUint64}, []uint64{0}, false, "18446744073709551615"},
		"bool":               {task.Output{DType: "bool"}, []bool{true}, []bool{false}, false, "true, the reference has false"},
		"bytes":              {task.Output{DType: "bytes"}, []byte("a"), []byte("b"), false, "0x61, the reference has 0x62"},
		"float16":            {task.Output{DType: "float16"}, []uint16{0x3c00, 0x7c00, 0x0001}, []uint16{0x3c01, 0x7c00, 0x0002}, true, "3 elements"},
		"float16 differs":    {task.Output{DType: "float16"}, []uint16{0x3c00}, []uint16{0xbc00}, false, "1, the reference has -1"},
		"bfloat16":           {task.Output{DType: "bfloat16"}, []uint16{0x3f80}, []uint16{0x4000}, false, "1, the reference has 2"},
		"shorter":            {task.Output{DType: "float64"}, []float64{1}, []float64{1, 2}, false, "shape is (1), the reference's is (2)"},
		"wrong shape":        {task.Output{DType: "float32", Shape: []int{2}}, []float32{1}, []float32{1, 2}, false, "it holds 4 bytes, float32 of shape (2) takes 8"},
		"ragged":             {task.Output{DType: "float32"}, []byte("abc"), []float32{1}, false, "no whole number"},
		"empty":              {task.Output{DType: "float32"}, []byte{}, []float32{1}, false, "shape is (0)"},
	} {
		t.Run(name, func(t *testing.T) {
			ok, detail := newPair(t).compare(c.output, c.candidate, c.reference)
			if ok != c.ok || !strings.Contains(detail, c.detail) {
				t.Errorf("ok %v, %q; want %v, %q", ok, detail, c.ok, c.detail)
			}
		})
	}
}

// The trusted side's faults are not the candidate's.
func TestReferenceFaults(t *testing.T) {
	for name, o := range map[string]task.Output{
		"shape": {Path: "out", DType: "float32", Shape: []int{3}}, "dtype": {Path: "out", DType: "complex"},
		"absent": {Path: "other", DType: "bytes"}, "not npy": {Path: "out", DType: "npy"},
		"impossible": {Path: "out", DType: "bytes", Shape: []int{math.MaxInt, math.MaxInt}},
		"negative":   {Path: "out", DType: "bytes", Shape: []int{-1}},
		"escaping":   {Path: "../out", DType: "bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			write(t, p.reference, []float32{1})
			write(t, p.candidate, []float32{1})
			if _, err := Outputs(p.t.Context(), []task.Output{o}, p.reference, p.candidate, tolerance); !errors.Is(err, ErrReference) {
				t.Errorf("error is %v", err)
			}
		})
	}
}

// A comparison ends with its context.
func TestCancelled(t *testing.T) {
	p := newPair(t)
	write(t, p.reference, []float32{1})
	write(t, p.candidate, []float32{1})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Outputs(ctx, []task.Output{{Path: "out", DType: "float32"}}, p.reference, p.candidate, tolerance)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}

func TestCandidateMustBeAPlainFile(t *testing.T) {
	p := newPair(t)
	write(t, p.reference, []byte("x"))
	if err := os.Symlink(filepath.Join(p.reference.Name(), "out"), filepath.Join(p.candidate.Name(), "out")); err != nil {
		t.Fatal(err)
	}
	checks, err := Outputs(p.t.Context(), []task.Output{{Path: "out", DType: "bytes"}}, p.reference, p.candidate, tolerance)
	if err != nil || checks[0].OK || !strings.Contains(checks[0].Detail, "plain file") {
		t.Errorf("checks %+v, error %v", checks, err)
	}
}

// npy builds a file as NumPy writes it, format version 1.
func npy(descr, order, shape string, data []byte) []byte {
	header := fmt.Sprintf("{'descr': '%s', 'fortran_order': %s, 'shape': %s, }", descr, order, shape)
	header += strings.Repeat(" ", 63-(10+len(header))%64) + "\n"
	out := append([]byte("\x93NUMPY\x01\x00"), byte(len(header)), byte(len(header)>>8))
	return append(append(out, header...), data...)
}

func TestNPY(t *testing.T) {
	f4 := func(v ...float32) []byte {
		var b bytes.Buffer
		_ = binary.Write(&b, binary.LittleEndian, v)
		return b.Bytes()
	}
	one := npy("<f4", "False", "(2, 2)", f4(1, 2, 3, 4))
	for name, c := range map[string]struct {
		candidate, reference []byte
		ok                   bool
		detail               string
	}{
		"equal":         {one, one, true, "4 elements agree"},
		"differs":       {npy("<f4", "False", "(2, 2)", f4(1, 2, 9, 4)), one, false, "first at [1, 0]: 9"},
		"other dtype":   {npy("<i4", "False", "(2, 2)", f4(1, 2, 3, 4)), one, false, "dtype is int32, the reference's is float32"},
		"other shape":   {npy("<f4", "False", "(4,)", f4(1, 2, 3, 4)), one, false, "shape is (4), the reference's is (2, 2)"},
		"other order":   {npy("<f4", "True", "(2, 2)", f4(1, 2, 3, 4)), one, false, "memory order"},
		"too short":     {one[:len(one)-1], one, false, "it holds 15 bytes"},
		"no header":     {f4(1, 2, 3, 4), one, false, "not a valid npy file"},
		"big-endian":    {npy(">f4", "False", "(2, 2)", f4(1, 2, 3, 4)), one, false, "big-endian"},
		"objects":       {npy("|O8", "False", "(2, 2)", f4(1, 2, 3, 4)), one, false, "not a valid npy file"},
		"fortran index": {npy("<f4", "True", "(2, 2)", f4(1, 2, 9, 4)), npy("<f4", "True", "(2, 2)", f4(1, 2, 3, 4)), false, "first at [0, 1]"},
		"scalar":        {npy("<f8", "False", "()", make([]byte, 8)), npy("<f8", "False", "()", make([]byte, 8)), true, "1 elements"},
		"bool":          {npy("|b1", "False", "(1,)", []byte{1}), npy("|b1", "False", "(1,)", []byte{0}), false, "true"},
	} {
		t.Run(name, func(t *testing.T) {
			ok, detail := newPair(t).compare(task.Output{DType: "npy"}, c.candidate, c.reference)
			if ok != c.ok || !strings.Contains(detail, c.detail) {
				t.Errorf("ok %v, %q; want %v, %q", ok, detail, c.ok, c.detail)
			}
		})
	}
	if ok, detail := newPair(t).compare(task.Output{DType: "npy", Shape: []int{2, 2}}, npy("<f4", "False", "(4,)", f4(1, 2, 3, 4)), one); ok || !strings.Contains(detail, "declares (2, 2)") {
		t.Errorf("ok %v, %q", ok, detail)
	}
}

// Streaming in chunks changes nothing: one changed element anywhere is found,
// at its place.
func TestOneChangedElementIsFound(t *testing.T) {
	p := newPair(t)
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.SampledFrom([]int{1, 7, chunk - 1, chunk, chunk + 1, 3*chunk + 5}).Draw(t, "n")
		at := rapid.IntRange(0, n-1).Draw(t, "at")
		want := make([]float64, n)
		for i := range want {
			want[i] = float64(i)
		}
		got := append([]float64(nil), want...)
		ok, _ := p.compare(task.Output{DType: "float64"}, got, want)
		if !ok {
			t.Fatal("equal arrays differ")
		}
		got[at] += 1 + got[at]
		ok, detail := p.compare(task.Output{DType: "float64"}, got, want)
		if ok || !strings.Contains(detail, fmt.Sprintf("1 of %d elements differ, first at [%d]", n, at)) {
			t.Fatalf("ok %v, %q", ok, detail)
		}
	})
}

func TestHalf(t *testing.T) {
	for bits, want := range map[uint16]float64{0x3c00: 1, 0xc000: -2, 0x7bff: 65504, 0x0400: 0x1p-14, 0x03ff: 0x1p-14 - 0x1p-24, 0x0001: 0x1p-24, 0x8000: 0, 0xfc00: math.Inf(-1)} {
		if got := half(bits); got != want {
			t.Errorf("half(%#04x) is %v, want %v", bits, got, want)
		}
	}
	if !math.IsNaN(half(0x7e00)) {
		t.Error("half(0x7e00) is a number")
	}
}

// No header makes the reader panic, or promise elements that are not there.
func FuzzNPY(f *testing.F) {
	f.Add(npy("<f4", "False", "(2, 2)", make([]byte, 16)))
	f.Add(npy("<f8", "True", "()", make([]byte, 8)))
	f.Add(npy("|b1", "False", "(0, 99999999999)", nil))
	f.Add(npy("<i2", "False", "(9223372036854775807, 9223372036854775807)", nil))
	f.Add([]byte("\x93NUMPY\x02\x00\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		a := array{data: bufio.NewReader(bytes.NewReader(data)), size: int64(len(data))}
		if err := a.describe(task.Output{DType: "npy"}); err != nil {
			return
		}
		if a.count < 0 || a.count*int64(a.kind.size) > a.size {
			t.Fatalf("%d elements of %d bytes in a file of %d", a.count, a.kind.size, a.size)
		}
		if a.count > 0 {
			_ = a.index(a.count - 1)
		}
	})
}
