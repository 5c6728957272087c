package device

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fleetune/fleetune/proto/node"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// The test binary is also the second worker process of a host.
const helperWord = "device-test-helper"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == helperWord {
		helper(os.Args[2], os.Args[3], os.Args[4:])
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func gpus(n int) []node.Device {
	devices := make([]node.Device, n)
	for i := range devices {
		devices[i] = node.Device{ID: fmt.Sprintf("GPU-%d", i), Index: i, Vendor: NVIDIA, Model: "H100", Memory: 80 << 30, Health: node.Healthy}
	}
	return devices
}

func need(n int) node.Requirements { return node.Requirements{Devices: n} }

func open(t testing.TB, devices []node.Device, cfg Config) *Semaphore {
	t.Helper()
	if cfg.LockFolder == "" {
		cfg.LockFolder = t.TempDir()
	}
	s, err := NewSemaphore(devices, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func one(t *testing.T, s *Semaphore, n int) *Lease {
	t.Helper()
	leases := s.TryAcquire(need(n), 1)
	if len(leases) != 1 {
		t.Fatalf("%d leases of %d devices, want 1", len(leases), n)
	}
	return leases[0]
}

func health(s *Semaphore) string {
	var all []string
	for _, d := range s.Devices() {
		all = append(all, string(d.Health))
	}
	return strings.Join(all, " ")
}

// until waits for a condition that follows from changes of the semaphore.
func until(t *testing.T, s *Semaphore, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		changed := s.Changed()
		if ok() {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("never came: devices are %v", s.Devices())
		}
	}
}

func TestLeases(t *testing.T) {
	s := open(t, gpus(3), Config{})
	if got := s.free(need(1)); got != 3 {
		t.Errorf("%d free, want 3", got)
	}
	a, b := one(t, s, 2), one(t, s, 1)
	if got := fmt.Sprint(a.IDs(), b.IDs()); got != "[GPU-0 GPU-1] [GPU-2]" {
		t.Errorf("leases of %s", got)
	}
	if got := s.TryAcquire(need(1), 5); got != nil {
		t.Errorf("over-committed: %v", got)
	}
	changed := s.Changed()
	a.Release()
	a.Release()
	a.Quarantine("too late")
	<-changed
	if err := a.Bind("run"); !errors.Is(err, ErrReleased) {
		t.Errorf("bind of a released lease: %v", err)
	}
	if got := len(s.TryAcquire(need(1), 5)); got != 2 {
		t.Errorf("%d leases, want 2", got)
	}
	b.Release()
	if got := b.Devices(); len(got) != 1 || got[0].ID != "GPU-2" {
		t.Errorf("devices %v", got)
	}
	if _, err := s.Acquire(t.Context(), need(4)); !errors.Is(err, ErrUnsatisfiable) {
		t.Errorf("4 of 3 devices: %v", err)
	}
	if _, err := s.Acquire(t.Context(), node.Requirements{Accelerator: AMD}); !errors.Is(err, ErrUnsatisfiable) {
		t.Errorf("a device of another vendor: %v", err)
	}
}

// waiting starts an Acquire and returns when it stands in the queue.
func waiting(ctx context.Context, s *Semaphore, n int) <-chan result {
	s.mu.Lock()
	before := len(s.waiters)
	s.mu.Unlock()
	out := make(chan result, 1)
	go func() {
		l, err := s.Acquire(ctx, need(n))
		out <- result{l, err}
	}()
	for {
		s.mu.Lock()
		after := len(s.waiters)
		s.mu.Unlock()
		if after > before || len(out) > 0 {
			return out
		}
	}
}

type result struct {
	lease *Lease
	err   error
}

// TestFirstComeFirstServed: a large request is not starved by small ones that
// come later.
func TestFirstComeFirstServed(t *testing.T) {
	s := open(t, gpus(2), Config{})
	a, b := one(t, s, 1), one(t, s, 1)
	large := waiting(t.Context(), s, 2)
	small := waiting(t.Context(), s, 1)
	a.Release()
	if got := s.free(need(1)); got != 0 {
		t.Errorf("%d free while a large request waits for it", got)
	}
	if got := s.TryAcquire(need(1), 1); got != nil {
		t.Errorf("%v overtook a waiting request", got[0].IDs())
	}
	select {
	case <-small:
		t.Fatal("a small request overtook a large one")
	default:
	}
	b.Release()
	l := <-large
	if l.err != nil || len(l.lease.IDs()) != 2 {
		t.Fatal(l)
	}
	l.lease.Release()
	if got := <-small; got.err != nil {
		t.Fatal(got.err)
	}
}

func TestAbandonedWaiterLetsOthersPass(t *testing.T) {
	s := open(t, gpus(2), Config{})
	a, b := one(t, s, 1), one(t, s, 1)
	ctx, cancel := context.WithCancel(t.Context())
	large := waiting(ctx, s, 2)
	small := waiting(t.Context(), s, 1)
	a.Release()
	cancel()
	if got := <-large; !errors.Is(got.err, context.Canceled) {
		t.Errorf("cancelled: %v", got)
	}
	if got := <-small; got.err != nil {
		t.Error(got.err)
	}
	b.Release()
}

func TestHold(t *testing.T) {
	s := open(t, gpus(2), Config{})
	s.Hold(2)
	if s.free(need(1)) != 0 || s.TryAcquire(need(1), 1) != nil {
		t.Error("devices held back are given to a small request")
	}
	small := waiting(t.Context(), s, 1)
	large := one(t, s, 2)
	large.Release()
	s.Hold(0)
	if got := <-small; got.err != nil {
		t.Error(got.err)
	}
}

func TestClose(t *testing.T) {
	s := open(t, gpus(1), Config{})
	l := one(t, s, 1)
	w := waiting(t.Context(), s, 1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := <-w; !errors.Is(got.err, ErrClosed) {
		t.Errorf("waiter: %v", got.err)
	}
	l.Release()
	if _, err := s.Acquire(t.Context(), need(1)); !errors.Is(err, ErrClosed) || s.TryAcquire(need(1), 1) != nil || s.free(need(1)) != 0 {
		t.Errorf("closed: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestSemaphoreProperties lets two semaphores, as of two workers of a host,
// lease and release at random.
func TestSemaphoreProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 5).Draw(rt, "devices")
		dir, err := os.MkdirTemp(t.TempDir(), "locks")
		if err != nil {
			rt.Fatal(err)
		}
		var sems [2]*Semaphore
		for i := range sems {
			if sems[i], err = NewSemaphore(gpus(n), Config{LockFolder: dir}); err != nil {
				rt.Fatal(err)
			}
			rt.Cleanup(func() { sems[i].Close() })
		}
		used := map[string]bool{}
		var held []*Lease
		steps := rapid.IntRange(1, 60).Draw(rt, "steps")
		for range steps {
			s := sems[rapid.IntRange(0, 1).Draw(rt, "worker")]
			if len(held) > 0 && rapid.Bool().Draw(rt, "release") {
				i := rapid.IntRange(0, len(held)-1).Draw(rt, "lease")
				for _, id := range held[i].IDs() {
					delete(used, id)
				}
				held[i].Release()
				held = slices.Delete(held, i, i+1)
				continue
			}
			count := rapid.IntRange(1, n).Draw(rt, "count")
			for _, l := range s.TryAcquire(need(count), rapid.IntRange(1, 3).Draw(rt, "leases")) {
				if len(l.IDs()) != count {
					rt.Fatalf("lease of %v, want %d devices", l.IDs(), count)
				}
				for _, id := range l.IDs() {
					if used[id] {
						rt.Fatalf("device %s is leased twice", id)
					}
					used[id] = true
				}
				held = append(held, l)
			}
		}
		for _, l := range held {
			l.Release()
		}
		// Nothing leaks: either worker gets everything.
		for _, s := range sems {
			l, err := s.Acquire(t.Context(), need(n))
			if err != nil {
				rt.Fatal(err)
			}
			l.Release()
		}
	})
}

// TestCrowd lets many goroutines of two workers wait for leases of all sizes.
func TestCrowd(t *testing.T) {
	dir := t.TempDir()
	const devices = 3
	var mu sync.Mutex
	used := map[string]bool{}
	mark := func(ids []string, on bool) {
		mu.Lock()
		defer mu.Unlock()
		for _, id := range ids {
			if on && used[id] {
				t.Errorf("device %s is leased twice", id)
			}
			used[id] = on
		}
	}
	var crowd sync.WaitGroup
	for range 2 {
		s := open(t, gpus(devices), Config{LockFolder: dir})
		for i := range 6 {
			crowd.Go(func() {
				for range 10 {
					l, err := s.Acquire(t.Context(), need(1+i%devices))
					if err != nil {
						t.Error(err)
						return
					}
					mark(l.IDs(), true)
					if err := l.Bind(fmt.Sprint("run", i)); err != nil {
						t.Error(err)
					}
					mark(l.IDs(), false)
					l.Release()
				}
			})
		}
	}
	crowd.Wait()
}

// helper is another worker process of the host.
func helper(role, dir string, args []string) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	s, err := NewSemaphore(gpus(2), Config{LockFolder: dir, Owner: "helper"})
	fail(err)
	switch role {
	case "dies": // holds both devices, says so, and is killed
		l, err := s.Acquire(context.Background(), need(2))
		fail(err)
		if len(args) > 1 {
			fail(l.Bind(args[1]))
		}
		fail(os.WriteFile(args[0], []byte("held"), 0))
		for {
			_ = unix.Pause()
		}
	case "works": // leases one at a time and sees that it is alone on it
		for range 100 {
			l, err := s.Acquire(context.Background(), need(1))
			fail(err)
			claim := filepath.Join(args[0], l.IDs()[0])
			f, err := os.OpenFile(claim, os.O_CREATE|os.O_EXCL, 0o600)
			fail(err)
			f.Close()
			fail(l.Bind("run"))
			fail(os.Remove(claim))
			l.Release()
		}
	}
}

func start(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], append([]string{helperWord}, args...)...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// TestTwoWorkersNeverShare runs two real worker processes on one host.
func TestTwoWorkersNeverShare(t *testing.T) {
	locks, claims := t.TempDir(), t.TempDir()
	a, b := start(t, "works", locks, claims), start(t, "works", locks, claims)
	if err := errors.Join(a.Wait(), b.Wait()); err != nil {
		t.Error(err)
	}
}

// killed runs a worker until it holds both devices, and kills it.
func killed(t *testing.T, dir string, whileAlive func(), tag ...string) {
	t.Helper()
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := start(t, append([]string{"dies", dir, fifo}, tag...)...)
	if word, err := os.ReadFile(fifo); err != nil || string(word) != "held" {
		t.Fatalf("%s, %v", word, err)
	}
	whileAlive()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
}

func TestDeadWorkerWithoutARun(t *testing.T) {
	dir := t.TempDir()
	s := open(t, gpus(2), Config{LockFolder: dir, Sweep: func(context.Context, ...string) error {
		t.Error("swept, though the dead worker ran nothing")
		return nil
	}})
	killed(t, dir, func() {
		if l := s.TryAcquire(need(1), 1); l != nil {
			t.Errorf("%v is leased to two workers", l[0].IDs())
		}
	})
	l, err := s.Acquire(t.Context(), need(2))
	if err != nil {
		t.Fatal(err)
	}
	l.Release()
}

func TestDeadWorkersRunIsSweptFirst(t *testing.T) {
	for name, onStart := range map[string]bool{"on start": true, "while running": false} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var mu sync.Mutex
			var swept []string
			cfg := Config{LockFolder: dir, Sweep: func(_ context.Context, tags ...string) error {
				mu.Lock()
				defer mu.Unlock()
				swept = append(swept, tags...)
				return nil
			}}
			var s *Semaphore
			if !onStart {
				s = open(t, gpus(2), cfg)
			}
			killed(t, dir, func() {}, "the-run")
			if onStart {
				s = open(t, gpus(2), cfg)
			}
			l, err := s.Acquire(t.Context(), need(2))
			if err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			if got := fmt.Sprint(swept); got != "[the-run the-run]" {
				t.Errorf("swept %s before the lease, want the dead worker's run for both devices", got)
			}
			mu.Unlock()
			l.Release()
		})
	}
}

