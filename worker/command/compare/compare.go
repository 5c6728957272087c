// Package compare is the trusted judge of the correctness gate: it compares
// the arrays that a candidate wrote with those of the reference. It shares no
// code with either, reads plain files only, and streams them, so that an
// output of any size costs a few buffers.
//
// Floating-point elements agree when |candidate-reference| <= Absolute +
// Relative*|reference|, or when both are the same infinity or both NaN; the
// types below float32 are widened exactly. Integers, booleans and bytes must be
// equal: a tolerance on an index or a label has no meaning.
package compare

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/task"
)

// ErrReference says that the trusted side is at fault: an output of the
// reference is missing or is not what the task declares.
var ErrReference = errors.New("reference output")

// Outputs compares every declared output, in order, one check each. The error
// wraps ErrReference, around what ended the context if that is why; whatever is
// wrong with the candidate is a failed check.
func Outputs(ctx context.Context, outputs []task.Output, reference, candidate *os.Root, tol task.Tolerance) ([]experiment.Check, error) {
	var checks []experiment.Check
	for _, o := range outputs {
		detail, err := one(ctx, o, reference, candidate, tol)
		if err != nil {
			return checks, fmt.Errorf("%w %q: %w", ErrReference, o.Path, err)
		}
		checks = append(checks, experiment.Check{Name: o.Path, OK: detail.ok, Detail: detail.text})
	}
	return checks, nil
}

// Failed returns the first failed check, or nil.
func Failed(checks []experiment.Check) *experiment.Check {
	if i := slices.IndexFunc(checks, func(c experiment.Check) bool { return !c.OK }); i >= 0 {
		return &checks[i]
	}
	return nil
}

type verdict struct {
	ok   bool
	text string
}

func wrong(format string, args ...any) verdict { return verdict{text: fmt.Sprintf(format, args...)} }

func one(ctx context.Context, o task.Output, reference, candidate *os.Root, tol task.Tolerance) (verdict, error) {
	want, err := open(reference, o)
	if err != nil {
		return verdict{}, err
	}
	defer want.close()
	got, err := open(candidate, o)
	if err != nil {
		return wrong("%v", err), nil
	}
	defer got.close()
	if got.dtype != want.dtype {
		return wrong("dtype is %s, the reference's is %s", got.dtype, want.dtype), nil
	}
	if !slices.Equal(got.shape, want.shape) {
		return wrong("shape is %s, the reference's is %s", shapeText(got.shape), shapeText(want.shape)), nil
	}
	if got.fortran != want.fortran {
		return wrong("the memory order differs from the reference's (Fortran order: %v, %v)", got.fortran, want.fortran), nil
	}
	return elements(ctx, got, want, tol)
}

// elements compares two arrays of the same dtype, shape and order.
func elements(ctx context.Context, got, want *array, tol task.Tolerance) (verdict, error) {
	t := tally{first: -1}
	a, b := make([]byte, chunk*want.kind.size), make([]byte, chunk*want.kind.size)
	for left := want.count; left > 0; {
		if err := context.Cause(ctx); err != nil {
			return verdict{}, err
		}
		n := int(min(left, chunk))
		if _, err := io.ReadFull(want.data, b[:n*want.kind.size]); err != nil {
			return verdict{}, fmt.Errorf("reading: %w", err)
		}
		if _, err := io.ReadFull(got.data, a[:n*want.kind.size]); err != nil {
			return wrong("reading: %v", err), nil
		}
		t.add(want.kind, a[:n*want.kind.size], b[:n*want.kind.size], tol)
		left -= int64(n)
	}
	return t.verdict(want), nil
}

// chunk is how many elements are compared at a time.
const chunk = 8192

// tally counts differing elements and remembers the first and the worst.
type tally struct {
	seen, differing, first int64
	firstGot, firstWant    string
	maxError               float64
	maxAt                  int64
}

func (t *tally) add(k kind, got, want []byte, tol task.Tolerance) {
	for i := 0; i < len(want); i, t.seen = i+k.size, t.seen+1 {
		x, y := got[i:i+k.size], want[i:i+k.size]
		if k.float == nil {
			if string(x) != string(y) {
				t.differ(k.text(x), k.text(y))
			}
			continue
		}
		a, b := k.float(x), k.float(y)
		if a == b || math.IsNaN(a) && math.IsNaN(b) {
			continue
		}
		if e := math.Abs(a - b); e > t.maxError && !math.IsInf(e, 0) {
			t.maxError, t.maxAt = e, t.seen
		}
		if !within(a, b, tol) {
			t.differ(k.text(x), k.text(y))
		}
	}
}

// within holds for finite numbers only: with an infinity or NaN on one side the
// sides differ, however large the tolerance.
func within(a, b float64, tol task.Tolerance) bool {
	if math.IsNaN(a) || math.IsNaN(b) || math.IsInf(a, 0) || math.IsInf(b, 0) {
		return false
	}
	return math.Abs(a-b) <= tol.Absolute+tol.Relative*math.Abs(b)
}

func (t *tally) differ(got, want string) {
	if t.differing++; t.first < 0 {
		t.first, t.firstGot, t.firstWant = t.seen, got, want
	}
}

func (t *tally) verdict(a *array) verdict {
	worst := ""
	if t.maxError > 0 {
		worst = fmt.Sprintf("; largest error %.6g at %s", t.maxError, a.index(t.maxAt))
	}
	if t.differing == 0 {
		return verdict{ok: true, text: fmt.Sprintf("%d elements agree%s", t.seen, worst)}
	}
	return wrong("%d of %d elements differ, first at %s: %s, the reference has %s%s",
		t.differing, t.seen, a.index(t.first), t.firstGot, t.firstWant, worst)
}

// open opens an output and reads what it says about itself.
func open(root *os.Root, o task.Output) (*array, error) {
	info, err := root.Lstat(o.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("it was not written")
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a plain file")
	}
	f, err := root.Open(o.Path)
	if err != nil {
		return nil, err
	}
	a := &array{file: f, data: bufio.NewReaderSize(f, 1<<16), size: info.Size()}
	if err := a.describe(o); err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

func shapeText(shape []int) string {
	parts := make([]string, len(shape))
	for i, n := range shape {
		parts[i] = fmt.Sprint(n)
	}
	return "(" + strings.Join(parts, ", ") + ")"
}
