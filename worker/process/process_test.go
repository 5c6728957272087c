package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func helperArgv(args ...string) []string {
	return append([]string{os.Args[0], helperWord}, args...)
}

// runners are the two ways a tree is found.
func runners(t *testing.T) map[string]*Runner {
	t.Helper()
	all := map[string]*Runner{"marks": New(Config{NoCgroup: true})}
	if r := New(Config{}); r.UsesCgroups() {
		all["cgroup"] = r
	}
	return all
}

// eachRunner runs a test both ways; the cgroup way is skipped by name.
func eachRunner(t *testing.T, test func(t *testing.T, r *Runner)) {
	all := runners(t)
	for _, name := range []string{"marks", "cgroup"} {
		t.Run(name, func(t *testing.T) {
			r := all[name]
			if r == nil {
				t.Skip("no cgroup v2 hierarchy is delegated to this process")
			}
			test(t, r)
		})
	}
}

// A stand is a device in the shape of a lock file.
type stand struct{ lock, fifo string }

func newStand(t *testing.T) stand {
	t.Helper()
	dir := t.TempDir()
	s := stand{lock: filepath.Join(dir, "device"), fifo: filepath.Join(dir, "fifo")}
	for _, name := range []string{s.fifo, s.fifo + "-leave"} {
		if err := unix.Mkfifo(name, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// await waits until a helper holds the device.
func (s stand) await(t *testing.T) {
	t.Helper()
	word, err := os.ReadFile(s.fifo)
	if err != nil || string(word) != "held" {
		t.Fatalf("the device is %q (%v), want held", word, err)
	}
}

// leave lets the parent of the process that holds the device go.
func (s stand) leave(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(s.fifo+"-leave", []byte("go"), 0); err != nil {
		t.Fatal(err)
	}
}

// assertFree takes the device at the first try.
func (s stand) assertFree(t *testing.T) {
	t.Helper()
	file, err := os.OpenFile(s.lock, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Fatalf("the device is still held: %v", err)
	}
}

func assertNoZombies(t *testing.T) {
	t.Helper()
	all, err := processes()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if e.zombie && e.parent == os.Getpid() {
			t.Errorf("process %d is a zombie of ours", e.pid)
		}
	}
}

// TestNoProcessSurvives is the first invariant of command experiments: after a
// run, whatever its tree looked like, the next one gets the device at once.
func TestNoProcessSurvives(t *testing.T) {
	rounds := 8
	if testing.Short() {
		rounds = 2
	}
	shapes := []struct {
		name   string
		cancel bool // it does not end by itself
		grace  time.Duration
	}{
		{"waits", true, 0}, {"leaves-stdout", false, 0}, {"leaves", false, 0},
		{"setsid", false, 0}, {"deaf", true, 20 * time.Millisecond}, {"cleared", false, 0},
	}
	eachRunner(t, func(t *testing.T, r *Runner) {
		for _, shape := range shapes {
			t.Run(shape.name, func(t *testing.T) {
				s := newStand(t)
				for round := range rounds {
					ctx, cancel := context.WithCancelCause(t.Context())
					p, err := r.Start(ctx, Spec{
						Argv: helperArgv(shape.name, s.lock, s.fifo), Env: os.Environ(), Grace: shape.grace,
						Tag: fmt.Sprintf("%s-%d", t.Name(), round), Stdout: filepath.Join(t.TempDir(), "out"),
					})
					if err != nil {
						t.Fatal(err)
					}
					s.await(t)
					stop := errors.New("enough")
					if shape.cancel {
						cancel(stop)
					} else {
						s.leave(t)
					}
					exit, err := p.Wait()
					cancel(nil)
					if err != nil {
						t.Fatal(err)
					}
					s.assertFree(t)
					assertNoZombies(t)
					if shape.cancel != errors.Is(exit.Cause, stop) {
						t.Errorf("cause %v", exit.Cause)
					}
					if !shape.cancel && (!exit.OK() || exit.Survivors == 0) {
						t.Errorf("exit %+v, want success with a survivor", exit)
					}
				}
			})
		}
	})
}

func TestOrphansAreReaped(t *testing.T) {
	eachRunner(t, func(t *testing.T, r *Runner) {
		for round := range 5 {
			if _, err := r.Run(t.Context(), Spec{Argv: helperArgv("orphans"), Env: os.Environ(),
				Tag: fmt.Sprintf("%s-%d", t.Name(), round)}); err != nil {
				t.Fatal(err)
			}
			assertNoZombies(t)
		}
	})
}

// TestOthersKeepTheirExitStatus runs a child of this process beside runs whose
// orphans are reaped.
func TestOthersKeepTheirExitStatus(t *testing.T) {
	r := New(Config{})
	done := make(chan error)
	go func() {
		for range 20 {
			err := exec.Command("/bin/sh", "-c", "exit 5").Run()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 5 {
				done <- fmt.Errorf("child of another: %w", err)
				return
			}
		}
		done <- nil
	}()
	for round := range 5 {
		if _, err := r.Run(t.Context(), Spec{Argv: helperArgv("orphans"), Env: os.Environ(),
			Tag: fmt.Sprintf("%s-%d", t.Name(), round)}); err != nil {
			t.Error(err)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func sh(t *testing.T, script string) Spec {
	t.Helper()
	return Spec{Argv: []string{"sh", "-c", script}, Env: []string{"PATH=" + os.Getenv("PATH")}, Tag: t.Name()}
}

func TestExit(t *testing.T) {
	r := New(Config{})
	for _, c := range []struct {
		script string
		code   int
		signal syscall.Signal
	}{{"exit 0", 0, 0}, {"exit 42", 42, 0}, {"kill -KILL $$", -1, unix.SIGKILL}, {"kill -SEGV $$", -1, unix.SIGSEGV}} {
		exit, err := r.Run(t.Context(), sh(t, c.script))
		if err != nil || exit.Code != c.code || exit.Signal != c.signal || exit.Cause != nil || exit.PID <= 0 {
			t.Errorf("%s: %+v, %v", c.script, exit, err)
		}
		if exit.OOM {
			t.Errorf("%s: taken for out of memory", c.script)
		}
	}
}

func TestEnvironment(t *testing.T) {
	r := New(Config{})
	dir := t.TempDir()
	s := sh(t, `pwd; echo "$EXP_RUN_ID $GIVEN $HOME"; readlink /proc/self/fd/0; echo problem >&2; tr '\\0' '\\n' </proc/$$/environ | grep -c EXP_RUN_ID`)
	s.Dir, s.Stdout = dir, filepath.Join(dir, "out")
	s.Stderr = s.Stdout
	s.Env = append(s.Env, "EXP_RUN_ID=forged", "GIVEN=yes")
	if exit, err := r.Run(t.Context(), s); err != nil || !exit.OK() {
		t.Fatal(exit, err)
	}
	got, err := os.ReadFile(s.Stdout)
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%s\n%s yes \n/dev/null\nproblem\n1\n", dir, t.Name())
	if string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestStartFailures(t *testing.T) {
	r := New(Config{})
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx  context.Context
		spec Spec
	}{
		"no argv":     {t.Context(), Spec{Tag: "a"}},
		"no tag":      {t.Context(), Spec{Argv: []string{"/bin/true"}}},
		"no program":  {t.Context(), Spec{Argv: []string{"no-such-program"}, Tag: "a", Env: os.Environ()}},
		"no path":     {t.Context(), Spec{Argv: []string{"sh"}, Tag: "a"}},
		"not a file":  {t.Context(), Spec{Argv: []string{dir}, Tag: "a"}},
		"not allowed": {t.Context(), Spec{Argv: []string{plain}, Tag: "a"}},
		"no folder":   {t.Context(), Spec{Argv: []string{"/bin/true"}, Dir: filepath.Join(dir, "none"), Tag: "a"}},
		"no log":      {t.Context(), Spec{Argv: []string{"/bin/true"}, Stdout: filepath.Join(dir, "none", "out"), Tag: "a"}},
		"no core":     {t.Context(), Spec{Argv: []string{"/bin/true"}, Cores: []int{9999}, Tag: "a"}},
		"core twice":  {t.Context(), Spec{Argv: []string{"/bin/true"}, Cores: []int{0, 0}, Tag: "a"}},
		"cancelled":   {ended, Spec{Argv: []string{"/bin/true"}, Tag: "a"}},
	} {
		t.Run(name, func(t *testing.T) {
			if exit, err := r.Run(c.ctx, c.spec); !errors.Is(err, ErrStart) {
				t.Errorf("%+v, %v, want ErrStart", exit, err)
			}
		})
	}
}

func TestFloodIsCapped(t *testing.T) {
	r := New(Config{})
	out := filepath.Join(t.TempDir(), "out")
	const limit = 100_000
	exit, err := r.Run(t.Context(), Spec{Argv: helperArgv("flood"), Env: os.Environ(), Stdout: out, LogCap: limit, Tag: t.Name()})
	if err != nil || !exit.OK() || exit.LogErr != nil {
		t.Fatalf("%+v, %v", exit, err)
	}
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) < limit || len(got) > limit+100 {
		t.Errorf("%d bytes kept, want the cap and a mark", len(got))
	}
	if !bytes.HasPrefix(got, []byte("first\n")) || !bytes.HasSuffix(got, []byte("x\nlast\n")) {
		t.Errorf("begins %.20q, ends %.20q", got, got[len(got)-20:])
	}
	if mark := fmt.Sprintf("… %d bytes left out …", 64<<20+11-limit); !bytes.Contains(got, []byte(mark)) {
		t.Errorf("no mark %q", mark)
	}
}

func TestFullDiskDoesNotStopTheProgram(t *testing.T) {
	r := New(Config{})
	exit, err := r.Run(t.Context(), Spec{Argv: helperArgv("flood"), Env: os.Environ(), Stdout: "/dev/full", Tag: t.Name()})
	if err != nil || !exit.OK() || !errors.Is(exit.LogErr, unix.ENOSPC) {
		t.Fatalf("%+v, %v, want success and ENOSPC as LogErr", exit, err)
	}
}

func TestCoresFromTheFirstInstruction(t *testing.T) {
	r := New(Config{})
	var own unix.CPUSet
	if err := unix.SchedGetaffinity(os.Getpid(), &own); err != nil {
		t.Fatal(err)
	}
	for core := range 1024 {
		if !own.IsSet(core) {
			continue
		}
		out := filepath.Join(t.TempDir(), "out")
		if exit, err := r.Run(t.Context(), Spec{Argv: helperArgv("cores"), Env: os.Environ(), Stdout: out, Cores: []int{core}, Tag: t.Name()}); err != nil || !exit.OK() {
			t.Fatal(exit, err)
		}
		if got, _ := os.ReadFile(out); string(got) != fmt.Sprint(core) {
			t.Errorf("runs on %q, want %d", got, core)
		}
	}
	// No thread of ours keeps the cores of a child.
	threads, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil {
		t.Fatal(err)
	}
	var lists []string
	for _, name := range threads {
		status, err := os.ReadFile(name)
		if err != nil {
			continue // the thread has ended
		}
		_, rest, _ := strings.Cut(string(status), "Cpus_allowed_list:")
		list, _, _ := strings.Cut(rest, "\n")
		lists = append(lists, list)
	}
	slices.Sort(lists)
	if lists = slices.Compact(lists); len(lists) != 1 {
		t.Errorf("threads have affinities %q", lists)
	}
}

func TestSweep(t *testing.T) {
	eachRunner(t, func(t *testing.T, r *Runner) {
		s := newStand(t)
		tag := "dead/" + t.Name()
		// What a worker that was killed leaves: a tagged tree that nobody waits for.
		cmd := exec.Command(os.Args[0], helperWord, "setsid", s.lock, s.fifo)
		cmd.Env = append(os.Environ(), TagVariable+"="+tag)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		s.await(t)
		s.leave(t)
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		if err := r.Sweep(t.Context(), "another tag"); err != nil {
			t.Fatal(err)
		}
		if file, err := os.Open(s.lock); err != nil || unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			t.Fatal("the sweep of another run freed the device")
		}
		if err := r.Sweep(t.Context(), "another tag", tag); err != nil {
			t.Fatal(err)
		}
		s.assertFree(t)
		assertNoZombies(t)
	})
}

// TestNotProvenDead stops a member of the tree from being reaped: its parent is
// a foreign process that does not wait. The dead are told from the living by
// nothing less than their absence.
func TestNotProvenDead(t *testing.T) {
	t.Cleanup(func() { assertNoZombies(t) })
	// A process that takes over the run's mark but is no descendant of it, and
	// a parent of it that does not wait for its children.
	tag := t.Name()
	cmd := exec.Command("/bin/sh", "-c", `sh -c 'echo up; exec sleep 1000' & exec sleep 1000`)
	cmd.Env = append(os.Environ(), "A=b")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	markLimit(childOf(t, cmd.Process.Pid), markOf(tag))
	r := New(Config{NoCgroup: true, KillBudget: 50 * time.Millisecond})
	if err := r.Sweep(t.Context(), tag); !errors.Is(err, ErrNotProvenDead) {
		t.Errorf("sweep says %v while a zombie is left, want ErrNotProvenDead", err)
	}
	exit, err := r.Run(t.Context(), Spec{Argv: []string{"/bin/true"}, Tag: tag})
	if err != nil {
		t.Errorf("a process older than the run is taken for a member: %+v, %v", exit, err)
	}
	_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
	_ = cmd.Wait()
	if err := New(Config{NoCgroup: true}).Sweep(t.Context(), tag); err != nil {
		t.Error(err)
	}
}

// TestHeldOutput: as long as anybody holds the program's output, something of
// its tree may be alive that no mark shows.
func TestHeldOutput(t *testing.T) {
	r := New(Config{KillBudget: 100 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := newStand(t)
	p, err := r.Start(ctx, Spec{Argv: helperArgv("hold", s.lock, s.fifo), Env: os.Environ(),
		Stdout: filepath.Join(t.TempDir(), "out"), Tag: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	s.await(t)
	held, err := os.OpenFile(procPath(p.PID(), "fd/1"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	cancel()
	if exit, err := p.Wait(); !errors.Is(err, ErrNotProvenDead) || exit.Signal != unix.SIGKILL {
		t.Errorf("%+v, %v, want ErrNotProvenDead", exit, err)
	}
}

func childOf(t *testing.T, pid int) int {
	t.Helper()
	all, err := processes()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(e entry) bool { return e.parent == pid })
	if i < 0 {
		t.Fatalf("process %d has no child", pid)
	}
	return all[i].pid
}

// TestOutOfMemory lets the kernel kill a program for memory.
func TestOutOfMemory(t *testing.T) {
	dir := filepath.Join("/sys/fs/cgroup/memory", fmt.Sprintf("fleetune-test-%d", os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skipf("no writable memory cgroup of version 1: %v", err)
	}
	t.Cleanup(func() { _ = unix.Rmdir(dir) })
	if err := os.WriteFile(filepath.Join(dir, "memory.limit_in_bytes"), []byte("67108864"), 0); err != nil {
		t.Skipf("no memory limit can be set: %v", err)
	}
	exit, err := New(Config{}).Run(t.Context(), Spec{
		Argv: helperArgv("hungry", filepath.Join(dir, "cgroup.procs")), Env: os.Environ(), Tag: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	if exit.Code == 7 {
		t.Skip("the memory cgroup cannot be joined")
	}
	if exit.Signal != unix.SIGKILL || !exit.OOM {
		t.Errorf("%+v, want a kill for memory", exit)
	}
}

// BenchmarkRun is the time from one start to the proof that all is dead.
func BenchmarkRun(b *testing.B) {
	for name, c := range map[string]Config{"marks": {NoCgroup: true}, "best": {}} {
		b.Run(name, func(b *testing.B) {
			r := New(c)
			out := filepath.Join(b.TempDir(), "out")
			for i := 0; b.Loop(); i++ {
				if _, err := r.Run(b.Context(), Spec{Argv: []string{"/bin/true"}, Stdout: out, Tag: fmt.Sprintf("%s-%d", b.Name(), i)}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
