package chart

import (
	"encoding/xml"
	"errors"
	"html/template"
	"io"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Whatever is drawn lies on the drawing, and the drawing is well-formed.
func TestPlotsStayOnTheirDrawing(t *testing.T) {
	page := template.New("page")
	require.NoError(t, Add(page))
	rapid.Check(t, func(t *rapid.T) {
		positive := rapid.Float64Range(1e-3, 1e9)
		p := &Plot{ID: "p", Title: rapid.String().Draw(t, "title"), LogX: rapid.Bool().Draw(t, "log x"), LogY: rapid.Bool().Draw(t, "log y"), Ground: rapid.Bool().Draw(t, "ground")}
		p.Series = []Series{{Name: "<s>", Class: "line1 quiet", Line: rapid.SampledFrom([]string{"", "step", "straight"}).Draw(t, "line"), Fill: rapid.Bool().Draw(t, "fill")}}
		for range rapid.IntRange(0, 5).Draw(t, "dots") {
			p.Series[0].Dots = append(p.Series[0].Dots, Dot{X: positive.Draw(t, "x"), Y: positive.Draw(t, "y"), Label: "d"})
		}
		f := p.Frame()
		within := func(text string, low, high float64) {
			v, err := strconv.ParseFloat(text, 64)
			require.NoError(t, err)
			require.False(t, v < low-0.2 || v > high+0.2 || math.IsNaN(v), "%v is outside %v to %v", v, low, high)
		}
		for _, d := range p.Series[0].Dots {
			within(f.PX(d.X), left, right)
			within(f.PY(d.Y), top, bottomAt)
		}
		for _, tick := range f.XTicks() {
			within(tick.At, left, right)
			require.NotEqual(t, "-0", tick.Label)
		}
		for _, tick := range f.YTicks() {
			within(tick.At, top, bottomAt)
		}
		var b strings.Builder
		require.NoError(t, page.ExecuteTemplate(&b, "plot", p))
		require.NotContains(t, b.String(), "NaN")
		_, svg, _ := strings.Cut(b.String(), "<svg")
		svg, _, _ = strings.Cut(svg, "</svg>")
		d := xml.NewDecoder(strings.NewReader("<svg" + svg + "</svg>"))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestPolicy(t *testing.T) {
	require.NotContains(t, Policy("a", ""), "script-src")
	require.Contains(t, Policy("a", "b"), "script-src 'sha256-")
}