func TestDeadWorkersRunThatCannotBeProvenDead(t *testing.T) {
	dir := t.TempDir()
	killed(t, dir, func() {}, "the-run")
	alive := Config{LockFolder: dir, Sweep: func(context.Context, ...string) error { return errors.New("process 7 is left") }}
	s := open(t, gpus(2), alive)
	until(t, s, func() bool { return health(s) == "quarantined quarantined" })
	if got := s.Devices()[0].Reason; got != "left by a dead worker: process 7 is left" {
		t.Errorf("reason %q", got)
	}
	if s.TryAcquire(need(1), 1) != nil {
		t.Error("a quarantined device is leased")
	}
	// It stays so for others and after a restart, until an operator clears it.
	other := open(t, gpus(2), Config{LockFolder: dir, Sweep: func(context.Context, ...string) error { return nil }})
	until(t, other, func() bool { return health(other) == "quarantined quarantined" })
	lift(t, s, dir)
	if got := health(s); got != "ok quarantined" {
		t.Errorf("after clearing one: %s", got)
	}
	other.Look(t.Context(), found(gpus(2)))
	if got := health(other); got != "ok quarantined" {
		t.Errorf("the other worker sees %s", got)
	}
	one(t, other, 1).Release()
}

// lift ends the quarantine of the first GPU, and lets its worker notice.
func lift(t *testing.T, s *Semaphore, dir string) {
	t.Helper()
	if err := ClearQuarantine(t.Context(), dir, gpus(1)[0]); err != nil {
		t.Fatal(err)
	}
	s.Look(t.Context(), found(gpus(2)))
}

