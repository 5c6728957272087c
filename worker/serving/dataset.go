package serving

import (
	"context"
	"errors"
	"fmt"

	"github.com/fleetune/fleetune/worker/command"
)

// open reads the task's dataset, if it has one.
func (s *Staged) open(ctx context.Context) *command.Result {
	d := s.spec.Benchmark.Dataset
	if d == nil {
		return nil
	}
	const phase = "download"
	if s.kind.Dataset == nil {
		return infra(ctx, phase, errors.New("this worker reads no datasets"))
	}
	s.enter(phase)
	token := ""
	var err error
	if d.TokenSecret != "" {
		if token, err = s.kind.Secret(d.TokenSecret); err != nil {
			return infra(ctx, phase, fmt.Errorf("resolving secret %q: %w", d.TokenSecret, err))
		}
	}
	s.journal.line("reading dataset %s", d.URL)
	if s.dataset, err = s.kind.Dataset(ctx, *d, trim(token)); err != nil {
		return infra(ctx, phase, fmt.Errorf("reading dataset %s: %w", d.URL, err))
	}
	return nil
}
