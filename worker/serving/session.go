package serving

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/shared/engine"
	"github.com/fleetune/fleetune/worker/command"
	"github.com/fleetune/fleetune/worker/launch"
	"github.com/fleetune/fleetune/worker/launch/docker"
	"github.com/fleetune/fleetune/worker/launch/kubernetes"
	"github.com/fleetune/fleetune/worker/process"
	"github.com/fleetune/fleetune/worker/simulate"
)

// A session is one launch of an engine, from its start to its proven end.
type session struct {
	staged *Staged
	side   *side
	server launch.Server
	model  string // as requests name it
	log    string // stream of the engine's output
	// path of the log while it may hold secrets; empty where it cannot.
	private string
}

// portTries is how often an engine whose port was taken meanwhile is launched.
const portTries = 3

// launch starts a side's engine and waits until it serves. A session that is
// not nil must be closed, with the result if there is one; without a session
// nothing was started, or the result says that this could not be proven.
func (s *Staged) launch(ctx context.Context, side *side) (*session, *command.Result) {
	s.enter("load", s.turn(side))
	for try := 1; ; try++ {
		run, res := s.try(ctx, side)
		if run == nil || res == nil || res.Failure.Cause != string(engine.CausePortTaken) || try == portTries {
			return run, res
		}
		s.journal.line("the engine's port was taken; launching again")
		if res := run.close(ctx, res); res.Unproven {
			return nil, res
		}
	}
}

func (s *Staged) try(ctx context.Context, side *side) (*session, *command.Result) {
	limited, cancel := within(ctx, "load", s.spec.LoadTimeout.D())
	defer cancel()
	dir, err := s.folder()
	if err != nil {
		return nil, infra(ctx, "load", err)
	}
	run := &session{staged: s, side: side}
	spec, err := run.spec(dir)
	if err != nil {
		return nil, infra(ctx, "load", err)
	}
	began := time.Now()
	run.server, err = s.launcher.Launch(limited, spec)
	if err != nil {
		return nil, s.notLaunched(limited, err)
	}
	s.enter("load", s.turn(side))
	side.facts = run.server.Facts()
	command := s.maskedAll(side.facts.Command)
	s.launched = append(s.launched, experiment.Launch{Side: side.name, Log: run.log, Command: command})
	s.journal.line("%s: launched %v", side.name, command)
	if res := run.ready(limited); res != nil {
		return run, res
	}
	took := time.Since(began)
	loaded := simulated(seconds, took.Seconds(), s.speed())
	side.loads = append(side.loads, loaded)
	s.launched[len(s.launched)-1].LoadSeconds = loaded
	s.journal.line("%s: serves after %v", side.name, took.Round(time.Millisecond))
	run.settings(limited)
	return run, nil
}

// notLaunched tells apart what kept a launcher from starting the engine.
func (s *Staged) notLaunched(ctx context.Context, err error) *command.Result {
	const phase = "load"
	res := infra(ctx, phase, err)
	if errors.Is(err, launch.ErrUnproven) {
		res.Unproven = true
		return res
	}
	if res.Outcome != experiment.OutcomeInfraError {
		return res
	}
	switch {
	case errors.Is(err, process.ErrStart):
		res.Failure.Hint = fmt.Sprintf("install %s on this worker, tell it where with --engine %s=PROGRAM, or give the task a program",
			s.engine.Name(), s.engine.Name())
	case errors.Is(err, docker.ErrImage):
		res.Outcome, res.Failure.Cause = experiment.OutcomeFailed, "image"
		res.Failure.Hint = "check the image's name and tag; pull it beforehand where its registry asks who you are"
	case errors.Is(err, kubernetes.ErrStart):
		res.Outcome, res.Failure.Cause = experiment.OutcomeFailed, "pod"
		res.Failure.Hint = "check the image and what else the task asks of the cluster"
	case errors.Is(err, docker.ErrStart):
		res.Outcome, res.Failure.Cause = experiment.OutcomeFailed, "image"
		res.Failure.Hint = "the image has no such program: give the task the right program or image"
	}
	return res
}

