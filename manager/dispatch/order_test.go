package dispatch_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/stretchr/testify/require"
)

// named makes a script note its task's name, so that the order of several
// tasks can be seen.
func (s *stand) named(name string, n int, text string) *task.Task {
	t := s.script(name, n, `echo `+name+` >> "$STAND/order"`+"\n"+text)
	t.Optimization.MaxParallel = 1
	return t
}

func TestHigherPriorityGoesFirst(t *testing.T) {
	t.Parallel()
	s := newStand(t, 30*time.Second)
	s.worker("w1", 1)
	s.submit(s.script("blocker", 1, began+gate))
	s.started(1)
	for _, p := range []task.Priority{task.Low, task.Normal, task.High} {
		for i := range 2 {
			spec := s.script(fmt.Sprintf("%s-%d", p, i), 1, "echo "+string(p)+` >> "$STAND/order"`)
			spec.Priority = p
			s.submit(spec)
		}
	}
	s.until("every experiment is offered", func() bool { return s.offers() == 6 })
	s.openGate()
	s.until("all have run", func() bool { return len(s.trace("order")) == 6 })
	require.Equal(t, []string{"high", "high", "normal", "normal", "low", "low"}, s.trace("order"))
}

// Two tasks that came one after the other share the fleet: the first does not
// run to its end while the second waits.
func TestTasksOfOnePriorityShare(t *testing.T) {
	t.Parallel()
	s := newStand(t, 30*time.Second)
	s.worker("w1", 2)
	for _, name := range []string{"first", "second"} {
		spec := s.named(name, 12, "")
		spec.Optimization.MaxParallel = 0
		s.submit(spec)
	}
	s.complete("first")
	s.complete("second")
	order := s.trace("order")
	require.Len(t, order, 24)
	early := order[:16]
	require.Contains(t, early, "second")
	count := 0
	for _, name := range early {
		if name == "second" {
			count++
		}
	}
	require.GreaterOrEqual(t, count, 3, "of the first sixteen: %v", early)
}

// Never more than max_parallel at once, the finalists that are measured again
// at the end included.
func TestMaxParallelIsNeverExceeded(t *testing.T) {
	t.Parallel()
	s := newStand(t, 30*time.Second)
	s.worker("w1", 4)
	spec := s.script("narrow", 6, "")
	// Each run takes a numbered seat; a third one clashes.
	spec.Command.Run.Argv[2] = `for seat in one two; do
  exec 9> "$STAND/$seat"
  if flock -n 9; then break; fi
  seat=
done
[ -n "$seat" ] || echo "$1" >> "$STAND/clash"
echo "$seat" >> "$STAND/seats"
sleep 0.1` + succeed
	spec.Optimization.MaxParallel = 2
	spec.Command.Baseline = space.Point{"i": int64(6)}
	spec.Command.Finalists = 4
	s.submit(spec)
	row := s.complete("narrow")
	require.Empty(t, s.trace("clash"))
	require.Contains(t, s.trace("seats"), "two", "two did run at once")
	confirmations := 0
	for _, e := range s.experiments(row) {
		if e.Purpose == experiment.Confirm {
			confirmations++
		}
	}
	require.Equal(t, 4, confirmations)
}

func TestDependentStartsWhenWhatItWaitsForIsDone(t *testing.T) {
	t.Parallel()
	s := newStand(t, 30*time.Second)
	s.worker("w1", 2)
	s.submit(s.named("first", 2, gate))
	second := s.named("second", 2, "")
	second.DependsOn = []string{"first"}
	require.Equal(t, store.TaskWaiting, s.submit(second).State)
	third := s.named("third", 1, "")
	third.DependsOn = []string{"second"}
	s.submit(third)
	s.until("the first runs", func() bool { return len(s.trace("order")) > 0 })
	s.openGate()
	s.complete("third")
	require.Equal(t, []string{"first", "first", "second", "second", "third"}, s.trace("order"))
}

func TestPausedTaskIsGrantedNothingNew(t *testing.T) {
	t.Parallel()
	s := newStand(t, 30*time.Second)
	s.worker("w1", 1)
	spec := s.script("pausing", 4, began+`[ "$1" = 1 ] || `+gate)
	spec.Optimization.MaxParallel = 3
	row := s.submit(spec)
	s.started(2)
	s.until("the next is offered", func() bool { return s.offers() == 1 })
	require.NoError(t, s.store.Pause(t.Context(), row.ID))
	s.until("what waits is withdrawn", func() bool { return s.offers() == 0 })
	s.openGate()
	s.until("what runs ends well", func() bool { return s.experiments(row)[1].State == experiment.Success })
	// Another task of the same queue passes by: the worker is idle, and looks.
	s.submit(noop("other", 3))
	s.complete("other")
	require.Len(t, s.trace("began"), 2)
	require.NoError(t, s.store.Resume(t.Context(), row.ID))
	row = s.complete("pausing")
	require.Len(t, s.trace("began"), 4)
	s.requireOnce(row)
}

