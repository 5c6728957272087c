// Package chart draws plots as SVG inside pages that need nothing else: no
// script, no network. A Plot holds figures in their own units; its Frame places
// them on the drawing, and the template "plot" writes it with the styles of
// Style.
package chart

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
)

//go:embed plot.html
var plotText string

//go:embed style.css
var style string

// Style is the style sheet of Fleetune's pages and their plots, light and dark.
func Style() string { return style }

// Policy lets a page's own style and script run and nothing else: no request
// leaves it.
func Policy(style, script string) string {
	hash := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	policy := "default-src 'none'; style-src " + hash(style)
	if script != "" {
		policy += "; script-src " + hash(script)
	}
	return policy + "; img-src data:; base-uri 'none'; form-action 'none'"
}

// Add gives a page's template the one named "plot", which takes a *Plot.
func Add(t *template.Template) error {
	if _, err := t.Parse(plotText); err != nil {
		return fmt.Errorf("reading the plot's template: %w", err)
	}
	return nil
}

// A Plot is a chart with two axes, in the figures' own units; Frame turns it
// into places on the page.
type Plot struct {
	ID     string `json:"id"`
	Title  string `json:"title"`
	XLabel string `json:"x_label"`
	YLabel string `json:"y_label"`
	// Categories stand along the x axis where it has no numbers.
	Categories []string `json:"categories,omitempty"`
	LogX       bool     `json:"log_x,omitempty"`
	LogY       bool     `json:"log_y,omitempty"`
	// Ground keeps 0 on the y axis.
	Ground bool     `json:"ground,omitempty"`
	Series []Series `json:"series"`
	Rules  []Rule   `json:"rules,omitempty"`
	Note   string   `json:"note,omitempty"`
}

// A Series is points, joined by a line or not.
type Series struct {
	Name string `json:"name"`
	// Class is the style: best, baseline, front, failed, other, or line1 to
	// line6; with "quiet" beside it, dots show only to who points at them.
	Class string `json:"class"`
	// Line is empty, straight or step; Fill shades what is below it.
	Line string `json:"line,omitempty"`
	Fill bool   `json:"fill,omitempty"`
	Dots []Dot  `json:"dots"`
}

// A Dot is one point. Its label is what a reader sees who points at it.
type Dot struct {
	X     float64 `json:"x"`
	Y     float64 `json:"y"`
	Label string  `json:"label,omitempty"`
}

// A Rule is a horizontal line across the plot.
type Rule struct {
	Y     float64 `json:"y"`
	Label string  `json:"label"`
	Class string  `json:"class"`
}

// The size of a plot's drawing and of the area within it, in its own units.
const (
	plotWidth, plotHeight      = 640.0, 300.0
	left, right, top, bottomAt = 74.0, 626.0, 14.0, 250.0
)

// A Frame places a plot's figures on its drawing.
type Frame struct {
	Plot
	lowX, highX, lowY, highY float64
}

// Frame finds the ranges that hold all of the plot.
func (p Plot) Frame() Frame {
	f := Frame{Plot: p, lowX: math.Inf(1), highX: math.Inf(-1), lowY: math.Inf(1), highY: math.Inf(-1)}
	for _, s := range p.Series {
		for _, d := range s.Dots {
			f.lowX, f.highX = min(f.lowX, d.X), max(f.highX, d.X)
			f.lowY, f.highY = min(f.lowY, d.Y), max(f.highY, d.Y)
		}
	}
	for _, r := range p.Rules {
		f.lowY, f.highY = min(f.lowY, r.Y), max(f.highY, r.Y)
	}
	if n := len(p.Categories); n > 0 {
		f.lowX, f.highX = -0.3, float64(n)-0.7
	}
	if p.LogX {
		low, high := widen(math.Log10(f.lowX), math.Log10(f.highX), 0.02)
		f.lowX, f.highX = math.Pow(10, low), math.Pow(10, high)
	} else {
		f.lowX, f.highX = widen(f.lowX, f.highX, 0.02)
	}
	if p.LogY {
		low, high := widen(math.Log10(f.lowY), math.Log10(f.highY), 0.06)
		f.lowY, f.highY = math.Pow(10, low), math.Pow(10, high)
		return f
	}
	low, high := widen(f.lowY, f.highY, 0.06)
	if f.lowY >= 0 && (low < 0 || p.Ground || f.lowY < f.highY/3) {
		low = 0 // near the ground the ground belongs to the picture
	}
	f.lowY, f.highY = low, high
	return f
}

// least is the size below which a difference is none.
const least = 1e-100

// widen leaves some room at both ends, and makes a range of a single value.
func widen(low, high, by float64) (float64, float64) {
	if math.IsInf(low, 0) || math.IsInf(high, 0) {
		return 0, 1
	}
	room := (high - low) * by
	if room < least {
		room = max(math.Abs(high)*0.1, 1e-9)
	}
	return low - room, high + room
}

