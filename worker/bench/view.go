package bench

import (
	"fmt"
	"io"
	"os"
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
	line := fmt.Sprintf("%s%s %s  done %d  failed %d  in flight %d  %.1f req/s  %.0f tok/s  TTFT p50 %.0f p99 %.0f ms  latency p50 %.0f p99 %.0f ms  lag p99 %.2f ms",
		v.head, p.Phase, p.Elapsed.Round(time.Second), p.Done, p.Failed, p.InFlight, rate, tokens, p.TTFTp50, p.TTFTp99, p.LatencyP50, p.LatencyP99, p.LagP99)
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
