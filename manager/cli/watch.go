package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/client"
	"github.com/fleetune/fleetune/shared/terminal"
	"github.com/spf13/cobra"
)

const (
	// tick is how often the picture is drawn again; the time that is left
	// changes without events.
	tick = time.Second
	// refresh bounds how old what is shown may be, as claims announce nothing.
	refresh = 2 * time.Second
	// calm is the least time between two questions to the manager.
	calm = 100 * time.Millisecond
	// patience is how long a manager may be away before a watch gives up.
	patience = 2 * time.Minute
)

func (a *app) watchCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "watch TASK", Short: "Show how a task goes until it has ended",
		Args: one("a task's name or id"), ValidArgsFunction: a.completeTasks(false),
		RunE: a.calls(func(ctx context.Context, c *client.Client, args []string) error {
			d, err := a.watch(ctx, c, args[0], !a.json)
			if err != nil {
				return err
			}
			if a.json {
				if err := a.printJSON(d); err != nil {
					return err
				}
			}
			return verdict(d)
		})}
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) waitCommand() *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{Use: "wait TASK…", Short: "Return when tasks have ended", Args: upTo(-1, "one task or several"),
		ValidArgsFunction: a.completeTasks(true),
		RunE: a.calls(func(ctx context.Context, c *client.Client, args []string) error {
			limited := ctx
			if timeout > 0 {
				var cancel context.CancelFunc
				limited, cancel = context.WithTimeout(ctx, timeout)
				defer cancel()
			}
			ended := []v1.Task{}
			for _, ref := range args {
				d, err := a.watch(limited, c, ref, false)
				if errors.Is(err, context.DeadlineExceeded) {
					return &exitError{code: ExitFailure, err: fmt.Errorf("%s has not ended within %s", ref, timeout),
						next: "it goes on; fleetune show " + ref + " tells how it stands"}
				}
				if err != nil {
					return err
				}
				ended = append(ended, d)
			}
			return a.printEnded(ended)
		})}
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "how long to wait at most; 0 means for ever")
	a.jsonFlag(cmd)
	return cmd
}

// watch follows a task until it has ended, and shows it where that is wanted.
// Ctrl-C ends the watching, not the task.
func (a *app) watch(ctx context.Context, c *client.Client, ref string, show bool) (v1.Task, error) {
	w := &watcher{app: a, client: c, ref: ref, show: show}
	d, err := w.run(ctx)
	if errors.Is(err, context.Canceled) {
		a.complain(fmt.Sprintf("stopped watching; the task goes on (fleetune watch %s, fleetune cancel %s)", ref, ref))
	}
	return d, err
}

// A watcher follows one task.
type watcher struct {
	app    *app
	client *client.Client
	ref    string
	show   bool

	task v1.Task
	read time.Time // when task was read
	// lost is since when the manager does not answer; zero when it does.
	lost time.Time
	// drawn lines stand on the screen; said is the last plain line.
	drawn int
	said  string
}

func (w *watcher) run(ctx context.Context) (v1.Task, error) {
	if err := w.look(ctx); err != nil {
		return w.task, err
	}
	events, stop := w.listen(ctx)
	defer stop()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for !w.task.Final() {
		if err := w.draw(); err != nil {
			return w.task, err
		}
		var stale bool
		select {
		case <-events:
			stale = true
		case <-ticker.C:
			stale = time.Since(w.read) >= refresh
		case <-ctx.Done():
			return w.task, ctx.Err()
		}
		if !stale {
			continue
		}
		pause(ctx, calm-time.Since(w.read))
		if err := w.lookAgain(ctx); err != nil {
			return w.task, err
		}
	}
	return w.task, w.finish()
}

// listen turns the task's events into wake-ups, until stop.
func (w *watcher) listen(ctx context.Context) (events <-chan struct{}, stop func()) {
	wake := make(chan struct{}, 1)
	poke := func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	var listening sync.WaitGroup
	listening.Go(func() {
		// An error means that the API refuses, and then it refuses the watcher's
		// own questions too, who tells it.
		_ = w.client.Watch(ctx, client.Watch{Task: w.task.ID.String(),
			Event: func(v1.Event) error { poke(); return nil },
			Reset: func() error { poke(); return nil }})
	})
	return wake, func() {
		cancel()
		listening.Wait()
	}
}

func (w *watcher) look(ctx context.Context) error {
	ref := w.ref
	if w.task.Name != "" {
		ref = w.task.ID.String()
	}
	d, err := w.client.Task(ctx, ref)
	w.read = time.Now()
	if err != nil {
		return err
	}
	w.task, w.lost = d, time.Time{}
	return nil
}

// lookAgain looks, and is patient with a manager that is away for a while.
func (w *watcher) lookAgain(ctx context.Context) error {
	err := w.look(ctx)
	if err == nil || exitCode(err) != ExitUnreachable || ctx.Err() != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return err
	}
	var refused *v1.Problem
	if errors.As(err, &refused) && refused.Status < 500 {
		return err // the token was refused: waiting does not help
	}
	if w.lost.IsZero() {
		w.lost = time.Now()
	}
	if time.Since(w.lost) > patience {
		return err
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// draw shows the present state: over the last picture on a terminal, as a line
// of its own elsewhere, and there only when something has changed.
func (w *watcher) draw() error {
	if !w.show {
		return nil
	}
	out := w.app.Out
	if !out.Live {
		line := plainLine(w.task)
		if line == w.said {
			return nil
		}
		w.said = line
		return w.app.printf("%s\n", line)
	}
	lines := w.picture()
	return w.replace(lines)
}

// replace draws lines where the last ones stand.
func (w *watcher) replace(lines []string) error {
	var b strings.Builder
	if w.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", w.drawn)
	}
	for _, line := range lines {
		b.WriteString("\x1b[2K" + line + "\n")
	}
	if extra := w.drawn - len(lines); extra > 0 {
		b.WriteString(strings.Repeat("\x1b[2K\n", extra))
		fmt.Fprintf(&b, "\x1b[%dA", extra)
	}
	w.drawn = len(lines)
	return w.app.printf("%s", b.String())
}