// A request for two devices is not starved by a stream of small ones.
func TestLargeRequestIsServedBesideSmallOnes(t *testing.T) {
	t.Parallel()
	s := newStand(t, 30*time.Second)
	s.worker("w1", 2)
	// A small one goes on until a newer one has begun, for a second at most: two
	// devices are never free at once unless they are held back.
	small := s.script("small", 2000, `exec 9> "$STAND/ticket"; flock 9
echo small >> "$STAND/order"
mine=$(wc -l < "$STAND/order"); exec 9>&-
for i in $(seq 20); do
  [ "$(wc -l < "$STAND/order")" = "$mine" ] || break
  sleep 0.05
done`)
	s.submit(small)
	s.until("small ones run", func() bool { return len(s.trace("order")) > 2 })
	large := s.named("large", 1, "")
	large.Resources.Devices = 2
	s.submit(large)
	row := s.complete("large")
	require.Len(t, s.experiments(row)[0].Devices, 2)
	left, err := s.store.Task(t.Context(), "small")
	require.NoError(t, err)
	require.Equal(t, store.TaskRunning, left.State, "small ones still wait")
	require.NoError(t, s.store.CancelTask(t.Context(), left.ID, "enough"))
}

// While one experiment builds, another has the device: builds hold no lease.
func TestBuildsHoldNoDevice(t *testing.T) {
	t.Parallel()
	s := newStand(t, 30*time.Second)
	s.worker("w1", 1, func(c *setup) { c.Staging = 2 })
	spec := s.script("staged", 3, "")
	// Behind the baseline, the third build waits until the second experiment
	// has run, and the second experiment runs only once the third build has
	// begun: they end only if neither holds what the other needs.
	spec.Command.Build = &task.Step{Timeout: task.Duration(time.Minute), Argv: []string{"sh", "-c", `
echo "$1" >> "$STAND/built"
[ "$1" != 3 ] || until [ -e "$STAND/ran" ]; do sleep 0.05; done`, "sh", "{{i}}"}}
	spec.Command.Run.Argv[2] = `[ "$1" != 2 ] || until grep -q 3 "$STAND/built"; do sleep 0.05; done
[ "$1" != 2 ] || touch "$STAND/ran"` + succeed
	s.submit(spec)
	row := s.complete("staged")
	s.requireOnce(row)
	for _, e := range s.experiments(row) {
		attempts, err := s.store.Attempts(t.Context(), e.ID)
		require.NoError(t, err)
		require.Equal(t, []string{"w1-slot-0"}, attempts[0].Devices)
		require.Contains(t, attempts[0].Timings, "staging")
		require.Contains(t, attempts[0].Timings, "waiting")
	}
}

// One device, many tasks of both kinds: one attempt at a time.
func TestKernelInvariant10_OneLockForEveryKind(t *testing.T) {
	t.Parallel()
	s := newStand(t, 30*time.Second)
	s.worker("w1", 1)
	for i := range 4 {
		s.submit(s.script("script-"+strconv.Itoa(i), 3, alone+began+"sleep 0.05"))
		s.submit(noop("noop-"+strconv.Itoa(i), 3))
	}
	for i := range 4 {
		s.complete("script-" + strconv.Itoa(i))
		s.complete("noop-" + strconv.Itoa(i))
	}
	require.Empty(t, s.trace("clash"))
	require.Len(t, s.trace("began"), 12)
}

// Two worker processes with one lock folder are two owners of the same
// devices: a device has one attempt.
func TestInvariant03_TwoWorkersShareNoDevice(t *testing.T) {
	t.Parallel()
	s := newStand(t, 30*time.Second)
	locks := t.TempDir()
	for _, name := range []string{"w1", "w2"} {
		s.worker(name, 2, func(c *setup) {
			c.locks = locks
			for i := range c.devices {
				c.devices[i].ID, c.devices[i].Vendor = fmt.Sprintf("gpu-%d", i), "nvidia"
			}
		})
	}
	spec := s.script("shared", 30, "")
	spec.Command.Run.Argv[2] = `exec 9> "$STAND/lock-$EXP_DEVICES"
flock -n 9 || echo "$1" >> "$STAND/clash"
echo "$EXP_DEVICES" >> "$STAND/used"
sleep 0.02` + succeed
	s.submit(spec)
	row := s.complete("shared")
	require.Empty(t, s.trace("clash"))
	used := s.trace("used")
	require.Len(t, used, 30)
	slices.Sort(used)
	require.Equal(t, []string{"gpu-0", "gpu-1"}, slices.Compact(used))
	s.requireOnce(row)
}