func TestQuarantine(t *testing.T) {
	dir := t.TempDir()
	s := open(t, gpus(2), Config{LockFolder: dir})
	l := one(t, s, 1)
	if err := l.Bind("run"); err != nil {
		t.Fatal(err)
	}
	l.Quarantine("not proven dead")
	l.Release()
	if got := health(s); got != "quarantined ok" || s.free(need(1)) != 1 {
		t.Errorf("%s, %d free", got, s.free(need(1)))
	}
	// The other device is enough for none but the smaller request.
	w := waiting(t.Context(), s, 2)
	one(t, s, 1).Release()
	lift(t, s, dir)
	if got := <-w; got.err != nil {
		t.Error(got.err)
	}
}

func TestRemovedLockFileStillExcludes(t *testing.T) {
	dir := t.TempDir()
	a := open(t, gpus(1), Config{LockFolder: dir})
	if err := os.Remove(filepath.Join(dir, "GPU-0.lock")); err != nil {
		t.Fatal(err)
	}
	b := open(t, gpus(1), Config{LockFolder: dir})
	one(t, a, 1)
	if got := b.TryAcquire(need(1), 1); got != nil {
		t.Error("two workers hold one device after its lock file was removed")
	}
}

func TestSlotsCutDifferentlyShareCores(t *testing.T) {
	dir := t.TempDir()
	wide := open(t, []node.Device{{ID: "cpu-1", Vendor: CPU, Cores: []int{1, 2, 3}}}, Config{LockFolder: dir})
	narrow := open(t, []node.Device{{ID: "cpu-2", Vendor: CPU, Cores: []int{2}}}, Config{LockFolder: dir})
	l := one(t, narrow, 1)
	if got := wide.TryAcquire(need(1), 1); got != nil {
		t.Error("core 2 is leased twice")
	}
	l.Release()
	got, err := wide.Acquire(t.Context(), need(1))
	if err != nil {
		t.Fatal(err)
	}
	if narrow.TryAcquire(need(1), 1) != nil {
		t.Error("core 2 is leased twice")
	}
	got.Release()
}

