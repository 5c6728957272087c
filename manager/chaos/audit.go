package chaos

import (
	"context"
	"fmt"
	"time"

	"github.com/fleetune/fleetune/manager/chaos/probe"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// findings of one round.
type findings struct {
	experiments int
	lost        int
	duplicated  int
	stale       int
	rejected    int
	reruns      int
	recovery    time.Duration
}

// A row is one experiment as the database has it, with its accepted result.
type row struct {
	ID       uuid.UUID
	Number   int
	Purpose  string
	Point    int
	Outcome  *string
	Epoch    int64
	Shown    *float64 // the metric in the experiment's own row
	Accepted int
	// Of the accepted attempt:
	AcceptedEpoch *int64
	Measured      *float64
	Rejected      int
	Reruns        int
}

// audit reads the round's tasks and holds them against the journal.
func (s *stand) audit(ctx context.Context, tasks []string) (findings, error) {
	journal, err := probe.Journal(s.probeDir())
	if err != nil {
		return findings{}, err
	}
	ran := make(map[float64]probe.Entry, len(journal))
	for _, e := range journal {
		ran[e.Nonce] = e
	}
	var f findings
	for _, name := range tasks {
		rows, err := s.rows(ctx, name)
		if err != nil {
			return f, err
		}
		s.judge(&f, name, rows, ran)
	}
	return f, nil
}

func (s *stand) judge(f *findings, task string, rows []row, ran map[float64]probe.Entry) {
	f.experiments += len(rows)
	points := make(map[int]int)
	for _, r := range rows {
		if r.Purpose != "confirm" {
			points[r.Point]++
		}
		f.rejected += r.Rejected
		f.reruns += r.Reruns
		switch {
		case r.Accepted == 0 || r.Outcome == nil || *r.Outcome != "success":
			f.lost++
			s.harm(task, r, "lost")
		case r.Accepted > 1:
			f.duplicated += r.Accepted - 1
			s.harm(task, r, "accepted more than once")
		case !r.genuine(ran):
			f.stale++
			s.harm(task, r, "not the result of its last claim")
		}
	}
	for point := range s.cfg.Points {
		switch n := points[point]; {
		case n == 0:
			f.lost++
			s.log.Error().Str("task", task).Int("point", point).Msg("harm: never measured")
		case n > 1:
			f.duplicated += n - 1
			s.log.Error().Str("task", task).Int("point", point).Int("experiments", n).Msg("harm: measured more than once")
		}
	}
}

// genuine says whether the accepted result is that of the last claim, and what
// the probe measured for this very point under that claim.
func (r row) genuine(ran map[float64]probe.Entry) bool {
	if *r.AcceptedEpoch != r.Epoch || r.Shown == nil || r.Measured == nil || *r.Shown != *r.Measured {
		return false
	}
	e, ok := ran[*r.Measured]
	return ok && e.Point == r.Point && e.Run == tag(r.ID, r.Epoch)
}

// tag is what a worker marks the processes of an attempt with.
func tag(experiment uuid.UUID, epoch int64) string {
	return fmt.Sprintf("fleetune-%s-%d", experiment, epoch)
}

func (s *stand) harm(task string, r row, what string) {
	s.log.Error().Str("task", task).Int("number", r.Number).Any("row", r).Msg("harm: " + what)
}

// auditJournal counts the clashes that the probe has reported so far.
func (s *stand) auditJournal(report *Report) error {
	journal, err := probe.Journal(s.probeDir())
	if err != nil {
		return err
	}
	report.DeviceClashes = 0
	for _, e := range journal {
		report.DeviceClashes += len(e.Clash)
		if len(e.Clash) > 0 {
			s.log.Error().Any("run", e).Msg("harm: device held twice")
		}
	}
	return nil
}

func (s *stand) rows(ctx context.Context, task string) ([]row, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT e.id, e.number, e.purpose, (e.parameters ->> 'point')::int, e.outcome, e.epoch,
			(e.metrics #>> ARRAY[$2, 'median'])::float8,
			count(a.*) FILTER (WHERE a.accepted)::int,
			max(a.epoch) FILTER (WHERE a.accepted),
			max((a.measurement #>> ARRAY['metrics', $2, 'samples', '0'])::float8) FILTER (WHERE a.accepted),
			count(a.*) FILTER (WHERE NOT a.accepted AND a.measurement IS NOT NULL)::int,
			greatest(e.epoch - 1, 0)::int
		FROM experiments e JOIN tasks t ON t.id = e.task_id LEFT JOIN attempts a ON a.experiment_id = e.id
		WHERE t.name = $1 GROUP BY e.id ORDER BY e.number`, task, probe.Metric())
	if err != nil {
		return nil, fmt.Errorf("reading the experiments of %s: %w", task, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[row])
	if err != nil {
		return nil, fmt.Errorf("reading the experiments of %s: %w", task, err)
	}
	return list, nil
}
