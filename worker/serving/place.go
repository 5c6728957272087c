package serving

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/shared/engine"
	"github.com/fleetune/fleetune/worker/command"
	"github.com/fleetune/fleetune/worker/launch"
	"github.com/fleetune/fleetune/worker/serving/hub"
	"golang.org/x/sys/unix"
)

// place brings a side's model to this node where the launcher needs it here,
// and reads its shape.
func (s *Staged) place(ctx context.Context, side *side) *command.Result {
	m := side.plan.Model
	side.model = launch.Model{ID: m.ID, Revision: m.Revision}
	if s.spec.Simulate != nil || s.spec.Launcher != localName && s.spec.Launcher != "docker" {
		return nil // the engine knows it, or fetches it where it runs
	}
	const phase = "download"
	side.model.Cache = s.kind.Hub.Cache
	wish := hub.Wish{Model: m, GGUF: s.engine.Name() == engine.LlamaCpp}
	path, err := s.kind.Hub.Find(wish)
	if errors.Is(err, hub.ErrMissing) && hub.Remote(m.ID) {
		s.enter(phase, "")
		path, err = s.fetch(ctx, wish)
	}
	switch {
	case err == nil:
	case errors.Is(err, hub.ErrMissing):
		return missing(m.ID, phase, err)
	case errors.Is(err, hub.ErrGated):
		res := failed(experiment.OutcomeFailed, phase, "accept the model's terms on the hub, and name the secret with a token that may read it", err.Error())
		res.Failure.Cause = string(engine.CauseGatedModel)
		return res
	default:
		res := infra(ctx, phase, err)
		if errors.Is(err, hub.ErrSpace) || errors.Is(err, unix.ENOSPC) {
			res.Failure.Cause = string(engine.CauseDiskFull)
			res.Failure.Hint = "make room in the cache of this worker, or start it with --model-cache on a larger disk"
		}
		return res
	}
	side.model.Path, side.model.Offline = path, true
	return s.shape(side, path)
}

// missing is a model that is not there. A hub lacks it for everybody; a folder
// or file that this worker lacks may be on another, and says nothing about the
// configuration.
func missing(id, phase string, err error) *command.Result {
	res := failed(experiment.OutcomeInfraError, phase,
		"put it there on every worker that may take the task, bind the task to those that have it (resources.pool, resources.labels), or name a model of the hub as org/name",
		"this worker does not have the model: "+err.Error())
	if hub.Remote(id) {
		res = failed(experiment.OutcomeFailed, phase, "name a folder that every worker of the task has, or a model of the hub as org/name", err.Error())
	}
	res.Failure.Cause = string(engine.CauseMissingModel)
	return res
}

// fetch brings the model from the hub.
func (s *Staged) fetch(ctx context.Context, m hub.Wish) (string, error) {
	token := ""
	if m.TokenSecret != "" {
		var err error
		if token, err = s.kind.Secret(m.TokenSecret); err != nil {
			return "", fmt.Errorf("resolving secret %q: %w", m.TokenSecret, err)
		}
	}
	s.journal.line("fetching %s", m.ID)
	path, err := s.kind.Hub.Fetch(ctx, m, trim(token), hub.Listener{
		Line:  func(text string) { s.journal.line("%s", s.masked.Text(text)) },
		Bytes: func(have, all int64, rate float64) { s.enter("download", hub.Progress(have, all, rate)) },
	})
	if err == nil {
		s.journal.line("%s is in %s", m.ID, path)
	}
	return path, err
}

// shape reads the model's config.json, if it has one. The plan is checked
// against it.
func (s *Staged) shape(side *side, path string) *command.Result {
	data, err := os.ReadFile(filepath.Join(path, "config.json"))
	if err != nil {
		return nil // a single file, or a format without one: no estimate then
	}
	shape, err := engine.ParseConfig(data)
	if err != nil {
		s.journal.line("no estimate of memory: %v", err)
		return nil
	}
	shape.WeightBytes = weightBytes(path)
	side.plan.Model.Architecture = &shape
	return nil
}

// weightBytes is the size of the model's safetensors files; 0 without any.
func weightBytes(dir string) (total int64) {
	files, err := filepath.Glob(filepath.Join(dir, "*.safetensors"))
	if err != nil {
		return 0
	}
	for _, f := range files {
		if info, err := os.Stat(f); err == nil {
			total += info.Size()
		}
	}
	return total
}

// available is the largest GPU memory of this node that the task accepts, in
// bytes; 0 where that is not known before the devices are leased.
func (s *Staged) available() int64 {
	if s.kind.Devices == nil {
		return 0
	}
	var most int64
	for _, d := range s.kind.Devices() {
		if d.Vendor != node.CPU && s.job.Offer.Requirements.Accepts(d) {
			most = max(most, d.Memory)
		}
	}
	return most
}

// fits refuses a configuration whose memory surely does not hold the model, in
// bytes of one device; 0 does not know.
func (s *Staged) fits(side *side, memory int64) *command.Result {
	shape := side.plan.Model.Architecture
	if memory <= 0 || shape == nil || s.spec.Simulate != nil || s.spec.Launcher == "endpoint" {
		return nil
	}
	e := s.engine.Estimate(*shape, side.plan, memory)
	if e.Fits {
		return nil
	}
	res := failed(experiment.OutcomeInfeasible, "plan", "a constraint can leave its like out", fmt.Sprintf("%s of %s cannot hold %s: %s",
		count(side.plan.Devices(), "device"), node.Bytes(memory), side.plan.Model.ID, e.Why))
	res.Failure.Cause = CauseDoesNotFit
	return res
}

// CauseDoesNotFit is the cause of a failure that the estimate of memory
// foresaw.
const CauseDoesNotFit = "does_not_fit"

func count(n int, noun string) string {
	if n == 1 {
		return "one " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// take gives the experiment its devices. A configuration uses as many as its
// plan says, of those that the attempt holds.
func (s *Staged) take(devices []node.Device) *command.Result {
	s.devices = devices
	if s.spec.Simulate != nil || s.spec.Launcher == "endpoint" {
		return nil
	}
	for _, side := range s.sides() {
		if need := side.plan.Devices(); need > len(devices) && !onlySlots(devices) {
			return failed(experiment.OutcomeInfeasible, "plan", "ask for more devices in resources, or leave the configuration out by a constraint",
				fmt.Sprintf("it takes %s, and the experiment was given %d", count(need, "device"), len(devices)))
		}
		if onlySlots(devices) {
			continue
		}
		least := slices.MinFunc(devices, func(a, b node.Device) int { return int(max(-1, min(1, a.Memory-b.Memory))) })
		if res := s.fits(side, least.Memory); res != nil {
			return res
		}
	}
	return nil
}

// onlySlots says whether the devices are slots of a CPU, which bound no engine.
func onlySlots(devices []node.Device) bool {
	return !slices.ContainsFunc(devices, func(d node.Device) bool { return d.Vendor != node.CPU })
}

// devicesOf are the devices that a side's engine gets.
func (s *Staged) devicesOf(side *side) []node.Device {
	if s.spec.Simulate != nil || onlySlots(s.devices) {
		return s.devices
	}
	return s.devices[:min(side.plan.Devices(), len(s.devices))]
}
