// Package serving runs serving experiments: it plans an engine's command line
// at one point, fetches the model, launches the engine, waits until it serves,
// loads it cell by cell, and stops it.
//
// The order is the package's promise: what cannot fit is refused before a
// device is touched; a model is fetched before devices are leased; every cell
// of the task's fixed set is measured or recorded as missing with the reason;
// what earlier cells measured is kept when a later one fails; and an engine is
// stopped, and proven gone, whatever happened.
package serving

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/shared/engine"
	"github.com/fleetune/fleetune/worker/command"
	"github.com/fleetune/fleetune/worker/launch"
	"github.com/fleetune/fleetune/worker/load"
	"github.com/fleetune/fleetune/worker/secret"
	"github.com/fleetune/fleetune/worker/serving/hub"
)

// Config of a Kind.
type Config struct {
	// Launchers by name.
	Launchers map[string]launch.Launcher
	Hub       *hub.Hub
	// Programs start an engine on this node, by the engine's name; an engine
	// that is not there is started as it usually is.
	Programs map[string][]string
	// Simulator is the program that carries the simulated engine, this one;
	// empty where there is none.
	Simulator string
	// Secret resolves a secret by its name; nil means that there are none.
	Secret func(name string) (string, error)
	// Devices tells what this node has, to refuse what fits none of it; nil
	// leaves that to the devices that an experiment gets.
	Devices func() []node.Device
	// Meter reads the devices while cells are loaded; nil for none.
	Meter Meter
	// Datasets is the folder of downloaded datasets; empty is the user's own.
	Datasets string
	// Client asks engines whether they are ready; nil makes one.
	Client *http.Client
}

// A Kind runs serving experiments. Its methods may be called from many
// goroutines.
type Kind struct{ Config }

// New returns a Kind.
func New(c Config) *Kind {
	if c.Client == nil {
		c.Client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	}
	if c.Secret == nil {
		c.Secret = func(name string) (string, error) {
			return "", fmt.Errorf("secret %q: this worker has no secrets", name)
		}
	}
	return &Kind{Config: c}
}

// Staged is a planned experiment whose model is in place. It belongs to one
// goroutine; Close must be called whatever becomes of it.
type Staged struct {
	kind     *Kind
	job      command.Job
	spec     task.Serving
	engine   *engine.Engine
	launcher launch.Launcher
	secrets  map[string]string // of the engine's environment
	tokens   map[string]string // of the models' hub, by the secret's name
	apiKey   string
	masked   secret.Mask
	inputs   load.CellOptions // what all cells have in common
	devices  []node.Device
	// candidate and baseline; the latter for confirmations only.
	candidate, baseline *side
	launches            int                 // begun
	launched            []experiment.Launch // of them, those that a launcher started
	round               int                 // of a confirmation, from 1
	journal             *journal
}

// side is one configuration of the experiment.
type side struct {
	name  string
	plan  engine.Plan
	model launch.Model
	tally *tally
	// What the last launch said of itself.
	facts     launch.Facts
	effective map[string]string
	notes     []string
	version   string
	simulated string    // the device that a server says it simulates
	loads     []float64 // seconds
}

// Stage plans the experiment and fetches its model and dataset. It needs no
// devices. A non-nil result says that the experiment ended here; the folder is
// removed then.
func (k *Kind) Stage(ctx context.Context, j command.Job) (*Staged, *command.Result) {
	s := &Staged{kind: k, job: j}
	res := s.stage(ctx)
	if res == nil {
		return s, nil
	}
	if err := s.Close(); err != nil {
		res.Failure.Message += "; " + err.Error()
	}
	return nil, s.clean(res)
}

// Close removes the experiment's folder.
func (s *Staged) Close() error {
	if err := os.RemoveAll(s.job.Dir); err != nil {
		return fmt.Errorf("removing the experiment's folder: %w", err)
	}
	return nil
}

func (s *Staged) stage(ctx context.Context) *command.Result {
	const phase = "plan"
	// The folder's name is the attempt's tag: it stands on disk before anything
	// of the attempt does, so that a worker that comes after a crash knows what
	// to sweep.
	if err := os.MkdirAll(s.job.Dir, 0o700); err != nil {
		return infra(ctx, phase, fmt.Errorf("making the experiment's folder: %w", err))
	}
	if err := json.Unmarshal(s.job.Offer.Spec, &s.spec); err != nil {
		return failed(experiment.OutcomeRenderError, phase, "", fmt.Sprintf("reading the offer's spec: %v", err))
	}
	s.journal = newJournal(s.job.Log)
	var err error
	if s.engine, err = engine.Of(&s.spec); err != nil {
		return failed(experiment.OutcomeRenderError, phase, "", err.Error())
	}
	if s.launcher, err = s.kind.launcher(&s.spec); err != nil {
		return infra(ctx, phase, err)
	}
	if res := s.resolve(ctx); res != nil {
		return res
	}
	if s.candidate, err = s.plan("candidate", s.job.Offer.Parameters); err != nil {
		return invalid(err)
	}
	if s.job.Offer.Baseline != nil {
		if s.baseline, err = s.plan("baseline", s.job.Offer.Baseline); err != nil {
			return invalid(err)
		}
	}
	for _, side := range s.sides() {
		if res := s.place(ctx, side); res != nil {
			return res
		}
		if res := s.fits(side, s.available()); res != nil {
			return res
		}
	}
	return s.open(ctx)
}

