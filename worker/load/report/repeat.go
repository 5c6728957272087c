package report

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/fleetune/fleetune/worker/load"
	"github.com/fleetune/fleetune/worker/load/metrics"
)

// Repeat is one figure over repeated runs: of a figure with a distribution,
// each run gives its average.
type Repeat struct {
	Unit   string    `json:"unit"`
	Values []float64 `json:"values"`
	Mean   float64   `json:"mean"`
	Std    float64   `json:"std"` // of the sample
	Min    float64   `json:"min"`
	Max    float64   `json:"max"`
	CV     float64   `json:"cv"` // std / mean
	SE     float64   `json:"se"` // std / √n
	// Low and High bound the mean at Confidence, by Student's t.
	Low        float64 `json:"ci_low"`
	High       float64 `json:"ci_high"`
	Confidence float64 `json:"confidence"`
}

// Repeats sums runs up. Confidence is between 0 and 1, such as 0.95.
func Repeats(runs []*load.Result, confidence float64) map[string]Repeat {
	values := map[string][]float64{}
	units := map[string]string{}
	for _, r := range runs {
		for _, m := range r.Summary.Metrics {
			values[m.Tag] = append(values[m.Tag], m.Stats.Avg)
			units[m.Tag] = m.Unit
		}
	}
	out := map[string]Repeat{}
	for tag, xs := range values {
		if len(xs) == len(runs) {
			out[tag] = repeat(xs, units[tag], confidence)
		}
	}
	return out
}

func repeat(xs []float64, unit string, confidence float64) Repeat {
	r := Repeat{Unit: unit, Values: xs, Min: slices.Min(xs), Max: slices.Max(xs), Confidence: confidence}
	n := float64(len(xs))
	for _, x := range xs {
		r.Mean += x / n
	}
	r.Low, r.High = r.Mean, r.Mean
	if len(xs) < 2 {
		return r
	}
	for _, x := range xs {
		r.Std += (x - r.Mean) * (x - r.Mean) / (n - 1)
	}
	r.Std = math.Sqrt(r.Std)
	r.SE = r.Std / math.Sqrt(n)
	if r.Mean != 0 {
		r.CV = r.Std / math.Abs(r.Mean)
	}
	half := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: n - 1}.Quantile((1+confidence)/2) * r.SE
	r.Low, r.High = r.Mean-half, r.Mean+half
	return r
}

// A Difference is one figure of two benchmarks.
type Difference struct {
	Tag, Unit string
	A, B      float64
	// Change is (B−A)/A.
	Change float64
	// P is the chance of a difference at least this large were there none, by
	// Welch's t-test; NaN when it cannot be told.
	P float64
	// Basis says what was compared: runs, or the requests of one run each.
	Basis   string
	Differs bool
	Larger  bool // more is better
}

// Compare compares two benchmarks. With at least two runs each, runs are the
// samples. With fewer, the requests are, which understates the noise: requests
// of one run share its luck. Figures of single runs cannot be judged.
func Compare(a, b *Document, alpha float64) []Difference {
	var out []Difference
	for _, tag := range append(append([]string{}, rows...), totals...) {
		ma, okA := a.Metrics[tag]
		mb, okB := b.Metrics[tag]
		if !okA || !okB {
			continue
		}
		d := Difference{Tag: tag, Unit: ma.Unit, A: ma.Avg, B: mb.Avg, P: math.NaN(), Basis: "one run each", Larger: metrics.LargerIsBetter(tag)}
		ra, rb := a.Runs[tag], b.Runs[tag]
		switch {
		case len(ra.Values) > 1 && len(rb.Values) > 1:
			d.A, d.B, d.Basis = ra.Mean, rb.Mean, fmt.Sprintf("%d and %d runs", len(ra.Values), len(rb.Values))
			d.P = welch(ra.Mean, ra.Std, len(ra.Values), rb.Mean, rb.Std, len(rb.Values))
		case ma.Count != nil && mb.Count != nil && *ma.Count > 1 && *mb.Count > 1:
			d.Basis = "requests of one run each"
			d.P = welch(ma.Avg, *ma.Std, *ma.Count, mb.Avg, *mb.Std, *mb.Count)
		}
		if d.A != 0 {
			d.Change = (d.B - d.A) / math.Abs(d.A)
		}
		d.Differs = d.P < alpha
		out = append(out, d)
	}
	return out
}

// welch is the two-sided p-value of Welch's t-test (Welch, 1947).
func welch(meanA, stdA float64, nA int, meanB, stdB float64, nB int) float64 {
	va, vb := stdA*stdA/float64(nA), stdB*stdB/float64(nB)
	if va+vb == 0 {
		if meanA == meanB {
			return 1
		}
		return 0
	}
	t := math.Abs(meanA-meanB) / math.Sqrt(va+vb)
	nu := (va + vb) * (va + vb) / (va*va/float64(nA-1) + vb*vb/float64(nB-1))
	return 2 * distuv.StudentsT{Mu: 0, Sigma: 1, Nu: nu}.Survival(t)
}

// WriteComparison writes the differences for people.
func WriteComparison(w io.Writer, in []Difference, alpha float64) error {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(t, "Metric\tA\tB\tchange\tp\tverdict\tbasis\t") // into memory
	for _, d := range in {
		verdict, p := "within noise", fmt.Sprintf("%.4f", d.P)
		switch {
		case math.IsNaN(d.P):
			verdict, p = "cannot tell: repeat the runs", "-"
		case d.Differs && (d.B > d.A) == d.Larger:
			verdict = "better"
		case d.Differs:
			verdict = "worse"
		}
		_, _ = fmt.Fprintf(t, "%s (%s)\t%s\t%s\t%+.1f %%\t%s\t%s\t%s\t\n", metrics.Title(d.Tag), d.Unit, decimals(d.A), decimals(d.B), 100*d.Change, p, verdict, d.Basis)
	}
	_ = t.Flush()
	fmt.Fprintf(&b, "\nA difference counts when its p is below %g. Requests of one run share its luck, so repeated runs tell more.\n", alpha)
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("writing the comparison: %w", err)
	}
	return nil
}