// found is a Discoverer of what a driver lists; it may change between looks.
type found []node.Device

func (f found) Discover(context.Context) ([]node.Device, error) { return f, nil }

type usedBy struct {
	found
	users map[string][]int
}

func (u usedBy) Users(context.Context) (map[string][]int, error) {
	users := map[string][]int{}
	for id, pids := range u.users {
		users[id] = slices.Clone(pids)
	}
	return users, nil
}

func TestHealth(t *testing.T) {
	const ours, foreign = 1, 2
	s := open(t, gpus(2), Config{Tagged: func(pid int) bool { return pid == ours }})
	l := one(t, s, 1)
	s.Look(t.Context(), found(gpus(1)))
	if got := health(s); got != "ok missing" || s.free(need(1)) != 0 {
		t.Errorf("vanished: %s, %d free", got, s.free(need(1)))
	}
	w := waiting(t.Context(), s, 1)
	s.Look(t.Context(), found(gpus(3)))
	if got := <-w; got.err != nil || got.lease.IDs()[0] != "GPU-1" {
		t.Errorf("back again: %+v", got)
	} else {
		got.lease.Release()
	}
	if got := health(s); got != "ok ok ok" {
		t.Errorf("a new one: %s", got)
	}
	l.Release()
	busy := usedBy{found(gpus(3)), map[string][]int{"GPU-0": {ours}, "GPU-2": {ours, foreign}}}
	s.Look(t.Context(), busy)
	if got := health(s); got != "ok ok ok" {
		t.Errorf("seen once: %s", got)
	}
	s.Look(t.Context(), busy)
	if got := health(s); got != "ok ok foreign" || s.Devices()[2].Reason != "used by process 2" {
		t.Errorf("seen twice: %s: %q", got, s.Devices()[2].Reason)
	}
	s.Look(t.Context(), found(gpus(3)))
	if got := health(s); got != "ok ok ok" {
		t.Errorf("alone again: %s", got)
	}
}