// spec is the launch of this session.
func (r *session) spec(dir string) (launch.Spec, error) {
	s, side := r.staged, r.side
	program, err := s.program(side)
	if err != nil {
		return launch.Spec{}, err
	}
	r.model = s.servedName(side)
	r.log = "engine"
	if side != s.candidate {
		r.log = "baseline engine"
	}
	if s.launches > len(s.sides()) {
		r.log += fmt.Sprintf(" %d", s.launches)
	}
	spec := launch.Spec{
		Tag: s.job.Tag, Dir: dir, Name: fmt.Sprintf("%s-exp%d", s.job.Offer.TaskName, s.job.Offer.Number),
		Program: program, Env: s.environment(side), Secrets: s.secretsOf(side), Devices: s.devicesOf(side),
		Image: s.engine.Image(&s.spec), Model: side.model, Kubernetes: s.spec.Kubernetes, Endpoint: s.spec.Endpoint,
		Accelerators: s.accelerators(side),
		Log:          r.capture(dir), Progress: func(line string) {
			s.journal.line("%s", s.masked.Text(line))
			s.enter("load", line)
		},
	}
	if ns := side.plan.Model.Namespace; ns != "" {
		spec.Name = ns + "-" + spec.Name
	}
	if file, ok := side.plan.File(); ok {
		spec.File = &launch.File{Name: file.Name, Content: file.Content}
	}
	spec.Command = func(p launch.Place) []string {
		return side.plan.Command(engine.CommandOptions{Program: program, ModelPath: p.ModelPath, ServedName: r.model,
			Host: p.Host, Port: p.Port, Container: p.Container, Metrics: true, File: p.File})
	}
	return spec, nil
}

// accelerators is how many GPUs the engine asks a cluster for: none where the
// task is for CPUs.
func (s *Staged) accelerators(side *side) int {
	if strings.EqualFold(s.job.Offer.Requirements.Accelerator, node.CPU) {
		return 0
	}
	return side.plan.Devices()
}

// program starts the engine: the simulated one, the task's, or this node's.
func (s *Staged) program(side *side) ([]string, error) {
	switch {
	case s.spec.Simulate != nil:
		return simulate.Program(s.kind.Simulator, *s.spec.Simulate, s.engine.Name(), s.engine.Version(), side.plan.Model.Architecture)
	case len(s.spec.Program) > 0:
		return s.spec.Program, nil
	case s.spec.Launcher == localName:
		return s.kind.Programs[s.engine.Name()], nil
	default:
		return nil, nil
	}
}

// servedName is how requests name the model.
func (s *Staged) servedName(side *side) string {
	if name := s.spec.Benchmark.ModelName; name != "" {
		return name
	}
	return side.plan.Model.ID
}

// capture names the file of the engine's output: the attempt's log, which
// others may follow while it grows, or a file of our own while it may hold a
// secret.
func (r *session) capture(dir string) func(string) string {
	return func(string) string {
		if r.staged.job.Log != nil && len(r.staged.masked) == 0 {
			return r.staged.job.Log(r.log)
		}
		r.private = dir + "/engine.log"
		return r.private
	}
}

// close stops the engine, whatever happened, and completes the failure with
// the evidence of its log. ctx may have ended already: then the engine gets
// little time to go by itself.
func (r *session) close(ctx context.Context, res *command.Result) *command.Result {
	s := r.staged
	if ctx.Err() == nil { // else it is the phase before that was cut short
		s.enter("stop", "")
	}
	err := r.server.Stop(ctx, grace)
	log := r.server.Log()
	r.publish(log)
	if res != nil && res.Failure != nil && res.Failure.LogTail == "" {
		res.Failure.LogTail = tailOf(log)
	}
	if err == nil {
		return res
	}
	s.journal.line("%s: %v", r.side.name, err)
	if res == nil || res.Outcome != experiment.OutcomeTimeout && res.Outcome != experiment.OutcomeTotal {
		res = &command.Result{Outcome: experiment.OutcomeInfraError, Failure: &experiment.Failure{Phase: "stop",
			Message: err.Error(), LogTail: tailOf(log), Hint: "the devices stay quarantined until someone has looked"}}
	}
	res.Unproven = true
	return res
}

// publish passes the engine's output on, its secrets masked.
func (r *session) publish(log string) {
	s := r.staged
	if r.private == "" || s.job.Log == nil {
		return
	}
	if err := writeFile(s.job.Log(r.log), s.masked.Text(log)); err != nil {
		s.journal.line("the engine's output is not kept: %v", err)
	}
}
