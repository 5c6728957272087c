package terminal_test

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/shared/terminal"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestCleanLeavesNothingThatSteers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := string(rapid.SliceOf(rapid.Byte()).Draw(t, "raw")) + rapid.String().Draw(t, "text")
		for _, r := range terminal.Clean(raw) {
			if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
				t.Fatalf("%q keeps %U", raw, r)
			}
		}
		for _, r := range terminal.CleanText(raw) {
			if unicode.IsControl(r) && r != '\n' && r != '\t' {
				t.Fatalf("%q keeps %U", raw, r)
			}
		}
	})
}

// A table never wraps: no line is wider than the screen, whatever is in it.
func TestTablesFitTheScreen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := terminal.Table{Columns: []terminal.Column{{Title: "NAME", Least: 4}, {Title: "N", Right: true}, {Title: "TEXT", Least: 5, Styled: true}}}
		for range rapid.IntRange(0, 5).Draw(t, "rows") {
			table.Add(rapid.String().Draw(t, "name"), rapid.StringMatching(`[0-9]{1,12}`).Draw(t, "n"), rapid.String().Draw(t, "text"))
		}
		width := rapid.IntRange(1, 120).Draw(t, "width")
		var out bytes.Buffer
		require.NoError(t, table.Print(terminal.Screen{Writer: &out, Width: width}))
		for line := range strings.Lines(out.String()) {
			if w := terminal.Width(strings.TrimRight(line, "\n")); w > width {
				t.Fatalf("%q takes %d of %d columns", line, w, width)
			}
		}
	})
}

func TestWrappedTextFitsAndLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(strings.Fields(terminal.Clean(rapid.String().Draw(t, "text"))), " ")
		width := rapid.IntRange(2, 60).Draw(t, "width")
		lines := terminal.Wrap(text, width)
		for _, line := range lines {
			require.LessOrEqual(t, terminal.Width(line), width)
		}
		require.Equal(t, strings.ReplaceAll(text, " ", ""), strings.ReplaceAll(strings.Join(lines, ""), " ", ""))
	})
	require.Equal(t, []string{"one two", "three"}, terminal.Wrap("one two three", 8))
}

func TestNumbersAreNotCutInTables(t *testing.T) {
	table := terminal.Table{Columns: []terminal.Column{{Title: "#", Right: true}, {Title: "TEXT", Least: 4}}}
	table.Add("12345", strings.Repeat("x", 50))
	var out bytes.Buffer
	require.NoError(t, table.Print(terminal.Screen{Writer: &out, Width: 20}))
	require.Equal(t, "    #  TEXT\n12345  xxxxxxxxxxxx…\n", out.String())
}

func TestNarrowTablesLeaveOutWhatNoRowSays(t *testing.T) {
	table := terminal.Table{Columns: []terminal.Column{{Title: "NAME", Least: 4}, {Title: "DETAIL"}, {Title: "TEXT", Least: 4}}}
	table.Add("a", "", "ten letter")
	for width, want := range map[int]string{0: "NAME  DETAIL  TEXT\na             ten letter\n", 16: "NAME  TEXT\na     ten letter\n"} {
		var out bytes.Buffer
		require.NoError(t, table.Print(terminal.Screen{Writer: &out, Width: width}))
		require.Equal(t, want, out.String())
	}
}

func TestColoursOnlyWhereWanted(t *testing.T) {
	require.Equal(t, "x", terminal.Screen{}.Paint(terminal.Red, "x"))
	require.Equal(t, "\x1b[31mx\x1b[0m", terminal.Screen{Colour: true}.Paint(terminal.Red, "x"))
	require.Equal(t, "x", terminal.Screen{Colour: true}.Paint(terminal.Plain, "x"))
}

func TestFormats(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 ms", 950 * time.Millisecond: "950 ms", 12340 * time.Millisecond: "12.3 s", 59999 * time.Millisecond: "59.9 s",
		245 * time.Second: "4m05s", 200 * time.Minute: "3h20m", 52 * time.Hour: "2d04h", -time.Second: "-1.0 s",
	} {
		require.Equal(t, want, terminal.Duration(d))
	}
	for f, want := range map[float64]string{0: "0", 1: "1", 3.14159: "3.142", 0.00123456: "0.001235", 123456.78: "123456.8",
		1e12: "1.000e+12", 0.00001: "1.000e-05", -2.5: "-2.5", 999.96: "1000"} {
		require.Equal(t, want, terminal.Number(f))
	}
	for f, want := range map[float64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", 1e16: "1.00e+16"} {
		require.Equal(t, want, terminal.Count(f))
	}
	require.Equal(t, "b=2 a=1.5 c=x", terminal.Point(space.Point{"a": 1.5, "b": int64(2), "c": "x"}, []string{"b"}))
}
