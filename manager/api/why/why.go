// Package why explains what an experiment waits for: what holds its task back,
// and worker by worker the first requirement that fails. It judges rows that
// the caller has read and asks nobody.
package why

import (
	"fmt"
	"strings"
	"time"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/place"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/google/uuid"
)

// The requirements that only the present moment can fail; those of node.Match
// stand between trouble and busy.
const (
	Online  = "online"
	Drain   = "drain"
	Trouble = "trouble"
	Busy    = "busy"
)

// The causes that lie with the task.
const (
	CauseTask       = "task"
	CauseDependency = "dependency"
	CauseWindow     = "window"
	CausePriority   = "priority"
	CauseOffer      = "offer"
)

// A Case is everything that the explanation rests on.
type Case struct {
	Task store.Task
	// Experiment that waits; nil when none is queued.
	Experiment   *store.Experiment
	Counts       store.Counts
	Dependencies []store.Dependency
	Workers      []store.Worker
	// Others are the other live tasks, with the counts of each.
	Others      []store.Task
	OtherCounts map[uuid.UUID]store.Counts
	// Places names the experiments that workers hold.
	Places map[uuid.UUID]string
	Now    time.Time
}

// Explain says why the experiment is not running.
func Explain(c Case) v1.Why {
	w := v1.Why{Task: c.Task.Name, Status: string(c.Task.State), Causes: []v1.Cause{}, Workers: []v1.Obstacle{}}
	if e := c.Experiment; e != nil {
		w.Number, w.Status = e.Number, string(e.State)
		if e.State != experiment.Queued {
			w.Summary = settled(e)
			return w
		}
	}
	if c.Task.State.Final() {
		w.Summary = fmt.Sprintf("the task is %s: nothing waits", c.Task.State)
		return w
	}
	w.Causes = append(w.Causes, taskCauses(c)...)
	need := needOf(c.Task, c.Experiment)
	for _, worker := range c.Workers {
		w.Workers = append(w.Workers, judge(c, need, worker))
	}
	w.Causes = append(w.Causes, priorityCauses(c)...)
	if len(w.Causes) == 0 && idle(w.Workers) > 0 {
		w.Causes = append(w.Causes, offerCause(c))
	}
	w.Summary = summary(w)
	return w
}

// needOf is what an experiment asks of a place, or its task where there is
// none.
func needOf(t store.Task, e *store.Experiment) node.Requirements {
	if t.Spec == nil {
		return node.Requirements{Kind: t.Kind}
	}
	var point space.Point
	if e != nil {
		point = e.Parameters
	}
	need := place.Need(t.Spec, point)
	need.Kind = t.Kind
	return need
}

func settled(e *store.Experiment) string {
	switch {
	case e.State == experiment.Running && e.Worker != nil:
		return fmt.Sprintf("experiment %d does not wait: it runs on %s", e.Number, *e.Worker)
	case e.Outcome != nil:
		return fmt.Sprintf("experiment %d does not wait: it has ended with outcome %s", e.Number, *e.Outcome)
	default:
		return fmt.Sprintf("experiment %d does not wait: it is %s", e.Number, e.State)
	}
}

func taskCauses(c Case) []v1.Cause {
	var causes []v1.Cause
	add := func(kind, format string, args ...any) {
		causes = append(causes, v1.Cause{Kind: kind, Reason: fmt.Sprintf(format, args...)})
	}
	switch c.Task.State {
	case store.TaskPaused:
		add(CauseTask, "the task is paused; fleetune resume %s lets it go on", c.Task.Name)
	case store.TaskWaiting:
		for _, d := range c.Dependencies {
			if d.State != store.TaskCompleted {
				add(CauseDependency, "it depends on task %s, which is %s", d.Name, d.State)
			}
		}
	default: // a task that runs or has ended holds nothing up
	}
	if spec := c.Task.Spec; spec != nil && spec.Optimization.MaxParallel > 0 && c.Counts.Running >= spec.Optimization.MaxParallel {
		add(CauseWindow, "%d of its experiments run, and max_parallel allows %d", c.Counts.Running, spec.Optimization.MaxParallel)
	}
	if c.Experiment == nil && c.Task.State == store.TaskRunning && c.Counts.Running > 0 {
		add(CauseTask, "no experiment is queued: %d run, and the sampler waits for their results", c.Counts.Running)
	}
	return causes
}