// TestUnseenProcesses: inside a container, the driver names processes by ids
// that mean nothing there.
func TestUnseenProcesses(t *testing.T) {
	const unseen = 1 << 30
	dir := t.TempDir()
	never := func(int) bool { return false }
	s := open(t, gpus(3), Config{LockFolder: dir, Tagged: never})
	other := open(t, gpus(3), Config{LockFolder: dir, Tagged: never})
	one(t, s, 1)
	one(t, other, 1)
	busy := usedBy{found(gpus(3)), map[string][]int{"GPU-0": {unseen}, "GPU-1": {unseen}, "GPU-2": {unseen}}}
	s.Look(t.Context(), busy)
	s.Look(t.Context(), busy)
	if got := health(s); got != "ok ok foreign" {
		t.Errorf("devices are %s, want only the one that nobody holds foreign", got)
	}
}

func TestWatchEndsWithItsContext(t *testing.T) {
	s := open(t, gpus(1), Config{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.Watch(ctx, found(nil), time.Hour) }()
	until(t, s, func() bool { return health(s) == "missing" })
	cancel()
	<-done
}

func BenchmarkAcquireRelease(b *testing.B) {
	s := open(b, gpus(8), Config{})
	for b.Loop() {
		l, err := s.Acquire(b.Context(), need(1))
		if err != nil {
			b.Fatal(err)
		}
		l.Release()
	}
}

func BenchmarkBoundRun(b *testing.B) {
	s := open(b, gpus(8), Config{Owner: "worker"})
	for b.Loop() {
		for _, l := range s.TryAcquire(need(1), 1) {
			if err := l.Bind("01234567-89ab-cdef-0123-456789abcdef-1"); err != nil {
				b.Fatal(err)
			}
			l.Release()
		}
	}
}

// free says how many leases of need TryAcquire would find, as far as this
// process knows: a device that another process has just taken counts as free.
func (s *Semaphore) free(need node.Requirements) int {
	need.Devices = max(1, need.Devices)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || need.Devices < s.hold {
		return 0
	}
	n, reserved := 0, s.reserved()
	for _, sl := range s.slots {
		if sl.available(need) && !reserved[sl] {
			n++
		}
	}
	return n / need.Devices
}