// sides are the configurations that the experiment measures.
func (s *Staged) sides() []*side {
	if s.baseline == nil {
		return []*side{s.candidate}
	}
	return []*side{s.candidate, s.baseline}
}

func (s *Staged) plan(name string, p space.Point) (*side, error) {
	plan, err := s.engine.Plan(&s.spec, p)
	if err != nil {
		return nil, err
	}
	for _, note := range plan.Notes {
		s.journal.line("%s: %s", name, note)
	}
	return &side{name: name, plan: plan, notes: plan.Notes, tally: newTally(s.spec.Benchmark.Cells())}, nil
}

// launcher of a task: a simulated engine is a process of this node, whatever
// would launch the real one.
func (k *Kind) launcher(s *task.Serving) (launch.Launcher, error) {
	name := s.Launcher
	if s.Simulate != nil {
		name = localName
		if k.Simulator == "" {
			return nil, errors.New("this worker has no simulated engine")
		}
	}
	if l := k.Launchers[name]; l != nil {
		return l, nil
	}
	return nil, fmt.Errorf("this worker has no launcher %q", name)
}

const localName = "local"

// resolve looks up the secrets of the task by their names.
func (s *Staged) resolve(ctx context.Context) *command.Result {
	s.secrets = map[string]string{}
	values := map[string]string{}
	look := func(name string) (string, error) {
		value, err := s.kind.Secret(name)
		if err != nil {
			return "", fmt.Errorf("resolving secret %q: %w", name, err)
		}
		values[name] = value
		return value, nil
	}
	var err error
	for variable, name := range s.spec.Env.Secrets {
		if s.secrets[variable], err = look(name); err != nil {
			break
		}
	}
	if e := s.spec.Endpoint; err == nil && e != nil && e.KeySecret != "" {
		s.apiKey, err = look(e.KeySecret)
	}
	s.tokens = map[string]string{}
	for _, m := range s.spec.Models {
		if err == nil && m.TokenSecret != "" {
			s.tokens[m.TokenSecret], err = look(m.TokenSecret)
		}
	}
	if d := s.spec.Benchmark.Dataset; err == nil && d != nil && d.TokenSecret != "" {
		_, err = look(d.TokenSecret)
	}
	s.masked = secret.New(values)
	if err == nil {
		return nil
	}
	res := infra(ctx, "plan", err)
	res.Failure.Hint = "give the secret to this worker, or bind the task to workers that have it by a label"
	return res
}

// secretsOf are the secrets in the environment of a side's engine. One that
// fetches its model itself, where it runs, is given the token for that.
func (s *Staged) secretsOf(side *side) map[string]string {
	token := trim(s.tokens[side.plan.Model.TokenSecret])
	if token == "" || side.model.Path != "" || s.spec.Simulate != nil || s.spec.Launcher == "endpoint" {
		return s.secrets
	}
	secrets := map[string]string{"HF_TOKEN": token}
	maps.Copy(secrets, s.secrets)
	return secrets
}

// environment of the engine without its secrets: what the engine's endpoints
// need, what the task passes and sets, and what the point sets.
func (s *Staged) environment(side *side) map[string]string {
	env := map[string]string{}
	for name, value := range s.engine.Endpoints().FlushEnv {
		env[name] = value
	}
	for _, name := range s.spec.Env.Pass {
		if value, ok := os.LookupEnv(name); ok {
			env[name] = value
		}
	}
	for name, value := range s.spec.Env.Set {
		env[name] = value
	}
	for name, value := range side.plan.Env {
		env[name] = value
	}
	return env
}

// clean masks the secrets in the texts of a result.
func (s *Staged) clean(r *command.Result) *command.Result {
	if f := r.Failure; f != nil && len(s.masked) > 0 {
		f.Message, f.LogTail = s.masked.Text(f.Message), s.masked.Text(f.LogTail)
	}
	return r
}

// folder makes a fresh folder for one launch.
func (s *Staged) folder() (string, error) {
	s.launches++
	dir := filepath.Join(s.job.Dir, fmt.Sprintf("launch-%d", s.launches))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("making the engine's folder: %w", err)
	}
	return dir, nil
}

// Stopping an engine that is no longer needed; it is killed after that.
const grace = 10 * time.Second
