package terminal

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fleetune/fleetune/proto/space"
)

// Duration says a duration in its two largest units: "950 ms", "12.3 s",
// "4m05s", "3h20m", "2d04h".
func Duration(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + Duration(-d)
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	case d < time.Minute:
		return strconv.FormatFloat(math.Floor(d.Seconds()*10)/10, 'f', 1, 64) + " s"
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
	}
}

// Ago says how long a moment is past: "12.3 s ago"; nothing for none.
func Ago(at *time.Time, now time.Time) string {
	if at == nil || at.IsZero() {
		return ""
	}
	return Duration(max(now.Sub(*at), 0)) + " ago"
}

// Number writes a number with four significant digits, without an exponent
// where it is of a usual size.
func Number(f float64) string {
	if f == 0 || math.IsInf(f, 0) || math.IsNaN(f) {
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	size := math.Abs(f)
	if size >= 1e9 || size < 1e-4 {
		return strconv.FormatFloat(f, 'e', 3, 64)
	}
	if size >= 1000 {
		return strconv.FormatFloat(math.Round(f*10)/10, 'f', -1, 64)
	}
	digits := max(3-int(math.Floor(math.Log10(size))), 0)
	text := strconv.FormatFloat(f, 'f', digits, 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// Seconds writes a time in the unit that fits.
func Seconds(s float64) string {
	switch size := math.Abs(s); {
	case size >= 1 || size == 0:
		return Number(s) + " s"
	case size >= 1e-3:
		return Number(s*1e3) + " ms"
	default:
		return Number(s*1e6) + " µs"
	}
}

// Quantity writes a metric's value in the unit that fits.
func Quantity(value float64, unit string) string {
	switch unit {
	case "s":
		return Seconds(value)
	case "bytes":
		return Number(value/(1<<30)) + " GiB"
	case "":
		return Number(value)
	default:
		return Number(value) + " " + unit
	}
}

// Count writes a whole number with commas between thousands.
func Count(f float64) string {
	if math.IsInf(f, 0) {
		return "unlimited"
	}
	if f >= 1e15 {
		return strconv.FormatFloat(f, 'e', 2, 64)
	}
	text := strconv.FormatFloat(math.Round(f), 'f', 0, 64)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// Point writes a point as name=value words, as Names orders them.
func Point(p space.Point, order []string) string {
	var words []string
	for _, name := range Names(p, order) {
		words = append(words, name+"="+Value(p[name]))
	}
	return Clean(strings.Join(words, " "))
}

// Names are the parameters of a point: first those in order, then any others
// sorted.
func Names(p space.Point, order []string) []string {
	var names []string
	for _, name := range slices.Concat(order, slices.Sorted(maps.Keys(p))) {
		if _, ok := p[name]; ok && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// Value writes a parameter's value.
func Value(v any) string {
	switch v := v.(type) {
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case string:
		return v
	default:
		return fmt.Sprint(v)
	}
}
