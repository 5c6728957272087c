package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/fleetune/fleetune/proto/bundle"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/render"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/worker/secret"
)

// defaultBuildTimeout bounds a build whose task sets no time-out: nothing else
// does, since a build runs before its attempt's budget begins.
const defaultBuildTimeout = 10 * time.Minute

// Staged is a built experiment that waits for its devices. It belongs to one
// goroutine; Close must be called whatever becomes of it.
type Staged struct {
	runner    *Runner
	job       Job
	command   task.Command
	secrets   map[string]string
	masked    secret.Mask
	candidate *realm
	baseline  *realm // confirmations only
	trusted   *realm // nil without trusted steps
	// sealed is what trusted held after the last trusted step.
	sealed fingerprint
	// inputs are the fingerprints of all sets of inputs so far.
	inputs []fingerprint
	// partial is what the candidate has measured so far, where that is told.
	partial *samples
	round   int // of the rounds begun
	files   int // of the result files named
	devices []node.Device
}

// Stage renders the job's files and builds them. It needs no devices, and
// hides those of the node from the build. A non-nil Result says that the
// experiment ended here; the folder is then removed already.
func (r *Runner) Stage(ctx context.Context, j Job) (*Staged, *Result) {
	s := &Staged{runner: r, job: j}
	res := s.stage(ctx)
	if res == nil {
		return s, nil
	}
	if err := s.Close(); err != nil {
		res.Failure.Message += "; " + err.Error()
	}
	clean := masked(s.masked, *res)
	return nil, &clean
}

// Close removes everything in the job's folder and the folder itself.
func (s *Staged) Close() error {
	if err := removeTree(s.job.Dir); err != nil {
		return fmt.Errorf("removing the experiment's folder: %w", err)
	}
	return nil
}

func (s *Staged) stage(ctx context.Context) *Result {
	const phase = "render"
	offer := s.job.Offer
	if err := json.Unmarshal(offer.Spec, &s.command); err != nil {
		return failed(experiment.OutcomeRenderError, phase, "", "reading the offer's command: %v", err)
	}
	if c := s.command; c.Reference != nil && (c.Check == nil || len(c.Outputs) == 0) {
		return failed(experiment.OutcomeRenderError, phase, "", "a reference needs a check and outputs to compare")
	}
	if err := s.locate(); err != nil {
		return infra(ctx, phase, err)
	}
	sources, err := s.sources(ctx)
	if err != nil {
		return infra(ctx, phase, err)
	}
	if s.secrets, err = s.runner.resolveSecrets(s.command.Env.Secrets); err != nil {
		res := infra(ctx, phase, err)
		res.Failure.Hint = "give the secret to this worker, or bind the task to workers that have it by a label"
		return res
	}
	s.masked = secret.New(s.secrets)
	if res := s.prepare(ctx, "candidate", offer.Parameters, sources, &s.candidate); res != nil {
		return res
	}
	if offer.Baseline != nil {
		if res := s.prepare(ctx, "baseline", offer.Baseline, sources, &s.baseline); res != nil {
			return res
		}
	}
	for _, side := range []*realm{s.candidate, s.baseline} {
		if res := s.build(ctx, side); res != nil {
			return res
		}
	}
	return s.entrust(ctx)
}

// locate makes the job's folder where it is missing, and its path absolute and
// free of links, as programs will see it.
func (s *Staged) locate() error {
	dir, err := filepath.Abs(s.job.Dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return fmt.Errorf("making the experiment's folder: %w", err)
	}
	s.job.Dir = dir
	return nil
}

// sources fetches the task's files.
func (s *Staged) sources(ctx context.Context) (map[string][]byte, error) {
	if s.command.Bundle == "" {
		return nil, nil
	}
	if s.job.Files == nil {
		return nil, errors.New("fetching the task's files: this worker has no source for them")
	}
	r, err := s.job.Files(ctx, s.command.Bundle)
	if err != nil {
		return nil, fmt.Errorf("fetching the task's files: %w", err)
	}
	contents, err := bundle.Unpack(r, s.command.Bundle)
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, fmt.Errorf("fetching the task's files: %w", err)
	}
	return contents, nil
}

// prepare renders one side and writes its files.
func (s *Staged) prepare(ctx context.Context, name string, p space.Point, sources map[string][]byte, side **realm) *Result {
	rendering, err := render.Command(&s.command, p, sources)
	if err != nil {
		return failed(experiment.OutcomeRenderError, "render", "", "%v", err)
	}
	if *side, err = newRealm(s.job.Dir, name, rendering); err == nil {
		err = (*side).write()
	}
	if err != nil {
		return infra(ctx, "render", err)
	}
	return nil
}

func (s *Staged) build(ctx context.Context, side *realm) *Result {
	if side == nil || side.rendering.Build == nil {
		return nil
	}
	step := *side.rendering.Build
	if step.Timeout <= 0 {
		step.Timeout = task.Duration(defaultBuildTimeout)
	}
	_, res := s.execute(ctx, program{phase: "build", realm: side, step: &step, cores: s.job.BuildCores})
	return res
}

// entrust copies the built candidate for the trusted steps before any of its
// code has run, so that nothing it does to its own files reaches them.
func (s *Staged) entrust(ctx context.Context) *Result {
	if s.command.Inputs == nil && s.command.Reference == nil {
		return nil
	}
	trusted, err := newRealm(s.job.Dir, "trusted", s.candidate.rendering)
	if err == nil {
		err = copyTree(ctx, s.candidate.work(), trusted.work())
	}
	if err != nil {
		return infra(ctx, "build", fmt.Errorf("copying for the trusted steps: %w", err))
	}
	s.trusted = trusted
	if err := s.seal(ctx); err != nil {
		return infra(ctx, "build", err)
	}
	return nil
}

// resolveSecrets looks up the secrets of a task by their names.
func (r *Runner) resolveSecrets(names map[string]string) (map[string]string, error) {
	values := make(map[string]string, len(names))
	for variable, name := range names {
		value, err := r.opts.Secret(name)
		if err != nil {
			return nil, fmt.Errorf("resolving secret %q: %w", name, err)
		}
		values[variable] = value
	}
	return values, nil
}

// newRound makes a fresh folder for one round of programs.
func (s *Staged) newRound() (*round, error) {
	s.round++
	r := &round{dir: filepath.Join(s.job.Dir, fmt.Sprintf("round-%d", s.round)), seed: s.seed(s.round)}
	for _, dir := range []string{r.inputs(), r.outputs(), r.results()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("making a fresh folder: %w", err)
		}
	}
	return r, nil
}
