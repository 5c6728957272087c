package dispatch

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/fleetune/fleetune/manager/score"
	"github.com/fleetune/fleetune/manager/search"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/fleetune/fleetune/shared/bus"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
)

// handleProgress takes in what an attempt has measured so far. What is lost or
// of a stale epoch is no harm: the next message says more.
func (t *term) handleProgress(m *nats.Msg) {
	var p wire.Progress
	if err := json.Unmarshal(m.Data, &p); err != nil || p.Worker != bus.Sender(m.Subject) {
		t.Log.Warn().Err(err).Str("subject", m.Subject).Str("worker", p.Worker).Msg("not the progress of this worker")
		return
	}
	if t.fleet.holds(p.Worker, p.Experiment, p.Epoch) {
		t.mail.hasProgress(p)
	}
}

// race ends the attempts whose samples say that they are surely worse than the
// incumbent.
func (p *planner) race(latest map[uuid.UUID]wire.Progress) {
	for _, progress := range latest {
		r := p.runs[progress.Task]
		if r == nil {
			continue
		}
		if reason := r.outrun(progress); reason != "" {
			p.control(progress.Worker, wire.Control{Enough: []wire.Enough{{
				Experiment: progress.Experiment, Epoch: progress.Epoch, Reason: reason}}})
		}
	}
}

// outrun says why an experiment need not go on; "" when it must. It has to be
// worse in every objective than one that was measured to its end at the same
// level.
func (r *run) outrun(progress wire.Progress) string {
	racing := r.task.Spec.Optimization.Racing
	e := r.live[progress.Experiment]
	if racing == nil || e == nil || e.purpose != experiment.Search {
		return ""
	}
	for _, rival := range r.rivals(e.fidelity) {
		if reason := r.worse(progress.Samples, rival, racing); reason != "" {
			return reason
		}
	}
	return ""
}

// rivals are the incumbents of a level: those that no other is better than in
// every objective, of which there is one unless objectives disagree. One that
// misses an SLO is no rival, however fast.
func (r *run) rivals(level float64) []rival {
	var out []rival
	for _, o := range r.history {
		if o.Fidelity != level || o.Outcome != experiment.OutcomeSuccess || len(o.Values) == 0 || r.estimates[o.Number] == nil ||
			slices.ContainsFunc(o.Constraints, func(c float64) bool { return !(c <= 0) }) {
			continue
		}
		next := rival{o, r.estimates[o.Number]}
		if slices.ContainsFunc(out, func(x rival) bool { return r.beats(x.Observation, o) }) {
			continue
		}
		out = append(slices.DeleteFunc(out, func(x rival) bool { return r.beats(o, x.Observation) }), next)
	}
	return out
}

// A rival is an experiment that was measured to its end.
type rival struct {
	search.Observation
	estimates []score.Estimate
}

// beats says whether a is at least as good as b in every objective.
func (r *run) beats(a, b search.Observation) bool {
	for i, o := range r.task.Spec.Optimization.Objectives {
		if score.Better(o.Direction, b.Values[i], a.Values[i]) {
			return false
		}
	}
	return true
}

// worse compares samples with a rival, objective by objective.
func (r *run) worse(samples map[string][]float64, x rival, racing *task.Racing) string {
	reason := ""
	for i, o := range r.task.Spec.Optimization.Objectives {
		values := samples[o.Metric]
		if !score.SurelyWorse(o.Direction, values, x.estimates[i], racing.MinSamples, racing.Confidence) {
			return ""
		}
		if i == 0 {
			reason = fmt.Sprintf("%s is %.4g after %d samples, surely worse than the %.4g of experiment %d (%.4g %% confidence)",
				o.Metric, score.Median(values), len(values), x.estimates[i].Median, x.Number, 100*racing.Confidence)
		}
	}
	return reason
}

// estimatesOf are the objectives' estimates in a measurement's summary; nil
// unless all are there.
func estimatesOf(objectives []task.Objective, metrics map[string]store.Summary) []score.Estimate {
	var out []score.Estimate
	for _, o := range objectives {
		m, ok := metrics[o.Metric]
		if !ok {
			return nil
		}
		out = append(out, score.Estimate{Median: m.Median, Spread: m.Spread, Count: m.Count})
	}
	return out
}
