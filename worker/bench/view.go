package bench

import (
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fleetune/fleetune/shared/terminal"
	"github.com/fleetune/fleetune/worker/load"
)

// view shows where a run stands: a few lines that renew themselves on a
// terminal, a line now and then elsewhere.
type view struct {
	mu sync.Mutex
	// screen looks at where the view is written; its width may change.
	screen func() terminal.Screen
	mode   string
	head   string
	before load.Progress
	shown  time.Duration
	drawn  int    // lines that stand on the screen
	stand  string // how many shares were where, last
}

// plainEvery is how often a line is written where there is no terminal.
const plainEvery = 10 * time.Second

func newView(mode string, w io.Writer) *view {
	v := &view{screen: func() terminal.Screen { return screenOf(w) }, mode: mode}
	if mode == "auto" {
		v.mode = "plain"
		if v.screen().Live {
			v.mode = "live"
		}
	}
	return v
}

// screenOf looks at where output goes.
func screenOf(w io.Writer) terminal.Screen {
	if f, ok := w.(*os.File); ok {
		return terminal.Open(f, os.Getenv)
	}
	return terminal.Screen{Writer: w}
}

// title names what runs next.
func (v *view) title(text string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.drawn = 0
	v.head, v.before, v.shown = text+": ", load.Progress{}, 0
}

// show takes a run's progress.
func (v *view) show(p load.Progress) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if p.Elapsed < v.before.Elapsed || p.Phase != v.before.Phase {
		v.before, v.shown = load.Progress{Phase: p.Phase}, 0
	}
	seconds := max((p.Elapsed - v.before.Elapsed).Seconds(), 1e-3)
	rate := float64(p.Done+p.Failed-v.before.Done-v.before.Failed) / seconds
	tokens := float64(p.Tokens-v.before.Tokens) / seconds
	v.before = p
	s := v.screen()
	switch v.mode {
	case "live":
		v.draw(s, v.lines(s, p, rate, tokens))
	case "plain":
		if p.Elapsed-v.shown >= plainEvery {
			v.shown = p.Elapsed
			line := fmt.Sprintf("%s%s %s  done %s  failed %d  in flight %d  %.1f req/s  %.0f tok/s%s  latency %s  send lag p99 %s%s",
				v.head, p.Phase, p.Elapsed.Round(time.Second), share(p.Done, p.Of), p.Failed, p.InFlight, rate, tokens,
				named("  TTFT ", p.TTFTp50, p.TTFTp99), spread(p.LatencyP50, p.LatencyP99), millis(p.LagP99), ahead(p))
			_, _ = fmt.Fprintln(s, line) // progress may be lost
		}
	}
}

// lines are what a terminal shows.
func (v *view) lines(s terminal.Screen, p load.Progress, rate, tokens float64) []string {
	failed := fmt.Sprintf("failed %d", p.Failed)
	if n := p.Done + p.Failed; p.Failed > 0 {
		failed = s.Paint(terminal.Red, fmt.Sprintf("failed %d (%.1f %%)", p.Failed, 100*float64(p.Failed)/float64(n)))
	}
	out := []string{
		s.Paint(terminal.Bold, fmt.Sprintf("%s%s", v.head, p.Phase)) + "  " + terminal.Duration(p.In.Truncate(time.Second)) + "  " + v.bar(s, p),
		fmt.Sprintf("  done %s  in flight %d  %s", share(p.Done, p.Of), p.InFlight, failed),
		fmt.Sprintf("  %.1f req/s  %.0f output tok/s", rate, tokens),
		"  latency " + spread(p.LatencyP50, p.LatencyP99) + named("  TTFT ", p.TTFTp50, p.TTFTp99),
		"  send lag p99 " + millis(p.LagP99),
	}
	if next := ahead(p); next != "" {
		out = append(out, next)
	}
	for i, e := range p.Errors {
		if i == 3 {
			out = append(out, fmt.Sprintf("  and %d more kinds of failures", len(p.Errors)-i))
			break
		}
		code := ""
		if e.Code != 0 {
			code = fmt.Sprintf(" (%d)", e.Code)
		}
		out = append(out, fmt.Sprintf("  %d × %s%s: %s", e.Count, e.Class, code, terminal.Clean(e.Message)))
	}
	return out
}

