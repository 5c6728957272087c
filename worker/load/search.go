package load

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/fleetune/fleetune/worker/load/metrics"
)

// A Point is one load of a sweep or search and what it gave.
type Point struct {
	Load   float64 // concurrency, or requests per second
	Meets  bool
	Result *Result
}

// Probe runs one load.
type Probe func(ctx context.Context, load float64) (*Result, error)

// Sweep runs the loads one after another. It ends early with what it has when
// ctx ends; a load at which every request failed is kept like any other.
func Sweep(ctx context.Context, loads []float64, target Attainment, probe Probe) ([]Point, error) {
	var out []Point
	for _, x := range loads {
		p, err := target.point(ctx, x, probe)
		if err != nil {
			return out, err
		}
		out = append(out, p)
		if ctx.Err() != nil {
			break
		}
	}
	return out, nil //nolint:nilerr // a run that is stopped tells what it has
}

// Attainment says when a load meets its SLOs.
type Attainment struct {
	// Good is the least share of all requests, failures included, that must
	// keep every SLO; 0 means 0.95.
	Good float64
	// HasSLOs is set when the runs carry SLOs; without, only errors count.
	HasSLOs bool
}

// Met reports whether a result attains the target.
func (a Attainment) Met(r *Result) bool {
	want := a.Good
	if want == 0 {
		want = 0.95
	}
	valid, bad := r.Summary.Value(metrics.TagRequestCount), r.Summary.Value(metrics.TagErrorCount)
	if valid == 0 {
		return false
	}
	good := valid
	if a.HasSLOs {
		good = r.Summary.Value(metrics.TagGoodCount)
	}
	if d := r.Drive; d != nil { // an open loop that could not send its requests did not carry the load
		bad += float64(d.Skipped)
		if d.Elapsed > 0 {
			bad += d.Lost.Seconds() * float64(d.Issued) / d.Elapsed.Seconds()
		}
	}
	return good/(valid+bad) >= want
}

func (a Attainment) point(ctx context.Context, x float64, probe Probe) (Point, error) {
	res, err := probe(ctx, x)
	if err != nil && !errors.Is(err, ErrAllFailed) && !errors.Is(err, ErrTooManyFailed) {
		return Point{}, fmt.Errorf("load %v: %w", x, err)
	}
	return Point{Load: x, Meets: a.Met(res), Result: res}, nil
}

// SearchSpec bounds a search for the highest load.
type SearchSpec struct {
	// Least and Most load to try, Least above 0.
	Least, Most float64
	// Whole searches whole numbers, as concurrencies are.
	Whole bool
	// Tolerance is the relative width at which the search ends; 0 means 0.05.
	Tolerance  float64
	Attainment Attainment
}

// Search finds the highest load that meets its SLOs, taking it that a load
// above one that misses them misses them too. It doubles from the least load
// until one misses, then halves the gap. The points come in the order they
// were run; best is the highest that met, or nil when none did.
func Search(ctx context.Context, spec SearchSpec, probe Probe) (points []Point, best *Point, err error) {
	if !(spec.Least > 0) || spec.Most < spec.Least {
		return nil, nil, fmt.Errorf("a search needs bounds above 0, got %v to %v", spec.Least, spec.Most)
	}
	s := &search{spec: spec, probe: probe}
	low, high := 0.0, math.Inf(1)
	for x := spec.Least; err == nil && ctx.Err() == nil; x = math.Min(2*x, spec.Most) {
		var meets bool
		if meets, err = s.try(ctx, x); err != nil || ctx.Err() != nil {
			break
		}
		if !meets {
			high = x
			break
		}
		if low = x; x >= spec.Most {
			return s.points, s.best(), nil
		}
	}
	for err == nil && ctx.Err() == nil && low > 0 && !s.narrow(low, high) {
		mid := (low + high) / 2
		if spec.Whole {
			mid = math.Floor(mid)
		}
		var meets bool
		if meets, err = s.try(ctx, mid); meets {
			low = mid
		} else {
			high = mid
		}
	}
	return s.points, s.best(), err
}

type search struct {
	spec   SearchSpec
	probe  Probe
	points []Point
}

func (s *search) try(ctx context.Context, x float64) (bool, error) {
	p, err := s.spec.Attainment.point(ctx, x, s.probe)
	if err != nil {
		return false, err
	}
	if ctx.Err() != nil {
		return false, nil //nolint:nilerr // a run cut short says nothing about its load
	}
	s.points = append(s.points, p)
	return p.Meets, nil
}

func (s *search) narrow(low, high float64) bool {
	tolerance := s.spec.Tolerance
	if tolerance == 0 {
		tolerance = 0.05
	}
	return s.spec.Whole && high-low <= 1 || high-low <= tolerance*low
}

func (s *search) best() *Point {
	var best *Point
	for i := range s.points {
		if p := &s.points[i]; p.Meets && (best == nil || p.Load > best.Load) {
			best = p
		}
	}
	return best
}
