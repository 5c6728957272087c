package agent

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/fleetune/fleetune/worker/device"
	"github.com/google/uuid"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newAgent prepares a worker that is not run; its spool is closed by the test.
func newAgent(t *testing.T, dir string) *Agent {
	t.Helper()
	semaphore, err := device.NewSemaphore([]node.Device{{ID: "gpu-0", Vendor: "nvidia", Health: node.Healthy}},
		device.Config{LockFolder: t.TempDir(), Owner: "w1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = semaphore.Close() })
	a, err := New(Config{Node: node.Advertisement{Worker: "w1"}, Dir: dir, Semaphore: semaphore, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// done adds an attempt that has just ended with output of the given size.
func (a *Agent) done(size int) wire.Attempted {
	at := &attempt{offer: wire.Offer{Experiment: uuid.New()}, grant: wire.Grant{Epoch: 1}}
	r := wire.Report{Version: wire.Version, Worker: "w1", Experiment: at.offer.Experiment, Epoch: 1, StartedAt: time.Now(), FinishedAt: time.Now(),
		Outcome: experiment.OutcomeFailed, Failure: &experiment.Failure{Phase: "run", LogTail: string(slices.Repeat([]byte{'x'}, size))}}
	a.report(at, r)
	return wire.Attempted{Experiment: r.Experiment, Epoch: 1}
}

func (a *Agent) reporting() map[wire.Attempted]bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	found := map[wire.Attempted]bool{}
	for _, h := range a.heldLocked() {
		found[wire.Attempted{Experiment: h.Experiment, Epoch: h.Epoch}] = h.Phase == "reporting"
	}
	return found
}

// A result is on disk before it is sent, and stays until it is confirmed: the
// next session takes it up, and tells in its beats that it holds it.
func TestResultsOutliveTheirSession(t *testing.T) {
	dir := t.TempDir()
	first := newAgent(t, dir)
	kept, confirmed := first.done(10), first.done(10)
	first.confirm([]wire.Attempted{confirmed, {Experiment: uuid.New(), Epoch: 1}})
	if err := first.spool.Close(); err != nil {
		t.Fatal(err)
	}
	second := newAgent(t, dir)
	if got := second.reporting(); len(got) != 1 || !got[kept] {
		t.Errorf("the next session reports %v, want %v", got, kept)
	}
	second.confirm([]wire.Attempted{kept})
	if err := second.spool.Close(); err != nil {
		t.Fatal(err)
	}
	third := newAgent(t, dir)
	if got := third.reporting(); len(got) != 0 {
		t.Errorf("confirmed, and still there: %v", got)
	}
	if err := third.spool.Close(); err != nil {
		t.Fatal(err)
	}
}

// Two workers cannot share a folder: they would send each other's results.
func TestFolderHasOneWorker(t *testing.T) {
	dir := t.TempDir()
	a := newAgent(t, dir)
	if _, err := New(a.Config); err == nil {
		t.Error("a second worker opened the same spool")
	}
	if err := a.spool.Close(); err != nil {
		t.Fatal(err)
	}
}

// A disk that takes no result is told as trouble; the result stays in memory
// and goes to disk when there is room, which ends the trouble.
func TestFullDiskIsTroubleUntilItTakesResults(t *testing.T) {
	dir := t.TempDir()
	spool := filepath.Join(dir, "spool")
	if err := os.Mkdir(spool, 0o700); err != nil {
		t.Fatal(err)
	}
	err := unix.Mount("tmpfs", spool, "tmpfs", 0, "size=64k")
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		t.Skip("needs the right to mount a small tmpfs")
	}
	if err != nil {
		t.Fatal(err)
	}
	a := newAgent(t, dir)
	t.Cleanup(func() {
		if err := errors.Join(a.spool.Close(), unix.Unmount(spool, 0)); err != nil {
			t.Error(err)
		}
	})
	big := a.done(200 << 10)
	if a.trouble == "" || a.reports[keyOf(big)].safe {
		t.Fatalf("trouble %q", a.trouble)
	}
	small := a.done(10)
	if a.trouble == "" || !a.reporting()[big] || !a.reporting()[small] {
		t.Fatal("the trouble is over although a result is not on disk, or a result is forgotten")
	}
	if err := unix.Mount("tmpfs", spool, "tmpfs", unix.MS_REMOUNT, "size=4m"); err != nil {
		t.Fatal(err)
	}
	a.keep(a.reports[keyOf(big)])
	if a.trouble != "" || !a.reports[keyOf(big)].safe {
		t.Errorf("room again, and still trouble: %q", a.trouble)
	}
}

func TestLeftOverNamesAttemptsOfADeadSession(t *testing.T) {
	dir := t.TempDir()
	if tags, err := LeftOver(dir); err != nil || len(tags) != 0 {
		t.Errorf("%v, %v", tags, err)
	}
	for _, tag := range []string{"a-1", "b-2"} {
		if err := os.MkdirAll(filepath.Join(dir, "attempts", tag, "work"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	tags, err := LeftOver(dir)
	if slices.Sort(tags); err != nil || !slices.Equal(tags, []string{"a-1", "b-2"}) {
		t.Errorf("%v, %v", tags, err)
	}
}
