package command

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
)

// told gathers what a stand's attempts tell, and cancels once enough is told.
type told struct {
	mu    sync.Mutex
	last  map[string][]float64
	calls int
}

func (w *told) listen(metric string, enough int, stop func()) func(map[string][]float64) {
	return func(samples map[string][]float64) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.last = map[string][]float64{}
		for name, values := range samples {
			w.last[name] = append([]float64(nil), values...)
		}
		w.calls++
		if len(samples[metric]) >= enough {
			stop()
		}
	}
}

var errSlow = errors.New("slow enough")

// A program that the worker times tells each sample, and one that is stopped
// leaves those it had as its measurement.
func TestWallTimesAreTold(t *testing.T) {
	s, trace := wall(t)
	s.offer.Repeats = 50
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	var heard told
	s.progress = heard.listen("wall_time_s", 4, func() { cancel(errSlow) })
	res := s.do(ctx)
	if res.Outcome != experiment.OutcomeCancelled || !strings.Contains(res.Failure.Message, errSlow.Error()) {
		t.Fatalf("it ended as %+v", res)
	}
	m := res.Measurement.Metrics["wall_time_s"]
	if len(m.Samples) != 4 || m.Unit != "s" || m.Median <= 0 || len(heard.last["wall_time_s"]) != 4 || heard.calls != 4 {
		t.Errorf("measured %+v, told %+v", m, heard.last)
	}
	if runs := traced(t, trace); len(runs) > 5 {
		t.Errorf("%d runs, it was stopped after 4", len(runs))
	}
}

// Nobody is told of a confirmation, which runs to its end.
func TestConfirmationsAreNotTold(t *testing.T) {
	s, _ := wall(t)
	s.offer.Purpose, s.offer.Baseline = experiment.Confirm, space.Point{"scale": int64(2)}
	var heard told
	s.progress = heard.listen("", 1, func() {})
	want(t, s.do(t.Context()), experiment.OutcomeSuccess, "", "")
	if heard.calls != 0 {
		t.Errorf("told %d times", heard.calls)
	}
}

// A program that measures itself tells its samples by a file, and what it
// tells there is no result: the result file is.
func TestSamplesFileIsTold(t *testing.T) {
	s := newStand(t)
	tell := `n=0; while [ $n -lt 5 ]; do n=$((n+1))
echo '{"metric":"time_ms","unit":"ms","value":'$n'}' >> "$EXP_SAMPLES_PATH"; done
echo '{"metric":"other","unit":"ms","value":9}' >> "$EXP_SAMPLES_PATH"; echo nonsense >> "$EXP_SAMPLES_PATH"
`
	s.command.Run = *step("sh", "-c", tell+"sleep 60")
	s.offer.Metrics = []string{"time_ms"}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	var heard told
	s.progress = heard.listen("time_ms", 5, func() { cancel(errSlow) })
	res := s.do(ctx)
	if res.Outcome != experiment.OutcomeCancelled || !strings.Contains(res.Failure.Message, errSlow.Error()) {
		t.Fatalf("it ended as %+v", res)
	}
	if len(res.Measurement.Metrics) != 1 || res.Measurement.Metrics["time_ms"].Median != 3 {
		t.Errorf("measured %+v", res.Measurement)
	}
}

// Whatever the program puts in the place of its samples file is left alone.
func TestSamplesFileIsHostile(t *testing.T) {
	side := &samples{}
	read := func(dir string) bool {
		f := &follower{dir: dir, wanted: []string{"time"}, side: side}
		return f.read()
	}
	outside := filepath.Join(t.TempDir(), "secret")
	line := `{"metric":"time","unit":"s","value":1}` + "\n"
	if err := os.WriteFile(outside, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	link := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(link, samplesFile)); err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, samplesFile), 0o700); err != nil {
		t.Fatal(err)
	}
	pipe := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(pipe, samplesFile), 0o600); err != nil {
		t.Fatal(err)
	}
	long := t.TempDir()
	if err := os.WriteFile(filepath.Join(long, samplesFile), []byte(strings.Repeat("x", 2*maxLine)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"nothing": t.TempDir(), "a link": link, "a folder": folder, "a pipe": pipe, "no lines": long} {
		if read(dir) {
			t.Errorf("%s: read", name)
		}
	}
	plain := t.TempDir()
	if err := os.WriteFile(filepath.Join(plain, samplesFile), []byte(line+line[:10]), 0o600); err != nil {
		t.Fatal(err)
	}
	if !read(plain) || len(side.metrics["time"].Samples) != 1 {
		t.Errorf("a plain file: %+v", side.metrics)
	}
}

func FuzzSample(f *testing.F) {
	for _, line := range []string{`{"metric":"time_ms","unit":"ms","value":1.25}`, `{"metric":"t","value":null}`, `{"metric":"t","value":1e999}`, `[]`, ``} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		metric, _, value, ok := sampleOf(line)
		if ok && (metric == "" || value != value) {
			t.Errorf("%q was read as %q %v", line, metric, value)
		}
	})
}