// finish leaves the final state standing.
func (w *watcher) finish() error {
	if !w.show {
		return nil
	}
	if w.app.Out.Live {
		if err := w.replace(nil); err != nil {
			return err
		}
	}
	return w.app.printTask(w.task)
}

// barWidth is the greatest width of the bar, in columns.
const barWidth = 28

// runningLines bounds the lines about what runs.
const runningLines = 4

// picture is the task in a few lines.
func (w *watcher) picture() []string {
	d, out := w.task, w.app.Out
	c := d.Experiments
	head := out.Paint(terminal.Bold, cut(d.Name, out.Width/3)) + "  " + out.Paint(terminal.StatusStyle(d.Status), d.Status)
	lines := []string{head,
		"  " + progress(d, w.app.Now(), out.Width-2),
		"  " + cut(counts(c), out.Width-2)}
	for i, h := range d.Running {
		if i == runningLines {
			lines = append(lines, out.Paint(terminal.Dim, fmt.Sprintf("  and %d more", len(d.Running)-i)))
			break
		}
		lines = append(lines, "  "+out.Paint(terminal.Dim, cut(doing(h), out.Width-2)))
	}
	if b := d.Best; b != nil {
		text := fmt.Sprintf("best #%d  %s %s", b.Number, metric(d), labelled(score(d, b.Score, b.Metrics), d.Simulated))
		if b.Speedup != nil {
			text += "  " + times(b.Speedup) + " " + yardstick(d, *b)
		}
		lines = append(lines, "  "+out.Paint(terminal.Green, cut(text, out.Width-2)), "  "+cut(terminal.Point(b.Parameters, d.Parameters), out.Width-2))
	}
	if d.Stopped != nil && !d.Final() {
		lines = append(lines, "  "+cut("the search is over: "+d.Stopped.Message, out.Width-2))
	}
	if !w.lost.IsZero() {
		lines = append(lines, "  "+out.Paint(terminal.Yellow, cut("the manager does not answer; trying again", out.Width-2)))
	}
	return lines
}

func cut(s string, width int) string { return terminal.Cut(terminal.Clean(s), max(width, 10)) }

// progress is the bar with what is done in numbers and when the rest will be.
// The bar gives way where the screen is narrow: a line that the terminal breaks
// could not be drawn over.
func progress(d v1.Task, now time.Time, width int) string {
	c := d.Experiments
	text := fmt.Sprintf(" %d/%d", c.Finished(), c.Planned) + left(d, now)
	return cut(bar(c.Finished(), c.Planned, min(barWidth, width-terminal.Width(text)))+text, width)
}

// bar draws how much is done.
func bar(done, of, width int) string {
	width = max(width, 0)
	full := 0
	if of > 0 {
		full = min(width*done/of, width)
	}
	return strings.Repeat("█", full) + strings.Repeat("░", width-full)
}

// left says when the task will probably end.
func left(d v1.Task, now time.Time) string {
	end, ok := estimate(d, now)
	if !ok {
		return ""
	}
	return "  ends in about " + terminal.Duration(max(end.Sub(now).Round(time.Second), time.Second))
}

// estimate extends the pace so far over what is planned and over the
// confirmations that are asked for, up to the deadline.
// It has nothing to say before two experiments have ended.
func estimate(d v1.Task, now time.Time) (time.Time, bool) {
	c := d.Experiments
	if d.StartedAt == nil || d.Status != "running" || c.Finished() < 2 {
		return time.Time{}, false
	}
	each := now.Sub(*d.StartedAt) / time.Duration(c.Finished()+c.Confirmed)
	end := now.Add(each * time.Duration(max(c.Planned-c.Finished(), 0)+max(c.Confirmations-c.Confirmed, 0)))
	if d.DeadlineAt != nil && d.DeadlineAt.Before(end) {
		end = *d.DeadlineAt
	}
	return end, true
}

// plainLine is the task in one line without a clock, so that it changes only
// when the task does.
func plainLine(d v1.Task) string {
	text := fmt.Sprintf("%s %s: %s", d.Name, d.Status, counts(d.Experiments))
	for _, h := range d.Running {
		if h.Phase == "download" { // the one that may take hours
			h.Detail = ""
			text += "; " + doing(h)
		}
	}
	if b := d.Best; b != nil {
		text += fmt.Sprintf("; best #%d %s %s", b.Number, metric(d), labelled(score(d, b.Score, b.Metrics), d.Simulated))
		if b.Speedup != nil {
			text += " (" + times(b.Speedup) + ")"
		}
		text += " " + terminal.Point(b.Parameters, d.Parameters)
	}
	if d.Stopped != nil && !d.Final() {
		text += "; the search is over: " + d.Stopped.Message
	}
	return terminal.Clean(text)
}
