package why_test

import (
	"testing"
	"time"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/api/why"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// base is a queued experiment that asks for two GPUs, and a worker that has
// them; every case below breaks one thing.
func base() why.Case {
	gpu := func(id string) node.Device {
		return node.Device{ID: id, Vendor: "nvidia", Model: "NVIDIA H100", Memory: 80 << 30, Health: node.Healthy}
	}
	return why.Case{
		Task: store.Task{ID: uuid.Max, Name: "mine", Kind: "command", State: store.TaskRunning, Priority: task.Normal,
			Spec: &task.Task{Optimization: task.Optimization{MaxParallel: 4},
				Resources: node.Requirements{Accelerator: "h100", Devices: 2, Memory: 40 << 30, Labels: map[string]string{"rack": "a"}}}},
		Experiment: &store.Experiment{Number: 7, State: experiment.Queued, QueuedAt: now.Add(-90 * time.Second)},
		Workers: []store.Worker{{Name: "w1", State: store.WorkerOnline, LastBeatAt: now, Node: node.Advertisement{
			Pool: "default", Kinds: []string{"command"}, Labels: map[string]string{"rack": "a"},
			Devices: []node.Device{gpu("gpu-0"), gpu("gpu-1"), gpu("gpu-2")}}}},
		Now: now,
	}
}

func TestEveryRequirementIsNamedWhenItFails(t *testing.T) {
	for requirement, breaks := range map[string]func(w *store.Worker){
		why.Online:    func(w *store.Worker) { w.State, w.LastBeatAt = store.WorkerLost, now.Add(-40*time.Second) },
		why.Drain:     func(w *store.Worker) { w.Drain = true },
		why.Trouble:   func(w *store.Worker) { w.Trouble = "the disk is full" },
		"pool":        func(w *store.Worker) { w.Node.Pool = "other" },
		"kind":        func(w *store.Worker) { w.Node.Kinds = nil },
		"accelerator": func(w *store.Worker) { w.Node.Devices = nil },
		"devices":     func(w *store.Worker) { w.Node.Devices = w.Node.Devices[:1] },
		"memory":      func(w *store.Worker) { w.Node.Devices[0].Memory, w.Node.Devices[1].Memory = 1, 1 },
		"labels":      func(w *store.Worker) { w.Node.Labels = nil },
		"health": func(w *store.Worker) {
			w.Node.Devices[0].Health, w.Node.Devices[1].Health = node.Quarantined, node.Missing
		},
		why.Busy: func(w *store.Worker) {
			w.Held = []wire.Held{{Experiment: uuid.Nil, Phase: "running", Devices: []string{"gpu-0", "gpu-1"}}}
		},
	} {
		c := base()
		breaks(&c.Workers[0])
		w := why.Explain(c)
		require.Equal(t, requirement, w.Workers[0].Requirement)
		require.NotEmpty(t, w.Workers[0].Reason)
		require.Equal(t, requirement == why.Busy, w.Workers[0].Fits, requirement)
		require.Empty(t, w.Causes, requirement)
		require.NotEmpty(t, w.Summary)
	}
}

func TestCausesOfTheTask(t *testing.T) {
	other := store.Task{ID: uuid.Nil, Name: "urgent", Kind: "command", State: store.TaskRunning, Priority: task.High, Spec: &task.Task{}}
	for name, check := range map[string]struct {
		change func(c *why.Case)
		kind   string
		reason string
	}{
		"an offer under way": {func(*why.Case) {}, why.CauseOffer, "queued 90 s ago"},
		"paused":             {func(c *why.Case) { c.Task.State = store.TaskPaused }, why.CauseTask, "fleetune resume mine"},
		"dependency": {func(c *why.Case) {
			c.Task.State = store.TaskWaiting
			c.Dependencies = []store.Dependency{{Name: "done", State: store.TaskCompleted}, {Name: "first", State: store.TaskRunning}}
		}, why.CauseDependency, "it depends on task first, which is running"},
		"window": {func(c *why.Case) { c.Counts.Running = 4 }, why.CauseWindow, "max_parallel allows 4"},
		"nothing queued": {func(c *why.Case) { c.Experiment = nil; c.Counts.Running = 3 }, why.CauseTask,
			"the sampler waits for their results"},
		"choosing": {func(c *why.Case) { c.Experiment = nil }, why.CauseOffer, "choosing the next points"},
		"priority": {func(c *why.Case) {
			c.Others, c.OtherCounts = []store.Task{other}, map[uuid.UUID]store.Counts{other.ID: {Queued: 5}}
		}, why.CausePriority, "task urgent has priority high and 5 queued before it"},
	} {
		t.Run(name, func(t *testing.T) {
			c := base()
			check.change(&c)
			w := why.Explain(c)
			require.Len(t, w.Causes, 1)
			require.Equal(t, check.kind, w.Causes[0].Kind)
			require.Contains(t, w.Causes[0].Reason, check.reason)
			require.Equal(t, w.Causes[0].Reason, w.Summary)
		})
	}
}

func TestHigherPriorityElsewhereIsNoCause(t *testing.T) {
	for name, change := range map[string]func(o *store.Task){
		"other pool": func(o *store.Task) { o.Spec.Resources.Pool = "other" },
		"lower":      func(o *store.Task) { o.Priority = task.Low },
		"paused":     func(o *store.Task) { o.State = store.TaskPaused },
	} {
		o := store.Task{Name: "o", State: store.TaskRunning, Priority: task.High, Spec: &task.Task{}}
		change(&o)
		c := base()
		c.Others, c.OtherCounts = []store.Task{o}, map[uuid.UUID]store.Counts{o.ID: {Queued: 5}}
		require.Equal(t, why.CauseOffer, why.Explain(c).Causes[0].Kind, name)
	}
}

func TestWhatDoesNotWait(t *testing.T) {
	worker, ended := "w1", experiment.OutcomeIncorrect
	for want, change := range map[string]func(c *why.Case){
		"experiment 7 does not wait: it runs on w1":                       func(c *why.Case) { c.Experiment.State, c.Experiment.Worker = experiment.Running, &worker },
		"experiment 7 does not wait: it has ended with outcome incorrect": func(c *why.Case) { c.Experiment.State, c.Experiment.Outcome = experiment.Failed, &ended },
		"the task is completed: nothing waits":                            func(c *why.Case) { c.Experiment, c.Task.State = nil, store.TaskCompleted },
	} {
		c := base()
		change(&c)
		w := why.Explain(c)
		require.Equal(t, want, w.Summary)
		require.Equal(t, []v1.Obstacle{}, w.Workers)
	}
}

func TestWithoutWorkersTheNextStepIsNamed(t *testing.T) {
	c := base()
	c.Workers = nil
	require.Contains(t, why.Explain(c).Summary, "fleetune up")
}
