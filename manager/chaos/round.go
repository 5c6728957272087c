package chaos

import (
	"context"
	"fmt"
	"time"
)

// Times of a round.
const (
	// look is how often the database is asked how things stand.
	look = 50 * time.Millisecond
	// queryPatience bounds one question: PostgreSQL may be stopped.
	queryPatience = 2 * time.Second
)

// round hands in tasks, inflicts a plan upon them, waits for their end and
// audits them.
func (s *stand) round(ctx context.Context, number int, p plan) (findings, error) {
	tasks := []string{fmt.Sprintf("chaos-%d-a", number), fmt.Sprintf("chaos-%d-b", number)}
	for _, name := range tasks {
		if err := s.submit(ctx, name); err != nil {
			return findings{}, err
		}
	}
	if err := s.inflict(ctx, p); err != nil {
		return findings{}, err
	}
	recovery, err := s.recover(ctx, tasks)
	if err != nil {
		return findings{}, err
	}
	f, err := s.audit(ctx, tasks)
	f.recovery = recovery
	return f, err
}

// recover waits until the tasks have ended, or for as long as patience lasts:
// what has not ended then is for the audit to find. It returns the time until
// the first result was accepted after the healing.
func (s *stand) recover(ctx context.Context, tasks []string) (time.Duration, error) {
	healed := time.Now()
	before, recovery := -1, time.Duration(0)
	for time.Since(healed) < s.cfg.Patience {
		if err := s.revive(); err != nil {
			return 0, err
		}
		accepted, ended, err := s.progress(ctx, tasks)
		switch {
		case ctx.Err() != nil:
			return 0, ctx.Err()
		case err != nil:
			s.log.Debug().Err(err).Msg("the database does not answer yet")
		case before < 0:
			before = accepted
		}
		if err == nil && recovery == 0 && (accepted > before || ended) {
			recovery = time.Since(healed)
		}
		if err == nil && ended {
			return recovery, nil
		}
		if err := pause(ctx, look); err != nil {
			return 0, err
		}
	}
	s.log.Error().Strs("tasks", tasks).Dur("patience", s.cfg.Patience).Msg("harm: tasks have not ended")
	return time.Since(healed), nil
}

// revive starts again what ended by itself: a program may give up while what
// it needs is down, and its supervisor then tries again.
func (s *stand) revive() error {
	for _, p := range s.parts() {
		again, err := p.revive()
		if err != nil {
			return err
		}
		if again {
			s.log.Info().Str("part", p.name).Msg("had ended by itself; started again")
		}
	}
	return nil
}

// progress tells how many results the tasks have, and whether all have ended.
func (s *stand) progress(ctx context.Context, tasks []string) (accepted int, ended bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, queryPatience)
	defer cancel()
	err = s.pool.QueryRow(ctx, `
		SELECT (SELECT count(*) FROM experiments e JOIN tasks t ON t.id = e.task_id
		        WHERE t.name = ANY($1) AND e.finished_at IS NOT NULL)::int,
		       (SELECT count(*) FROM tasks WHERE name = ANY($1) AND finished_at IS NOT NULL) = cardinality($1)`,
		tasks).Scan(&accepted, &ended)
	return accepted, ended, err
}