// PX is where an x lies.
func (f Frame) PX(x float64) string {
	at := (x - f.lowX) / (f.highX - f.lowX)
	if f.LogX {
		at = (math.Log10(x) - math.Log10(f.lowX)) / (math.Log10(f.highX) - math.Log10(f.lowX))
	}
	return Px(left + at*(right-left))
}

// PY is where a y lies; up is more.
func (f Frame) PY(y float64) string {
	at := (y - f.lowY) / (f.highY - f.lowY)
	if f.LogY {
		at = (math.Log10(y) - math.Log10(f.lowY)) / (math.Log10(f.highY) - math.Log10(f.lowY))
	}
	return Px(bottomAt - at*(bottomAt-top))
}

// Above is where a label stands above a rule.
func (f Frame) Above(y float64) string {
	at, err := strconv.ParseFloat(f.PY(y), 64)
	if err != nil {
		return Px(top)
	}
	return Px(max(at-4, top+8))
}

// Path joins a series' dots.
func (f Frame) Path(s Series) string {
	var b strings.Builder
	for i, d := range s.Dots {
		switch {
		case i == 0:
			b.WriteString("M" + f.PX(d.X) + " " + f.PY(d.Y))
		case s.Line == "step":
			b.WriteString("H" + f.PX(d.X) + "V" + f.PY(d.Y))
		default:
			b.WriteString("L" + f.PX(d.X) + " " + f.PY(d.Y))
		}
	}
	return b.String()
}

// Shade is the area between a series' line and the ground.
func (f Frame) Shade(s Series) string {
	if len(s.Dots) == 0 {
		return ""
	}
	ground := Px(bottomAt)
	return f.Path(s) + "V" + ground + "H" + f.PX(s.Dots[0].X) + "Z"
}

// A Tick is a marked place of an axis.
type Tick struct {
	At    string
	Label string
}

// XTicks mark the x axis.
func (f Frame) XTicks() []Tick {
	var ticks []Tick
	if n := len(f.Categories); n > 0 {
		every := (n + 11) / 12
		for i, c := range f.Categories {
			if i%every == 0 {
				ticks = append(ticks, Tick{f.PX(float64(i)), Shorten(c, 14)})
			}
		}
		return ticks
	}
	values := nice(f.lowX, f.highX, 8)
	if f.LogX {
		values = decades(f.lowX, f.highX)
	}
	for _, v := range values {
		ticks = append(ticks, Tick{f.PX(v), Number(v)})
	}
	return ticks
}

// YTicks mark the y axis.
func (f Frame) YTicks() []Tick {
	var ticks []Tick
	values := nice(f.lowY, f.highY, 5)
	if f.LogY {
		values = decades(f.lowY, f.highY)
	}
	for _, v := range values {
		ticks = append(ticks, Tick{f.PY(v), Number(v)})
	}
	return ticks
}

// nice lists round values within a range: steps of 1, 2 or 5 times a power of
// ten, about n of them.
func nice(low, high float64, n int) []float64 {
	raw := (high - low) / float64(n)
	if !(raw > 0) || math.IsInf(raw, 0) {
		return nil
	}
	size := math.Pow(10, math.Floor(math.Log10(raw)))
	step := 10 * size
	for _, m := range []float64{1, 2, 5} {
		if m*size >= raw {
			step = m * size
			break
		}
	}
	var list []float64
	for k := math.Ceil(low / step); k*step <= high && len(list) < 4*n; k++ {
		list = append(list, k*step)
	}
	return list
}

// decades lists 1, 2 and 5 times powers of ten; the powers alone where those
// are many.
func decades(low, high float64) []float64 {
	steps := []float64{1, 2, 5}
	if math.Log10(high/low) > 2.5 {
		steps = steps[:1]
	}
	var list []float64
	for p := math.Floor(math.Log10(low)); p <= math.Log10(high); p++ {
		for _, m := range steps {
			if v := m * math.Pow(10, p); v >= low && v <= high {
				list = append(list, v)
			}
		}
	}
	return list
}

// Px writes a place on a drawing.
func Px(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) }

// Number writes a number with four significant digits.
func Number(v float64) string {
	if v == 0 {
		return "0" // of either sign
	}
	text := strconv.FormatFloat(v, 'g', 4, 64)
	if strings.Contains(text, "e") && math.Abs(v) >= 1e-4 && math.Abs(v) < 1e9 {
		text = strconv.FormatFloat(math.Round(v), 'f', -1, 64)
	}
	return text
}

// Shorten cuts text to n characters, with a sign that it did.
func Shorten(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
