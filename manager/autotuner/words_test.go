package autotuner

import (
	"math"
	"testing"

	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/stretchr/testify/require"
)

func TestStatusNames(t *testing.T) {
	infeasible, broken := experiment.OutcomeInfeasible, experiment.OutcomeFailed
	for _, c := range []struct {
		e    store.Experiment
		want string
	}{
		{store.Experiment{State: experiment.Queued}, "pending"},
		{store.Experiment{State: experiment.Running}, "benchmarking"},
		{store.Experiment{State: experiment.Success}, "success"},
		{store.Experiment{State: experiment.Failed, Outcome: &broken}, "failed"},
		{store.Experiment{State: experiment.Failed, Outcome: &infeasible}, "infeasible"},
		{store.Experiment{State: experiment.Cancelled}, "cancelled"},
	} {
		require.Equal(t, c.want, experimentStatus(store.Task{}, c.e, "running"))
	}
	serving := store.Task{Spec: &task.Task{Serving: &task.Serving{}}}
	for phase, want := range map[string][2]string{ // of a command, and of an engine
		"": {"deploying", "deploying"}, "staging": {"deploying", "deploying"}, "waiting": {"deploying", "deploying"},
		"running": {"benchmarking", "deploying"}, "load": {"deploying", "deploying"},
		"benchmark": {"benchmarking", "benchmarking"}, "stop": {"benchmarking", "benchmarking"}, "reporting": {"benchmarking", "benchmarking"},
	} {
		e := store.Experiment{State: experiment.Running}
		require.Equal(t, want, [2]string{experimentStatus(store.Task{}, e, phase), experimentStatus(serving, e, phase)}, phase)
	}
	// Every state has a status that finds it again.
	for _, state := range []store.TaskState{store.TaskWaiting, store.TaskRunning, store.TaskPaused, store.TaskCompleted, store.TaskFailed, store.TaskCancelled} {
		states, err := taskStates(taskStatus(state))
		require.NoError(t, err)
		require.Contains(t, states, state)
	}
}

// Lower is better there, whatever the objective.
func TestObjectiveScore(t *testing.T) {
	of := func(d task.Direction) store.Task {
		return store.Task{Spec: &task.Task{Optimization: task.Optimization{Objectives: []task.Objective{{Direction: d}}}}}
	}
	require.Equal(t, 3.0, *objectiveScore(of(task.Minimize), store.Experiment{Scores: []float64{3, 7}}))
	require.Equal(t, -3.0, *objectiveScore(of(task.Maximize), store.Experiment{Scores: []float64{3, 7}}))
	for _, none := range [][]float64{nil, {math.NaN()}, {math.Inf(1)}} {
		require.Nil(t, objectiveScore(of(task.Maximize), store.Experiment{Scores: none}))
	}
}

func TestSections(t *testing.T) {
	for _, source := range []string{
		`{"model": {"id_or_path": "m"}, "parameters": {"b": [1, 2], "a": [true]}, "gpu_type": "H200"}`,
		"model: m\nparameters:\n  b: [1, 2]\n  a: [true]\ngpu_type: H200\n",
	} {
		s := sectionsOf(source)
		require.JSONEq(t, `{"id_or_path":"m"}`, string(s.model()))
		require.Equal(t, []byte(`{"b":[1,2],"a":[true]}`), []byte(s.object("parameters")), "keys stay in order: the grid's order hangs on it") //nolint:testifylint // in order
		require.Equal(t, `{}`, string(s.object("benchmark")))
		require.Equal(t, "H200", *s.text("gpu_type"))
		require.Nil(t, s.text("parameters"))
		require.Nil(t, s.text("none"))
	}
	require.Empty(t, sectionsOf("]["))
}
