package report

import (
	"cmp"
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
	// Worst and Best are the ends of the scale of colours.
	Worst string `json:"worst"`
	Best  string `json:"best"`
	Note  string `json:"note,omitempty"`
}

// An Axis is one of them. Values are numbers; or names, evenly spaced, where
// any is none, and where there are so few that each can have its name.
type Axis struct {
	Name  string   `json:"name"`
	Names []string `json:"names,omitempty"`
	Low   float64  `json:"low"`
	High  float64  `json:"high"`
	// Log says that places go by proportion.
	Log bool `json:"log,omitempty"`
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
	parallelSpacing = 150.0
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

// Shades are the steps of colour, the worst first, for the scale.
func (p *Parallel) Shades() []int {
	list := make([]int, shades)
	for i := range list {
		list[i] = i
	}
	return list
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
		value := a.Low + at*(a.High-a.Low)
		if a.Log {
			value = a.Low * math.Pow(a.High/a.Low, at)
		}
		ticks = append(ticks, chart.Tick{At: p.PY(at), Label: chart.Number(value)})
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

// fewLevels is up to how many values each has its name on the axis: batch
// sizes from 8 to 256 would crowd at the foot of a linear one.
const fewLevels = 10

// axisOf makes an axis of values, and says where each lies on it. Few numbers
// that a user chose stand evenly; others by size, by proportion where they are
// far apart.
func axisOf(name string, values []any, chosen bool) (Axis, []float64) {
	a := Axis{Name: name, Low: math.Inf(1), High: math.Inf(-1)}
	numbers := make([]float64, len(values))
	levels := map[float64]bool{}
	for i, v := range values {
		n, ok := asNumber(v)
		if !ok {
			return namedAxis(name, values)
		}
		numbers[i] = n
		levels[n] = true
		a.Low, a.High = min(a.Low, n), max(a.High, n)
	}
	if chosen && len(levels) <= fewLevels {
		return namedAxis(name, values)
	}
	a.Log = a.Low > 1/huge && a.High > steep*a.Low
	at := make([]float64, len(values))
	for i, n := range numbers {
		at[i] = share(n, a.Low, a.High)
		if a.Log {
			at[i] = share(math.Log(n), math.Log(a.Low), math.Log(a.High))
		}
	}
	return a, at
}

func namedAxis(name string, values []any) (Axis, []float64) {
	a := Axis{Name: name}
	order := slices.Clone(values)
	slices.SortStableFunc(order, func(a, b any) int {
		x, numberX := asNumber(a)
		y, numberY := asNumber(b)
		switch {
		case numberX && numberY:
			return cmp.Compare(x, y)
		case numberX:
			return 1 // numbers stand above names, and above a dash
		case numberY:
			return -1
		}
		return cmp.Compare(nameOf(a), nameOf(b))
	})
	for _, v := range order {
		if text := nameOf(v); !slices.Contains(a.Names, text) {
			a.Names = append(a.Names, text)
		}
	}
	a.High = float64(len(a.Names) - 1)
	at := make([]float64, len(values))
	for i, v := range values {
		at[i] = share(float64(slices.Index(a.Names, nameOf(v))), 0, a.High)
	}
	return a, at
}

// nameOf is what a value is called on an axis; a dash stands for none.
func nameOf(v any) string {
	if v == nil {
		return "–"
	}
	return terminal.Value(v)
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
