package store_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

const (
	modelLosses = 3
	modelInfra  = 1
)

// life is what an experiment should look like: experiment.Next says where each
// event leads, this only keeps the books.
type life struct {
	id            uuid.UUID
	state         experiment.State
	outcome       experiment.Outcome
	epoch         int64
	losses, infra int
	attempts      map[int64]string // by epoch, with " accepted" behind it
}

func (l *life) happen(t *rapid.T, from experiment.State, e experiment.Event) {
	next, err := experiment.Next(from, e)
	require.NoError(t, err)
	l.state = next
}

// keep notes an attempt that ended; one that was lost may still bring its report.
func (l *life) keep(epoch int64, text string) {
	if was, known := l.attempts[epoch]; !known || was == "lost" {
		l.attempts[epoch] = text
	}
}

func (l *life) end(t *rapid.T, from experiment.State, o experiment.Outcome) {
	l.happen(t, from, experiment.Report(o))
	l.outcome = o
}

// again queues an experiment once more, unless its task is over.
func (l *life) again(t *rapid.T, over bool, e experiment.Event) {
	if over {
		l.end(t, experiment.Running, experiment.OutcomeCancelled)
		return
	}
	l.happen(t, experiment.Running, e)
}

func (l *life) report(t *rapid.T, epoch int64, o experiment.Outcome, over bool) {
	repeat := o.Transient() && l.infra < modelInfra
	held := epoch == l.epoch && l.state == experiment.Running
	// The lease ran out, nobody else has claimed it: as good as running still.
	late := epoch == l.epoch && l.state == experiment.Queued && l.attempts[epoch] == "lost" && !repeat
	switch {
	case held && repeat:
		l.infra++
		l.again(t, over, experiment.Retry())
		text := string(o)
		if over {
			text += " accepted"
		}
		l.keep(epoch, text)
	case held || late:
		l.end(t, experiment.Running, o)
		l.keep(epoch, string(o)+" accepted")
	default:
		l.keep(epoch, string(o))
	}
}

func (l *life) handBack(t *rapid.T, epoch int64, over bool) {
	if epoch == l.epoch && l.state == experiment.Running {
		l.again(t, over, experiment.HandBack())
	}
	l.keep(epoch, "handed_back")
}

func (l *life) lose(t *rapid.T, epoch int64, over bool) {
	if epoch != l.epoch || l.state != experiment.Running {
		return
	}
	l.losses++
	switch {
	case over:
		l.end(t, experiment.Running, experiment.OutcomeCancelled)
	case l.losses >= modelLosses:
		l.end(t, experiment.Running, experiment.OutcomeLost)
	default:
		l.happen(t, experiment.Running, experiment.Lose())
	}
	l.keep(epoch, "lost")
}

// A story is one task whose events fall at random.
type story struct {
	g     *ground
	row   store.Task
	over  bool
	lives []*life
}

