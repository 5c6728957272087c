package bench

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mattn/go-isatty"

	"github.com/fleetune/fleetune/worker/load"
)

// view shows where a run stands: one line that renews itself on a terminal,
// a line now and then elsewhere.
type view struct {
	mu     sync.Mutex
	w      io.Writer
	mode   string
	head   string
	before load.Progress
	shown  time.Duration
	dirty  bool
	stand  string // how many shares were where, last
}

// plainEvery is how often a line is written where there is no terminal.
const plainEvery = 10 * time.Second

func newView(mode string, w io.Writer) *view {
	if mode == "auto" {
		mode = "plain"
		if f, ok := w.(*os.File); ok && isatty.IsTerminal(f.Fd()) {
			mode = "live"
		}
	}
	return &view{w: w, mode: mode}
}

// title names what runs next.
func (v *view) title(text string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.end()
	v.head, v.before, v.shown = text+": ", load.Progress{}, 0
}

// show takes a run's progress.
func (v *view) show(p load.Progress) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if p.Elapsed < v.before.Elapsed || p.Phase != v.before.Phase {
		v.before, v.shown = load.Progress{Phase: p.Phase}, 0
	}
	seconds := (p.Elapsed - v.before.Elapsed).Seconds()
	rate := float64(p.Done+p.Failed-v.before.Done-v.before.Failed) / seconds
	tokens := float64(p.Tokens-v.before.Tokens) / seconds
	v.before = p
	line := fmt.Sprintf("%s%s %s  done %s  failed %d  in flight %d  %.1f req/s  %.0f tok/s  TTFT p50 %.0f p99 %.0f ms  latency p50 %.0f p99 %.0f ms  lag p99 %.2f ms%s",
		v.head, p.Phase, p.Elapsed.Round(time.Second), share(p.Done, p.Of), p.Failed, p.InFlight, rate, tokens, p.TTFTp50, p.TTFTp99, p.LatencyP50, p.LatencyP99, p.LagP99, ahead(p))
	switch v.mode {
	case "live":
		_, _ = fmt.Fprintf(v.w, "\r\x1b[K%s", line) // progress may be lost
		v.dirty = true
	case "plain":
		if p.Elapsed-v.shown >= plainEvery {
			v.shown = p.Elapsed
			_, _ = fmt.Fprintln(v.w, line) // progress may be lost
		}
	}
}

// share is how much is done of what there is to do, if that is known.
func share(done, of int) string {
	if of == 0 {
		return strconv.Itoa(done)
	}
	return fmt.Sprintf("%d of %d", done, of)
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
	line := fmt.Sprintf("%sshares: %s", v.head, stand)
	elapsed := time.Duration(0)
	if start != nil {
		elapsed = max(0, time.Since(*start))
		line += fmt.Sprintf("  %s  done %d  failed %d  in flight %d  tokens %d", elapsed.Round(time.Second), sum.Requests, sum.Failed, sum.InFlight, sum.Tokens)
	}
	switch {
	case v.mode == "live":
		_, _ = fmt.Fprintf(v.w, "\r\x1b[K%s", line) // progress may be lost
		v.dirty = true
	case v.mode == "plain" && (elapsed-v.shown >= plainEvery || stand != v.stand):
		v.shown = elapsed
		_, _ = fmt.Fprintln(v.w, line) // progress may be lost
	}
	v.stand = stand
}

// end leaves the line that renews itself.
func (v *view) end() {
	if v.dirty {
		_, _ = fmt.Fprintln(v.w) // progress may be lost
		v.dirty = false
	}
}

func (v *view) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.end()
}
