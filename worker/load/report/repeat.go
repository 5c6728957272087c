package report

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/fleetune/fleetune/shared/terminal"
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
	Tag  string  `json:"metric"`
	Unit string  `json:"unit"`
	A    float64 `json:"a"`
	B    float64 `json:"b"`
	// Change is (B−A)/A.
	Change float64 `json:"change"`
	// P is the chance of a difference at least this large were there none, by
	// Welch's t-test; NaN when it cannot be told.
	P float64 `json:"-"`
	// Basis says what was compared: runs, or the requests of one run each.
	Basis   string `json:"basis"`
	Differs bool   `json:"differs"`
	Larger  bool   `json:"more_is_better"`
}

// Verdict says what the difference means.
func (d *Difference) Verdict() string {
	switch {
	case math.IsNaN(d.P):
		return "cannot tell: repeat the runs"
	case d.Differs && (d.B > d.A) == d.Larger:
		return "better"
	case d.Differs:
		return "worse"
	}
	return "within noise"
}

// MarshalJSON writes the verdict too, and null for a p that cannot be told.
func (d Difference) MarshalJSON() ([]byte, error) {
	type plain Difference
	out := struct {
		plain
		P       *float64 `json:"p"`
		Verdict string   `json:"verdict"`
	}{plain: plain(d), Verdict: d.Verdict()}
	if !math.IsNaN(d.P) {
		out.P = &d.P
	}
	return json.Marshal(out)
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
func WriteComparison(s terminal.Screen, in []Difference, alpha float64) error {
	p := &printer{Screen: s}
	t := &terminal.Table{Columns: []terminal.Column{{Title: "Metric", Least: 16}, {Title: "A", Right: true}, {Title: "B", Right: true}, {Title: "change", Right: true},
		{Title: "p", Right: true}, {Title: "verdict", Least: 8}, {Title: "basis", Least: 8}}}
	for _, d := range in {
		chance := "–"
		if !math.IsNaN(d.P) {
			chance = fmt.Sprintf("%.4f", d.P)
		}
		t.Add(fmt.Sprintf("%s (%s)", metrics.Title(d.Tag), d.Unit), figure(d.A), figure(d.B), fmt.Sprintf("%+.1f %%", 100*d.Change), chance, d.Verdict(), d.Basis)
	}
	p.table(t)
	p.line("")
	p.wrapped("", fmt.Sprintf("A difference counts when its p is below %g. Requests of one run share its luck, so repeated runs tell more.", alpha))
	return p.end()
}