// step lets one event happen, to the database and to the model.
func (s *story) step(t *rapid.T) {
	ctx := context.Background()
	l := rapid.SampledFrom(s.lives).Draw(t, "experiment")
	what := rapid.SampledFrom([]string{"claim", "claim", "claim", "report", "report", "hand back", "lose", "lose", "cancel"}).Draw(t, "event")
	epoch := rapid.Int64Range(max(l.epoch-1, 1), max(l.epoch, 1)).Draw(t, "epoch")
	grant := store.Granted{Experiment: l.id, Task: s.row.ID, Epoch: epoch, Attempt: 1}
	if what != "claim" && what != "cancel" && epoch > l.epoch {
		return // nobody holds an epoch that was never granted
	}
	switch what {
	case "claim":
		c := claimOf(l.id)
		granted, err := s.g.Claim(ctx, []store.Claim{c})
		require.NoError(t, err)
		next, err := experiment.Next(l.state, experiment.Claim())
		may := err == nil && !s.over
		require.Equal(t, may, len(granted) == 1)
		if may {
			l.state = next
			l.epoch++
			require.Equal(t, l.epoch, granted[c.ID].Epoch)
		}
	case "report":
		o := rapid.SampledFrom([]experiment.Outcome{experiment.OutcomeSuccess, experiment.OutcomeFailed,
			experiment.OutcomeInfraError, experiment.OutcomeInfraError, experiment.OutcomeCancelled}).Draw(t, "outcome")
		r := resultOf(grant, o)
		_, err := s.g.CommitResults(ctx, []store.Result{r}, modelInfra)
		require.NoError(t, err)
		l.report(t, epoch, o, s.over)
	case "hand back":
		_, err := s.g.CommitResults(ctx, []store.Result{handedBack(grant)}, modelInfra)
		require.NoError(t, err)
		l.handBack(t, epoch, s.over)
	case "lose":
		_, err := s.g.Requeue(ctx, s.g.term, []store.Lost{{Experiment: l.id, Epoch: epoch, Reason: "silent"}}, modelLosses)
		require.NoError(t, err)
		l.lose(t, epoch, s.over)
	case "cancel":
		if s.over || rapid.IntRange(0, 3).Draw(t, "whether") > 0 {
			return
		}
		require.NoError(t, s.g.CancelTask(ctx, s.row.ID, ""))
		s.over = true
		for _, l := range s.lives {
			if l.state == experiment.Queued {
				l.happen(t, experiment.Queued, experiment.Cancel())
				l.outcome = experiment.OutcomeCancelled
			}
		}
	}
}

// check compares the database with the model.
func (s *story) check(t *rapid.T) {
	for _, l := range s.lives {
		list, err := s.g.ExperimentsByID(context.Background(), []uuid.UUID{l.id})
		require.NoError(t, err)
		var outcome experiment.Outcome
		if list[0].Outcome != nil {
			outcome = *list[0].Outcome
		}
		require.Equal(t, []any{l.state, l.outcome, l.epoch}, []any{list[0].State, outcome, list[0].Epoch})
		require.Equal(t, list[0].State.Final(), list[0].FinishedAt != nil)
		attempts, err := s.g.Attempts(context.Background(), l.id)
		require.NoError(t, err)
		accepted := 0
		got := map[int64]string{}
		for _, a := range attempts {
			if got[a.Epoch] = a.Outcome; a.Accepted {
				accepted++
				got[a.Epoch] += " accepted"
			}
		}
		require.Equal(t, l.attempts, got)
		require.LessOrEqual(t, accepted, 1, "one accepted result at most")
		if l.state == experiment.Success {
			require.Equal(t, 1, accepted)
		}
	}
}

// Invariant 2: however claims, reports, silence, hand-backs and a cancel fall,
// and however often each is repeated, the database stands where
// experiment.Next leads, and no experiment has two accepted results.
func TestDatabaseFollowsTheModel(t *testing.T) {
	g := newGround(t)
	tasks := 0
	rapid.Check(t, func(t *rapid.T) {
		tasks++
		row, err := g.CreateTask(context.Background(), store.NewTask{Spec: spec(fmt.Sprintf("t%d", tasks), 1)})
		require.NoError(t, err)
		s := &story{g: g, row: row}
		list := make([]store.NewExperiment, rapid.IntRange(1, 2).Draw(t, "experiments"))
		for i := range list {
			list[i] = store.NewExperiment{ID: uuid.New(), Number: i + 1, Purpose: experiment.Search, Parameters: space.Point{}}
			s.lives = append(s.lives, &life{id: list[i].ID, state: experiment.Queued, attempts: map[int64]string{}})
		}
		require.NoError(t, g.InsertExperiments(context.Background(), g.term, row.ID, list))
		for range rapid.IntRange(5, 20).Draw(t, "events") {
			s.step(t)
		}
		s.check(t)
	})
}
