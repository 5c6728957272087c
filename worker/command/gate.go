package command

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/worker/command/compare"
	"github.com/fleetune/fleetune/worker/device"
)

// A round is a fresh folder with inputs of its own seed, and room for what
// programs write.
type round struct {
	dir  string
	seed int64
	// given is the fingerprint of the inputs as they were written.
	given fingerprint
}

func (r *round) inputs() string    { return filepath.Join(r.dir, "inputs") }
func (r *round) outputs() string   { return filepath.Join(r.dir, "outputs") }
func (r *round) reference() string { return filepath.Join(r.dir, "reference") }
func (r *round) results() string   { return filepath.Join(r.dir, "results") }

// values are the builtins that every step of a round has.
func (s *Staged) values(r *round, more map[string]string) map[string]string {
	v := map[string]string{"EXP_SEED": strconv.FormatInt(r.seed, 10), "EXP_INPUT_DIR": r.inputs(),
		"EXP_DEVICES": idsOf(s.devices)}
	maps.Copy(v, more)
	return v
}

// begin starts a round: a fresh folder, and inputs written by the trusted
// inputs step.
func (s *Staged) begin(ctx context.Context) (*round, *Result) {
	r, err := s.newRound()
	if err != nil {
		return nil, infra(ctx, "inputs", err)
	}
	if s.command.Inputs == nil {
		return r, nil
	}
	if res := s.executeTrusted(ctx, program{phase: "inputs", step: s.trusted.rendering.Inputs, values: s.values(r, nil)}); res != nil {
		return nil, res
	}
	var constant bool
	if r.given, constant, err = survey(ctx, r.inputs()); err != nil {
		return nil, infra(ctx, "inputs", err)
	}
	const hint = "inputs must write random data, seeded with EXP_SEED, into EXP_INPUT_DIR"
	if constant {
		return nil, failed(experiment.OutcomeFailed, "inputs", hint, "the inputs hold one value over and over, on which wrong results agree by accident")
	}
	for _, earlier := range s.inputs {
		if earlier.changed(r.given) == "" {
			return nil, failed(experiment.OutcomeFailed, "inputs", hint, "the inputs are the same for different seeds, so a replayed result would pass")
		}
	}
	s.inputs = append(s.inputs, r.given)
	return r, nil
}

// finish removes a round, so that no later program finds its trusted outputs.
func (s *Staged) finish(ctx context.Context, r *round) *Result {
	if err := removeTree(r.dir); err != nil {
		return infra(ctx, "check", fmt.Errorf("removing a round's folder: %w", err))
	}
	return nil
}

// gate runs the correctness gate once with fresh inputs: name is check before
// the timing, recheck after it.
func (s *Staged) gate(ctx context.Context, name string) ([]experiment.Check, *Result) {
	if s.command.Check == nil {
		return nil, nil
	}
	r, res := s.begin(ctx)
	if res != nil {
		return nil, res
	}
	_, res = s.execute(ctx, program{phase: "check", stream: name, realm: s.candidate,
		step: s.candidate.rendering.Check, cores: device.Cores(s.devices),
		values: s.values(r, map[string]string{"EXP_OUTPUT_DIR": r.outputs()})})
	if res != nil {
		if s.command.Reference == nil && res.Outcome == experiment.OutcomeFailed && res.Failure.ExitCode != nil {
			res.Outcome = experiment.OutcomeIncorrect // the exit code is the gate
		}
		return nil, res
	}
	checks := []experiment.Check{{Name: name, OK: true, Detail: "exit code 0"}}
	if s.command.Reference != nil {
		if checks, res = s.compareOutputs(ctx, name, r); res != nil {
			return checks, res
		}
	}
	return checks, s.finish(ctx, r)
}

// compareOutputs computes the trusted outputs of a round, now that no candidate
// code runs any more, and compares the candidate's with them.
func (s *Staged) compareOutputs(ctx context.Context, name string, r *round) ([]experiment.Check, *Result) {
	if s.command.Inputs != nil {
		now, _, err := survey(ctx, r.inputs())
		if err != nil {
			return nil, infra(ctx, "check", err)
		}
		if path := r.given.changed(now); path != "" {
			return nil, failed(experiment.OutcomeIncorrect, "check", "", "the candidate changed its inputs: %s", path)
		}
	}
	if err := os.Mkdir(r.reference(), 0o755); err != nil {
		return nil, infra(ctx, "reference", err)
	}
	res := s.executeTrusted(ctx, program{phase: "reference", step: s.trusted.rendering.Reference,
		values: s.values(r, map[string]string{"EXP_OUTPUT_DIR": r.reference(), "EXP_REFERENCE_DIR": r.reference()})})
	if res != nil {
		return nil, res
	}
	checks, err := s.judgeOutputs(ctx, r)
	if errors.Is(err, compare.ErrReference) && ctx.Err() == nil {
		return nil, failed(experiment.OutcomeFailed, "reference",
			"reference must write every file of command.outputs into EXP_OUTPUT_DIR", "%v", err)
	}
	if err != nil {
		return nil, infra(ctx, "check", err)
	}
	for i := range checks {
		checks[i].Name = name + " " + checks[i].Name
	}
	if bad := compare.Failed(checks); bad != nil {
		return checks, failed(experiment.OutcomeIncorrect, "check", "", "%s (seed %d): %s", bad.Name, r.seed, bad.Detail)
	}
	return checks, nil
}

func (s *Staged) judgeOutputs(ctx context.Context, r *round) ([]experiment.Check, error) {
	reference, err := os.OpenRoot(r.reference())
	if err != nil {
		return nil, err
	}
	defer func() { _ = reference.Close() }()
	candidate, err := os.OpenRoot(r.outputs())
	if err != nil {
		return nil, err
	}
	defer func() { _ = candidate.Close() }()
	return compare.Outputs(ctx, s.command.Outputs, reference, candidate, s.command.Tolerance)
}

// executeTrusted runs a trusted step in its own realm, after making sure that
// the realm is as the last trusted step left it.
func (s *Staged) executeTrusted(ctx context.Context, p program) *Result {
	now, _, err := survey(ctx, s.trusted.dir)
	if err != nil {
		return infra(ctx, p.phase, err)
	}
	if path := s.sealed.changed(now); path != "" {
		return failed(experiment.OutcomeIncorrect, p.phase, "", "the candidate changed the files of the trusted steps: %s", path)
	}
	p.realm, p.cores = s.trusted, device.Cores(s.devices)
	p.quiet = s.round > 1 // the first round's log says it all
	if _, res := s.execute(ctx, p); res != nil {
		return res
	}
	if err := s.seal(ctx); err != nil {
		return infra(ctx, p.phase, err)
	}
	return nil
}

// seal remembers what the trusted realm holds.
func (s *Staged) seal(ctx context.Context) (err error) {
	s.sealed, _, err = survey(ctx, s.trusted.dir)
	return err
}
