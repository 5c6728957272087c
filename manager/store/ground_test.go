package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/fleetune/fleetune/manager/postgres/pgtest"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { pgtest.Main(m, goleak.IgnoreCurrent()) }

// ground is a database of a test's own, led by the test.
type ground struct {
	*store.Store
	t      *testing.T
	pool   *pgxpool.Pool
	leader uuid.UUID
	term   int64
}

func newGround(t *testing.T) *ground {
	t.Helper()
	pool := pgtest.New(t)
	g := &ground{Store: store.New(pool), t: t, pool: pool, leader: uuid.New()}
	g.term = g.lead(g.leader)
	return g
}

func (g *ground) lead(holder uuid.UUID) int64 {
	g.t.Helper()
	l, err := g.AcquireLeader(g.t.Context(), holder, "", time.Hour)
	require.NoError(g.t, err)
	return l.Term
}

// depose lets another manager lead and returns its term.
func (g *ground) depose() int64 {
	g.t.Helper()
	require.NoError(g.t, g.ReleaseLeader(g.t.Context(), g.leader))
	g.leader = uuid.New()
	return g.lead(g.leader)
}

// spec is a task that needs devices of them.
func spec(name string, devices int, dependsOn ...string) *task.Task {
	return &task.Task{
		Name:  name,
		Space: space.Space{Parameters: []space.Parameter{{Name: "i", Type: space.Integer, Low: 1, High: 100}}},
		Optimization: task.Optimization{
			Strategy: "grid_search", Objectives: []task.Objective{{Metric: "time", Direction: task.Minimize}},
			MaxIterations: 100, IterationTimeout: task.Duration(time.Minute), Timeout: task.Duration(time.Hour), Repeats: 1,
		},
		Resources: node.Requirements{Pool: "default", Accelerator: "any", Devices: devices},
		Priority:  task.Normal, DependsOn: dependsOn,
	}
}

func (g *ground) create(t *task.Task) store.Task {
	g.t.Helper()
	row, err := g.CreateTask(g.t.Context(), store.NewTask{Spec: t, Source: "source of " + t.Name, Planned: t.Optimization.MaxIterations})
	require.NoError(g.t, err)
	return row
}

// queue adds n experiments to a task, numbered on from what it has.
func (g *ground) queue(of store.Task, n int) []uuid.UUID {
	g.t.Helper()
	var last int
	require.NoError(g.t, g.pool.QueryRow(g.t.Context(), `SELECT coalesce(max(number), 0) FROM experiments WHERE task_id = $1`, of.ID).Scan(&last))
	ids := make([]uuid.UUID, n)
	list := make([]store.NewExperiment, n)
	for i := range list {
		ids[i] = uuid.New()
		list[i] = store.NewExperiment{ID: ids[i], Number: last + 1 + i, Purpose: experiment.Search, Parameters: space.Point{"i": int64(i)}}
	}
	require.NoError(g.t, g.InsertExperiments(g.t.Context(), g.term, of.ID, list))
	return ids
}

func claimOf(id uuid.UUID) store.Claim {
	return store.Claim{ID: uuid.New(), Experiment: id, Worker: "w1", Session: uuid.Max, Devices: []string{"gpu-0", `a "quoted\one"`}}
}

// claim grants an experiment.
func (g *ground) claim(id uuid.UUID) store.Granted {
	g.t.Helper()
	c := claimOf(id)
	granted, err := g.Claim(g.t.Context(), []store.Claim{c})
	require.NoError(g.t, err)
	require.Contains(g.t, granted, c.ID, "the claim was refused")
	return granted[c.ID]
}

// refuses checks that an experiment cannot be claimed.
func (g *ground) refuses(id uuid.UUID) {
	g.t.Helper()
	granted, err := g.Claim(g.t.Context(), []store.Claim{claimOf(id)})
	require.NoError(g.t, err)
	require.Empty(g.t, granted)
}

// result of a grant, with the score 5 if it succeeded.
func resultOf(g store.Granted, outcome experiment.Outcome) store.Result {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	r := store.Result{Report: wire.Report{
		Version: wire.Version, Worker: "w1", Experiment: g.Experiment, Task: g.Task, Epoch: g.Epoch, Attempt: g.Attempt,
		Devices: []string{"gpu-0"}, StartedAt: at, FinishedAt: at.Add(time.Minute), Outcome: outcome,
		Timings: map[string]time.Duration{"running": time.Second},
	}}
	if outcome == experiment.OutcomeSuccess {
		r.Scores = []float64{5}
		r.Measurement = &experiment.Measurement{Metrics: map[string]experiment.Metric{
			"time": {Unit: "ms", Samples: []float64{4, 5, 6}, Median: 5, Spread: 1},
		}}
	} else {
		code := 3
		r.Failure = &experiment.Failure{Phase: "run", Message: "it " + string(outcome), ExitCode: &code, LogTail: "the end"}
	}
	return r
}

func handedBack(g store.Granted) store.Result {
	r := resultOf(g, experiment.OutcomeInfraError)
	r.HandedBack = true
	return r
}

// commit commits results under a limit of one repetition and returns how many
// were accepted.
func (g *ground) commit(results ...store.Result) int {
	g.t.Helper()
	committed, err := g.CommitResults(g.t.Context(), results, 1)
	require.NoError(g.t, err)
	return len(committed)
}

// lose takes an attempt away and returns what became of the experiment.
func (g *ground) lose(of store.Granted) []store.Requeued {
	g.t.Helper()
	requeued, err := g.Requeue(g.t.Context(), g.term, []store.Lost{{Experiment: of.Experiment, Epoch: of.Epoch, Reason: "silent"}}, 3)
	require.NoError(g.t, err)
	return requeued
}

func (g *ground) get(id uuid.UUID) store.Experiment {
	g.t.Helper()
	list, err := g.ExperimentsByID(g.t.Context(), []uuid.UUID{id})
	require.NoError(g.t, err)
	require.Len(g.t, list, 1)
	return list[0]
}

// stands checks an experiment's state; an outcome is empty while it is live.
func (g *ground) stands(id uuid.UUID, state experiment.State, outcome experiment.Outcome) {
	g.t.Helper()
	e := g.get(id)
	require.Equal(g.t, state, e.State)
	var got experiment.Outcome
	if e.Outcome != nil {
		got = *e.Outcome
	}
	require.Equal(g.t, outcome, got)
}

// attempts describes an experiment's attempts: "1 lost", "2 success accepted".
func (g *ground) attempts(id uuid.UUID) []string {
	g.t.Helper()
	list, err := g.Attempts(g.t.Context(), id)
	require.NoError(g.t, err)
	var texts []string
	for _, a := range list {
		text := fmt.Sprintf("%d %s", a.Epoch, a.Outcome)
		if a.Accepted {
			text += " accepted"
		}
		texts = append(texts, text)
	}
	return texts
}

func (g *ground) exec(statement string, args ...any) {
	g.t.Helper()
	_, err := g.pool.Exec(g.t.Context(), statement, args...)
	require.NoError(g.t, err)
}