// priorityCauses names the tasks whose offers workers take first, where they
// could be served by the same workers.
func priorityCauses(c Case) []v1.Cause {
	var causes []v1.Cause
	for _, o := range c.Others {
		queued := c.OtherCounts[o.ID].Queued
		if o.State != store.TaskRunning || queued == 0 || rank(o.Priority) >= rank(c.Task.Priority) || !shares(c, o) {
			continue
		}
		causes = append(causes, v1.Cause{Kind: CausePriority,
			Reason: fmt.Sprintf("task %s has priority %s and %d queued before it", o.Name, o.Priority, queued)})
	}
	return causes
}

// shares says whether a worker could serve both tasks.
func shares(c Case, other store.Task) bool {
	mine, theirs := needOf(c.Task, c.Experiment), needOf(other, nil)
	for _, w := range c.Workers {
		if w.State == store.WorkerOnline && node.Match(mine, w.Node) == nil && node.Match(theirs, w.Node) == nil {
			return true
		}
	}
	return false
}

func rank(p task.Priority) int {
	for i, known := range task.Priorities() {
		if p == known {
			return i
		}
	}
	return len(task.Priorities())
}

// judge finds the first requirement that fails on a worker.
func judge(c Case, need node.Requirements, w store.Worker) v1.Obstacle {
	fails := func(requirement string, format string, args ...any) v1.Obstacle {
		return v1.Obstacle{Worker: w.Name, Requirement: requirement, Reason: fmt.Sprintf(format, args...)}
	}
	switch {
	case w.State == store.WorkerLost:
		return fails(Online, "has not been heard of for %s", span(c.Now.Sub(w.LastBeatAt)))
	case w.State == store.WorkerLeft:
		return fails(Online, "has left")
	case w.State == store.WorkerDraining || w.Drain:
		return fails(Drain, "is draining: it finishes what it runs and takes nothing new")
	case w.Trouble != "":
		return fails(Trouble, "takes no work: %s", w.Trouble)
	}
	if m := node.Match(need, w.Node); m != nil {
		return fails(string(m.Requirement), "%s", m.Reason)
	}
	o := v1.Obstacle{Worker: w.Name, Fits: true, Reason: "can serve it"}
	if free, holders := freeDevices(c, need, w); free < max(need.Devices, 1) {
		o.Requirement = Busy
		o.Reason = fmt.Sprintf("has %d of the %d devices free (%s)", free, max(need.Devices, 1), strings.Join(holders, "; "))
	}
	return o
}

// freeDevices counts the devices that could serve and are not held, and says
// who holds the others.
func freeDevices(c Case, need node.Requirements, w store.Worker) (free int, holders []string) {
	held := map[string]string{}
	for _, h := range w.Held {
		name := c.Places[h.Experiment]
		if name == "" {
			name = "an experiment"
		}
		for _, d := range h.Devices {
			held[d] = fmt.Sprintf("%s is held by %s, %s", d, name, h.Phase)
		}
	}
	for _, d := range w.Node.Devices {
		if !need.Accepts(d) {
			continue
		}
		if holder, taken := held[d.ID]; taken {
			holders = append(holders, holder)
		} else {
			free++
		}
	}
	return free, holders
}

func idle(workers []v1.Obstacle) int {
	n := 0
	for _, w := range workers {
		if w.Fits && w.Requirement == "" {
			n++
		}
	}
	return n
}

func offerCause(c Case) v1.Cause {
	if c.Experiment == nil {
		return v1.Cause{Kind: CauseOffer, Reason: "no experiment is queued: the manager is choosing the next points"}
	}
	return v1.Cause{Kind: CauseOffer, Reason: fmt.Sprintf("its offer is on its way (queued %s ago): a worker that fits takes it as soon as its turn comes",
		span(c.Now.Sub(c.Experiment.QueuedAt)))}
}

// summary is the one line that answers the question.
func summary(w v1.Why) string {
	if len(w.Causes) > 0 {
		return w.Causes[0].Reason
	}
	if len(w.Workers) == 0 {
		return "no worker has ever joined: fleetune up starts one here, and fleetune workers tells how another node joins"
	}
	fitting := 0
	for _, o := range w.Workers {
		if o.Fits {
			fitting++
		}
	}
	if fitting == 0 {
		return fmt.Sprintf("none of %d workers can serve it", len(w.Workers))
	}
	return fmt.Sprintf("%d of %d workers can serve it, and all their devices are held", fitting, len(w.Workers))
}

// span says a duration in seconds, minutes or hours.
func span(d time.Duration) string {
	switch d = max(d, 0); {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d minutes", int(d.Minutes()))
	default:
		return fmt.Sprintf("%d hours", int(d.Hours()))
	}
}
