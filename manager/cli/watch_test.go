package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/shared/terminal"
	"github.com/stretchr/testify/require"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// underway is a task that has run for ten minutes and done a quarter.
func underway() v1.Task {
	started := noon.Add(-10 * time.Minute)
	deadline := noon.Add(10 * time.Hour)
	return v1.Task{Name: "matmul", Status: "running", StartedAt: &started, DeadlineAt: &deadline,
		Objectives:  []task.Objective{{Metric: "time_ms", Direction: task.Minimize}},
		Experiments: v1.Counts{Total: 7, Planned: 20, Success: 4, Failed: 1, Running: 2},
		Best: &v1.Best{Number: 3, Score: 4.25, Parameters: space.Point{"tile": int64(32)},
			Metrics: map[string]v1.Metric{"time_ms": {Unit: "ms", Median: 4.25}}, Speedup: &v1.Speedup{Ratio: 2.5}}}
}

func TestPictureShowsWhatMatters(t *testing.T) {
	w := &watcher{app: &app{Environment: Environment{Out: terminal.Screen{Width: 80}, Now: func() time.Time { return noon }}}, task: underway()}
	require.Equal(t, []string{
		"matmul  running",
		"  ███████░░░░░░░░░░░░░░░░░░░░░ 5/20  ends in about 30m00s",
		"  5 of 20 finished · 2 running · 4 success · 1 failed",
		"  best #3  time_ms 4.25 ms  2.50× the baseline's speed",
		"  tile=32",
	}, w.picture())
	w.task.Experiments.Staging = 1
	require.Contains(t, w.picture()[2], "1 running · 1 staging", "what is still built takes no device")
	w.lost = noon
	require.Contains(t, strings.Join(w.picture(), "\n"), "the manager does not answer; trying again")
}

func TestPictureFitsTheScreen(t *testing.T) {
	d := underway()
	d.Experiments = v1.Counts{Total: 100000, Planned: 100000, Success: 99999, Running: 1, Confirmations: 3}
	for width := 20; width <= 100; width++ {
		w := &watcher{app: &app{Environment: Environment{Out: terminal.Screen{Width: width}, Now: func() time.Time { return noon }}}, task: d}
		for _, line := range w.picture() {
			require.LessOrEqual(t, terminal.Width(line), width, line)
		}
	}
}

func TestPicturesReplaceEachOther(t *testing.T) {
	var out bytes.Buffer
	w := &watcher{app: &app{Environment: Environment{Out: terminal.Screen{Writer: &out, Live: true}}}}
	require.NoError(t, w.replace([]string{"a", "b", "c"}))
	require.NoError(t, w.replace([]string{"d"}))
	require.NoError(t, w.replace(nil))
	require.Equal(t, "\x1b[2Ka\n\x1b[2Kb\n\x1b[2Kc\n"+"\x1b[3A\x1b[2Kd\n\x1b[2K\n\x1b[2K\n\x1b[2A"+"\x1b[1A\x1b[2K\n\x1b[1A", out.String())
}

func TestPlainLinesComeOnlyWithChanges(t *testing.T) {
	var out bytes.Buffer
	w := &watcher{app: &app{Environment: Environment{Out: terminal.Screen{Writer: &out}, Now: func() time.Time { return noon }}}, task: underway(), show: true}
	require.NoError(t, w.draw())
	require.NoError(t, w.draw())
	w.task.Experiments.Running = 1
	require.NoError(t, w.draw())
	require.Equal(t, 2, strings.Count(out.String(), "\n"))
}

func TestEndIsEstimated(t *testing.T) {
	end, ok := estimate(underway(), noon)
	require.True(t, ok)
	require.Equal(t, noon.Add(30*time.Minute), end)
	for name, change := range map[string]func(d *v1.Task){
		"too early to say": func(d *v1.Task) { d.Experiments.Success, d.Experiments.Failed = 1, 0 },
		"not started":      func(d *v1.Task) { d.StartedAt = nil },
		"paused":           func(d *v1.Task) { d.Status = "paused" },
	} {
		d := underway()
		change(&d)
		_, ok := estimate(d, noon)
		require.False(t, ok, name)
	}
	d := underway()
	d.Experiments = v1.Counts{Total: 20, Planned: 20, Success: 20, Confirmations: 4}
	end, _ = estimate(d, noon)
	require.Equal(t, noon.Add(2*time.Minute), end, "confirmations take time too")
	require.Equal(t, "  ends in about 1.0 s", left(d, *d.StartedAt), "never none while it runs")
	d = underway()
	soon := noon.Add(time.Minute)
	d.DeadlineAt = &soon
	end, _ = estimate(d, noon)
	require.Equal(t, soon, end, "the deadline ends it in any case")
}

// Whoever watches a rehearsal sees that it is one.
func TestWatchingSaysWhatIsSimulated(t *testing.T) {
	w := &watcher{app: &app{Environment: Environment{Out: terminal.Screen{Width: 120}, Now: func() time.Time { return noon }}}, task: underway()}
	require.NotContains(t, strings.Join(w.picture(), "\n")+plainLine(w.task), "simulated")
	w.task.Simulated = "h100-sxm"
	require.Contains(t, strings.Join(w.picture(), "\n"), "4.25 ms (simulated h100-sxm)")
	require.Contains(t, plainLine(w.task), "4.25 ms (simulated h100-sxm)")
}