// bar says how much of the phase is done, as far as that is known.
func (v *view) bar(s terminal.Screen, p load.Progress) string {
	part := 0.0
	if p.Of > 0 {
		part = float64(p.Done+p.Failed) / float64(p.Of)
	}
	if p.Lasts > 0 {
		part = max(part, p.In.Seconds()/p.Lasts.Seconds())
	}
	if part <= 0 {
		return ""
	}
	part = min(part, 1)
	const wide = 24
	full := int(math.Round(wide * part))
	text := s.Paint(terminal.Cyan, strings.Repeat("━", full)) + s.Paint(terminal.Dim, strings.Repeat("─", wide-full)) + fmt.Sprintf(" %.0f %%", 100*part)
	if left := time.Duration((1 - part) / part * float64(p.In)); left >= time.Second && p.In > 3*time.Second {
		text += ", " + terminal.Duration(left.Round(time.Second)) + " left"
	}
	return text
}

// draw replaces what stands on the screen, line by line: some terminals keep
// what a clearing of the whole takes away. Lines are cut, never wrapped, since a
// line that took two rows could not be replaced.
func (v *view) draw(s terminal.Screen, lines []string) {
	var b strings.Builder
	if v.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", v.drawn)
	}
	b.WriteString("\r")
	for _, l := range lines {
		b.WriteString(cut(s, l) + "\x1b[K\n")
	}
	if len(lines) < v.drawn {
		b.WriteString("\x1b[J")
	}
	_, _ = io.WriteString(s, b.String()) // progress may be lost
	v.drawn = len(lines)
}

// cut shortens a line to the screen. One that is cut loses its colours, so
// that none is left open.
func cut(s terminal.Screen, line string) string {
	plain := unpainted.Replace(line)
	if s.Width <= 0 || terminal.Width(plain) <= s.Width {
		return line
	}
	return terminal.Cut(plain, s.Width)
}

// unpainted takes the styles out that the view uses.
var unpainted = strings.NewReplacer("\x1b[0m", "", "\x1b[1m", "", "\x1b[2m", "", "\x1b[31m", "", "\x1b[36m", "")

// share is how much is done of what there is to do, if that is known.
func share(done, of int) string {
	if of == 0 {
		return strconv.Itoa(done)
	}
	return fmt.Sprintf("%d of %d", done, of)
}

// spread are a latency's two percentiles, millis a time in ms.
func spread(p50, p99 float64) string { return "p50 " + millis(p50) + " p99 " + millis(p99) }

func millis(x float64) string {
	switch {
	case math.IsNaN(x):
		return "–"
	case x < 10:
		return strconv.FormatFloat(x, 'f', 2, 64) + " ms"
	}
	return strconv.FormatFloat(x, 'f', 0, 64) + " ms"
}

// named is a latency with its name; nothing where there is none.
func named(name string, p50, p99 float64) string {
	if math.IsNaN(p50) {
		return ""
	}
	return name + spread(p50, p99)
}

// ahead says what a load that seems to stand still waits for.
func ahead(p load.Progress) string {
	switch {
	case p.Left > 0:
		return fmt.Sprintf("  its last request is due in %v", p.Left.Round(time.Second))
	case p.Idle >= time.Second:
		return fmt.Sprintf("  a recorded pause: the next request is due in %v", p.Idle.Round(time.Second))
	}
	return ""
}

// showShares takes where the shares of a load stand.
func (v *view) showShares(start *time.Time, shares []load.Share) {
	v.mu.Lock()
	defer v.mu.Unlock()
	states := map[string]int{}
	sum := load.Share{}
	for _, s := range shares {
		states[s.State]++
		sum.Requests, sum.Failed = sum.Requests+s.Requests, sum.Failed+s.Failed
		sum.InFlight, sum.Tokens = sum.InFlight+s.InFlight, sum.Tokens+s.Tokens
	}
	var counts []string
	for _, state := range slices.Sorted(maps.Keys(states)) {
		counts = append(counts, fmt.Sprintf("%d %s", states[state], state))
	}
	stand := strings.Join(counts, ", ")
	lines := []string{fmt.Sprintf("%sshares: %s", v.head, stand)}
	elapsed := time.Duration(0)
	if start != nil {
		elapsed = max(0, time.Since(*start))
		lines = append(lines, fmt.Sprintf("  %s  done %d  failed %d  in flight %d  tokens %d", elapsed.Round(time.Second), sum.Requests, sum.Failed, sum.InFlight, sum.Tokens))
	}
	s := v.screen()
	switch {
	case v.mode == "live":
		v.draw(s, lines)
	case v.mode == "plain" && (elapsed-v.shown >= plainEvery || stand != v.stand):
		v.shown = elapsed
		_, _ = fmt.Fprintln(s, strings.Join(lines, "")) // progress may be lost
	}
	v.stand = stand
}

// close leaves what stands on the screen.
func (v *view) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.drawn = 0
}
