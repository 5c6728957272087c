package dispatch

import (
	"encoding/json"
	"testing"

	"github.com/fleetune/fleetune/manager/score"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// Samplers are told values without penalties and the margins beside them, of
// what breaks a hard limit too; the ranking is by scores.
func TestSamplersLearnFromMargins(t *testing.T) {
	spec, problems := task.Decode("task.yaml", []byte(`
task_name: slo
model: m
base_runtime: vllm
parameters: {max-num-seqs: [1, 2, 3]}
optimization: {objective: minimize_ttft}
slo: {latency: {p90: {threshold: 5, hard_fail: true}}}
`))
	require.NotNil(t, spec, problems)
	metrics := func(ttft, margin float64) map[string]store.Summary {
		return map[string]store.Summary{"mean_ttft": {Median: ttft}, score.MarginMetric(spec.Serving.SLO.Terms[0]): {Median: margin}}
	}
	outcomes := []experiment.Outcome{experiment.OutcomeSuccess, experiment.OutcomeSuccess, experiment.OutcomeInfeasible, experiment.OutcomeFailed}
	var rows []store.Experiment
	for i, o := range outcomes {
		rows = append(rows, store.Experiment{ID: uuid.New(), Number: i + 1, Purpose: experiment.Search, State: o.State(), Outcome: &outcomes[i],
			Parameters: space.Point{"max-num-seqs": int64(1 + i%3)}})
	}
	rows[0].Scores, rows[0].Metrics = []float64{9}, metrics(1, 0.3)
	rows[1].Scores, rows[1].Metrics = []float64{2}, metrics(2, -0.5)
	rows[2].Metrics = metrics(0.5, 0.9)
	r, err := newRun(store.Task{ID: uuid.New(), Kind: task.KindServing, Spec: spec}, rows)
	require.NoError(t, err)
	require.Equal(t, []float64{1}, r.history[0].Values)
	require.Equal(t, []float64{0.3}, r.history[0].Constraints)
	require.Equal(t, []float64{0.5}, r.history[2].Values)
	require.Equal(t, []float64{0.9}, r.history[2].Constraints)
	require.Nil(t, r.history[3].Values)
	ranking := r.ranking()
	require.Len(t, ranking, 2)
	require.Equal(t, 2, ranking[0].Number, "the penalty counts where the best is named")
	require.Equal(t, []float64{2}, ranking[0].Values)
}

// An engine's defaults are an empty point, and a baseline all the same: it must
// arrive as one, or the confirmation measures the candidate alone.
func TestDefaultsAreConfirmedAgainst(t *testing.T) {
	spec, problems := task.Decode("task.yaml", []byte(`
task_name: defaults
model: m
base_runtime: vllm
parameters: {max-num-seqs: [1, 2, 3]}
optimization: {objective: minimize_ttft}
`))
	require.NotNil(t, spec, problems)
	require.Empty(t, spec.Serving.Baseline)
	r, err := newRun(store.Task{ID: uuid.New(), Kind: task.KindServing, Spec: spec}, nil)
	require.NoError(t, err)
	point := space.Point{"max-num-seqs": int64(2)}
	sent, err := json.Marshal(r.offer(&entry{purpose: experiment.Confirm, point: point, class: r.classOf(experiment.Confirm, point)}))
	require.NoError(t, err)
	var got wire.Offer
	require.NoError(t, json.Unmarshal(sent, &got))
	require.NotNil(t, got.Baseline)
	sent, err = json.Marshal(r.offer(&entry{purpose: experiment.Search, point: point, class: r.classOf(experiment.Search, point)}))
	require.NoError(t, err)
	var other wire.Offer
	require.NoError(t, json.Unmarshal(sent, &other))
	require.Nil(t, other.Baseline)
}
