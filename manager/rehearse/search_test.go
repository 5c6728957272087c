package rehearse_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/fleetune/fleetune/manager/rehearse"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/stretchr/testify/require"
)

// searching is a task over a continuous and a whole number.
func searching(strategy string, constraints ...string) *task.Task {
	return &task.Task{Name: "t", Space: space.Space{Constraints: constraints, Parameters: []space.Parameter{
		{Name: "x", Type: space.Continuous, Low: 0, High: 1}, {Name: "n", Type: space.Integer, Low: 1, High: 4}}},
		Optimization: task.Optimization{Strategy: strategy, MaxIterations: 100, Objectives: []task.Objective{{Metric: "t", Direction: task.Minimize}}}}
}

// Grid search cuts what is continuous: its points are counted as it will go
// through them.
func TestAGridIsCountedAsItIsCut(t *testing.T) {
	r := rehearse.Task(searching("grid_search"), nil, 1)
	require.Empty(t, r.Problems)
	require.Equal(t, 40.0, r.Valid)
	require.Equal(t, 40, r.Planned)
	fine := searching("grid_search", "x <= 0.5")
	fine.Optimization.Options = map[string]json.RawMessage{"resolution": []byte("3")}
	r = rehearse.Task(fine, nil, 1)
	require.Equal(t, 12.0, r.Points)
	require.Equal(t, 8.0, r.Valid)
	require.True(t, r.Exact)
}

// A grid is measured whole, beside a baseline that is none of its points.
func TestADefaultBaselineComesOnTop(t *testing.T) {
	text := "task_name: t\nbase_runtime: vllm\nmodel: a/b\nparameters: {max-num-seqs: [1, 2, 3]}\noptimization: {strategy: grid_search, max_iterations: %d}\n" +
		"benchmark: {traffic_scenarios: [\"D(100,100)\"]}\n"
	for _, c := range []struct {
		budget  int
		extra   string
		planned int
	}{
		{3, "", 4}, {2, "", 3}, {9, "", 4}, {3, "baseline: false\n", 3}, {3, "baseline: {max-num-seqs: 2}\n", 3}, {9, "baseline: {max-num-seqs: 2}\n", 3},
	} {
		spec, problems := task.Decode("task.yaml", []byte(fmt.Sprintf(text, c.budget)+c.extra))
		require.NotNil(t, spec, problems)
		require.Equal(t, c.planned, rehearse.Task(spec, nil, 1).Planned, "%+v", c)
	}
}

// That no point can be drawn is no proof that there is none, but worth a word.
func TestConstraintsThatNothingMeetsAreNoticed(t *testing.T) {
	r := rehearse.Task(searching("bayesian", "x * n > 5"), nil, 1)
	require.False(t, r.Failed())
	require.Len(t, r.Problems, 1)
	require.Equal(t, "constraints", r.Problems[0].Field)
	require.Contains(t, r.Problems[0].Message, "none of 20000 points drawn at random meets them all")
	r = rehearse.Task(searching("grid_search", "x * n > 5"), nil, 1)
	require.True(t, r.Failed(), "a grid is counted: there is none")
	require.Empty(t, rehearse.Task(searching("bayesian", "x * n > 1"), nil, 1).Problems)
}
