package chaos

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/fleetune/fleetune/manager/chaos/probe"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/google/uuid"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// good is what an experiment looks like when nothing went wrong.
func good(point int) row {
	success, nonce, epoch := "success", float64(1000+point), int64(1)
	return row{
		ID: uuid.UUID{15: byte(point)}, Number: point + 1, Purpose: "search", Point: point, Outcome: &success, Epoch: epoch,
		Shown: &nonce, Accepted: 1, AcceptedEpoch: &epoch, Measured: &nonce,
	}
}

// Each kind of harm is seen, and only that kind.
func TestJudge(t *testing.T) {
	other, older := 7777.0, int64(1)
	failed := "failed"
	for name, c := range map[string]struct {
		spoil func(rows []row) []row
		want  findings
	}{
		"nothing": {func(r []row) []row { return r }, findings{experiments: 3}},
		"a lost result": {func(r []row) []row { r[1].Accepted = 0; return r },
			findings{experiments: 3, lost: 1}},
		"not ended": {func(r []row) []row { r[1].Outcome = nil; return r },
			findings{experiments: 3, lost: 1}},
		"failed by the place's fault": {func(r []row) []row { r[1].Outcome = &failed; return r },
			findings{experiments: 3, lost: 1}},
		"a point never measured": {func(r []row) []row { return r[:2] },
			findings{experiments: 2, lost: 1}},
		"accepted twice": {func(r []row) []row { r[2].Accepted = 2; return r },
			findings{experiments: 3, duplicated: 1}},
		"measured twice": {func(r []row) []row { return append(r, good(0)) },
			findings{experiments: 4, duplicated: 1}},
		"a confirmation is no second measurement": {func(r []row) []row {
			again := good(0)
			again.Purpose = "confirm"
			return append(r, again)
		}, findings{experiments: 4}},
		"an older epoch's result": {func(r []row) []row { r[0].Epoch = 2; r[0].AcceptedEpoch = &older; return r },
			findings{experiments: 3, stale: 1}},
		"an older claim's result under the last one's name": {func(r []row) []row {
			newer := int64(2)
			r[0].Epoch, r[0].AcceptedEpoch = newer, &newer
			return r
		}, findings{experiments: 3, stale: 1}},
		"a result nobody measured": {func(r []row) []row { r[0].Measured, r[0].Shown = &other, &other; return r },
			findings{experiments: 3, stale: 1}},
		"another point's result": {func(r []row) []row { r[0].Measured, r[0].Shown = r[1].Measured, r[1].Shown; return r },
			findings{experiments: 3, stale: 1}},
		"row and attempt differ": {func(r []row) []row { r[0].Shown = &other; return r },
			findings{experiments: 3, stale: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			ran := map[float64]probe.Entry{}
			var rows []row
			for point := range 3 {
				rows = append(rows, good(point))
				ran[float64(1000+point)] = probe.Entry{Run: tag(uuid.UUID{15: byte(point)}, 1), Point: point, Nonce: float64(1000 + point)}
			}
			s := &stand{cfg: Config{Points: 3}, log: zerolog.Nop()}
			var f findings
			s.judge(&f, "task", c.spoil(rows), ran)
			require.Equal(t, c.want, f)
		})
	}
}

func prepared(t *testing.T) *stand {
	s, err := newStand(t.Context(), Config{Dir: t.TempDir(), Probe: "/bin/true", Workers: 3, Lease: 4 * time.Second, Log: zerolog.Nop()}.withDefaults())
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := s.stop()
		require.NoError(t, err)
	})
	return s
}

// The seed alone decides what is done to whom and when.
func TestPlansAreRepeatable(t *testing.T) {
	s := prepared(t)
	draw := func(seed uint64) (plans []string) {
		choice := rand.New(rand.NewPCG(seed, 0))
		for range 50 {
			plans = append(plans, s.draw(choice).String())
		}
		return plans
	}
	first, second := draw(7), draw(7)
	require.Equal(t, first, second)
	require.NotEqual(t, draw(7), draw(8))
}

// Every fault is drawn sooner or later, and no two hit the same target at once.
func TestPlansCoverEveryFault(t *testing.T) {
	s := prepared(t)
	choice := rand.New(rand.NewPCG(1, 0))
	missing := map[string]bool{}
	for _, f := range s.faults(choice) {
		missing[f.name] = true
	}
	for range 500 {
		targets := map[string]bool{}
		for _, f := range s.draw(choice) {
			require.False(t, targets[f.target])
			targets[f.target] = true
			delete(missing, f.name)
		}
	}
	require.Empty(t, missing)
}

func TestSmallDiskFillsAndHeals(t *testing.T) {
	s := prepared(t)
	if s.small == "" {
		t.Skip(s.skipped)
	}
	heal, err := s.fillDisk(t.Context())
	require.NoError(t, err)
	file := filepath.Join(s.small, "result")
	require.ErrorIs(t, os.WriteFile(file, []byte("x"), 0o644), syscall.ENOSPC)
	require.NoError(t, heal())
	require.NoError(t, os.WriteFile(file, []byte("x"), 0o644))
}

func TestPart(t *testing.T) {
	p := &part{name: "sleeper", argv: []string{"sleep", "1000"}, dir: t.TempDir()}
	require.NoError(t, p.start())
	require.True(t, p.alive())
	require.NoError(t, p.signal(syscall.SIGSTOP))
	require.NoError(t, p.stop(), "a stopped program is woken to end")
	require.False(t, p.alive())
	require.NoError(t, p.start())
	require.NoError(t, p.kill())
	require.False(t, p.alive())
	require.NoError(t, p.kill(), "twice is harmless")
}

// A program that ended by itself is started again; one that lives is left alone.
func TestRevive(t *testing.T) {
	p := &part{name: "shortlived", argv: []string{"true"}, dir: t.TempDir()}
	again, err := p.revive()
	require.NoError(t, err)
	require.False(t, again, "it was never started")
	require.NoError(t, p.start())
	<-p.exited
	again, err = p.revive()
	require.NoError(t, err)
	require.False(t, again, "not in a row")
	p.started = p.started.Add(-restartPause)
	again, err = p.revive()
	require.NoError(t, err)
	require.True(t, again)
	<-p.exited
}

// What the stand submits is a task without a single complaint.
func TestTaskIsValid(t *testing.T) {
	s := prepared(t)
	data, err := json.Marshal(s.task("chaos-1-a"))
	require.NoError(t, err)
	spec, problems := task.Decode("chaos.json", data)
	require.Empty(t, problems)
	require.Zero(t, spec.Command.Finalists)
	require.Equal(t, 1, spec.Optimization.Repeats)
}

// A process that outlives the stand is found by its mark, and ended.
func TestSweepFindsWhatIsLeft(t *testing.T) {
	s := prepared(t)
	left := s.part("left")
	left.argv = []string{"sleep", "1000"}
	require.NoError(t, left.start())
	n, err := s.sweep()
	require.NoError(t, err)
	require.Equal(t, 1, n)
	<-left.exited
	n, err = s.sweep()
	require.NoError(t, err)
	require.Zero(t, n)
}
