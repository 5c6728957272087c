package report

import (
	"math"
	"slices"
	"strings"

	"github.com/fleetune/fleetune/shared/chart"
	"github.com/fleetune/fleetune/shared/terminal"
)

// A Parallel chart has an axis for each parameter and one for the objective;
// every experiment is a line across them.
type Parallel struct {
	Axes  []Axis `json:"axes"`
	Lines []Line `json:"lines"`
	Note  string `json:"note,omitempty"`
}

// An Axis is one of them. Values are numbers, or names in order where any is
// none.
type Axis struct {
	Name  string   `json:"name"`
	Names []string `json:"names,omitempty"`
	Low   float64  `json:"low"`
	High  float64  `json:"high"`
}

// A Line is an experiment: its place on every axis, from 0 at the bottom to 1.
type Line struct {
	Number int       `json:"number"`
	Class  string    `json:"class"`
	At     []float64 `json:"at"`
	Label  string    `json:"label"`
}

// The size of the drawing.
const (
	parallelHeight  = 320.0
	parallelTop     = 30.0
	parallelBottom  = 285.0
	parallelSpacing = 130.0
	parallelMargin  = 70.0
)

// Width of the drawing.
func (p *Parallel) Width() string {
	return chart.Px(2*parallelMargin + parallelSpacing*float64(len(p.Axes)-1))
}

// PX is where the i-th axis stands.
func (p *Parallel) PX(i int) string { return chart.Px(parallelMargin + parallelSpacing*float64(i)) }

// PY is where a place from 0 to 1 lies.
func (p *Parallel) PY(at float64) string {
	return chart.Px(parallelBottom - at*(parallelBottom-parallelTop))
}

// Path is the way of a line across the axes.
func (p *Parallel) Path(l Line) string {
	var b strings.Builder
	for i, at := range l.At {
		command := "L"
		if i == 0 {
			command = "M"
		}
		b.WriteString(command + p.PX(i) + " " + p.PY(at))
	}
	return b.String()
}

// Places lists where a line crosses the axes, for the script that selects.
func (l Line) Places() string {
	words := make([]string, len(l.At))
	for i, at := range l.At {
		words[i] = chart.Px(at * 1000)
	}
	return strings.Join(words, " ")
}

// Ticks mark an axis.
func (p *Parallel) Ticks(a Axis) []chart.Tick {
	var ticks []chart.Tick
	if len(a.Names) > 0 {
		every := (len(a.Names) + 11) / 12
		for i, name := range a.Names {
			if i%every == 0 {
				ticks = append(ticks, chart.Tick{At: p.PY(share(float64(i), 0, float64(len(a.Names)-1))), Label: chart.Shorten(name, 16)})
			}
		}
		return ticks
	}
	for i := range 5 {
		at := float64(i) / 4
		ticks = append(ticks, chart.Tick{At: p.PY(at), Label: chart.Number(a.Low + at*(a.High-a.Low))})
	}
	return ticks
}

// share is how far a value lies in a range; the middle of a range of nothing.
func share(v, low, high float64) float64 {
	if high <= low {
		return 0.5
	}
	return (v - low) / (high - low)
}

// axisOf makes an axis of values, and says where each lies on it.
func axisOf(name string, values []any) (Axis, []float64) {
	a := Axis{Name: name, Low: math.Inf(1), High: math.Inf(-1)}
	numbers := make([]float64, len(values))
	for i, v := range values {
		n, ok := asNumber(v)
		if !ok {
			return namedAxis(name, values)
		}
		numbers[i] = n
		a.Low, a.High = min(a.Low, n), max(a.High, n)
	}
	at := make([]float64, len(values))
	for i, n := range numbers {
		at[i] = share(n, a.Low, a.High)
	}
	return a, at
}

func namedAxis(name string, values []any) (Axis, []float64) {
	a := Axis{Name: name}
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = "–"
		if v != nil {
			texts[i] = terminal.Value(v)
		}
		if !slices.Contains(a.Names, texts[i]) {
			a.Names = append(a.Names, texts[i])
		}
	}
	slices.Sort(a.Names)
	a.High = float64(len(a.Names) - 1)
	at := make([]float64, len(values))
	for i, text := range texts {
		at[i] = share(float64(slices.Index(a.Names, text)), 0, a.High)
	}
	return a, at
}

func asNumber(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, finite(v)
	case int64:
		return float64(v), true
	case int:
		return float64(v), true
	}
	return 0, false
}
