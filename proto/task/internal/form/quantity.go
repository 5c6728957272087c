package form

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/fleetune/fleetune/proto/task/internal/document"
)

// MaxDuration bounds every duration of a task file, in a task and in its
// stored form.
const MaxDuration = 10 * 365 * 24 * time.Hour

// A Duration is a number of seconds or a text with units ("1h30m"), not
// negative.
type Duration time.Duration

// BindNode reads seconds or a text.
func (d *Duration) BindNode(b *document.Binder, n *document.Node, at string) {
	if value, ok := bindDuration(b, n, at, 0); ok {
		*d = Duration(value)
	}
}

// A Timeout is a Duration above 0.
type Timeout time.Duration

// BindNode reads seconds or a text.
func (t *Timeout) BindNode(b *document.Binder, n *document.Node, at string) {
	if value, ok := bindDuration(b, n, at, 1); ok {
		*t = Timeout(value)
	}
}

// A Limit is what a promise allows, in seconds: a number or a text with units.
// Whether it makes sense is for the decoder.
type Limit float64

// BindNode reads seconds or a text.
func (l *Limit) BindNode(b *document.Binder, n *document.Node, at string) {
	if f, ok := n.Number(); ok {
		*l = Limit(f)
		return
	}
	if d, ok := bindDuration(b, n, at, 0); ok {
		*l = Limit(d.Seconds())
	}
}

func bindDuration(b *document.Binder, n *document.Node, at string, least time.Duration) (time.Duration, bool) {
	const example = `seconds or a text with units, as in 90 or "1h30m"`
	var d time.Duration
	err := errNoDuration
	if _, ok := n.Number(); ok {
		d, err = Seconds(n.Source)
	} else if n.Kind == document.Text {
		d, err = ParseDuration(n.Source)
	}
	switch {
	case errors.Is(err, errTooLong):
		b.Mismatch(n, at, "at most ten years")
	case err != nil:
		b.Mismatch(n, at, example)
	case d < 0:
		b.Mismatch(n, at, example+", not negative")
	case d < least:
		b.Mismatch(n, at, "a time above 0")
	default:
		return d, true
	}
	return 0, false
}

var (
	errNoDuration = errors.New("not a duration")
	errTooLong    = errors.New("longer than ten years")
)

var plainSeconds = regexp.MustCompile(`^([0-9]{1,9})(?:\.([0-9]{1,9}))?$`)

// Seconds reads a decimal number of seconds, exact to the nanosecond where it
// is written without an exponent.
func Seconds(text string) (time.Duration, error) {
	if m := plainSeconds.FindStringSubmatch(text); m != nil {
		whole, err := strconv.ParseInt(m[1], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%w: %q", errNoDuration, text)
		}
		nanos, err := strconv.ParseInt((m[2] + "000000000")[:9], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%w: %q", errNoDuration, text)
		}
		return bound(time.Duration(whole)*time.Second + time.Duration(nanos))
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64)
	if err != nil || math.IsNaN(f) {
		return 0, fmt.Errorf("%w: %q", errNoDuration, text)
	}
	if math.Abs(f) > MaxDuration.Seconds() {
		return 0, errTooLong
	}
	return bound(time.Duration(math.Round(f * float64(time.Second))))
}

var days = regexp.MustCompile(`^([0-9]{1,5})d`)

// ParseDuration reads a text: Go's units, d for days, or plain seconds.
func ParseDuration(text string) (time.Duration, error) {
	text = strings.ReplaceAll(strings.TrimSpace(text), " ", "")
	var sum time.Duration
	if m := days.FindStringSubmatch(text); m != nil {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			return 0, fmt.Errorf("%w: %q", errNoDuration, text)
		}
		sum = time.Duration(n) * 24 * time.Hour
		if text = text[len(m[0]):]; text == "" {
			return bound(sum)
		}
	} else if plainSeconds.MatchString(text) {
		return Seconds(text)
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%w: %q", errNoDuration, text)
	}
	if _, err := bound(d); err != nil {
		return 0, err
	}
	return bound(sum + d)
}

func bound(d time.Duration) (time.Duration, error) {
	if d > MaxDuration || d < -MaxDuration {
		return 0, errTooLong
	}
	return d, nil
}

// FormatSeconds writes a duration as an exact decimal number of seconds.
func FormatSeconds(d time.Duration) string {
	sign := ""
	if d < 0 {
		sign, d = "-", -d
	}
	text := fmt.Sprintf("%d.%09d", d/time.Second, d%time.Second)
	return sign + strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}

// Memory is an amount of memory in bytes, written with a unit.
type Memory int64

var amount = regexp.MustCompile(`^([0-9]{1,12}(?:\.[0-9]{1,6})?) ?([A-Za-z]+)$`)

// BindNode reads an amount.
func (m *Memory) BindNode(b *document.Binder, n *document.Node, at string) {
	if parts := amount.FindStringSubmatch(n.Source); n.Kind == document.Text && parts != nil {
		value, err := strconv.ParseFloat(parts[1], 64)
		unit, ok := unitBytes(parts[2])
		if err == nil && ok && value*unit < 1<<60 {
			*m = Memory(math.Round(value * unit))
			return
		}
	}
	b.Mismatch(n, at, `an amount with a unit (MB, GB, TB or MiB, GiB, TiB), as in "40GB"`)
}

// unitBytes gives a unit's bytes: GB counts in thousands, GiB in 1024s.
func unitBytes(unit string) (float64, bool) {
	switch strings.ToLower(unit) {
	case "b":
		return 1, true
	case "kb":
		return 1e3, true
	case "mb":
		return 1e6, true
	case "gb":
		return 1e9, true
	case "tb":
		return 1e12, true
	case "kib":
		return 1 << 10, true
	case "mib":
		return 1 << 20, true
	case "gib":
		return 1 << 30, true
	case "tib":
		return 1 << 40, true
	}
	return 0, false
}
