package simulate

import (
	"cmp"
	"encoding/csv"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/fleetune/fleetune/shared/hardware"
	"github.com/fleetune/fleetune/worker/simulate/batching"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A trial is a measured one: a batch of requests that begin together, prompts and
// replies of one length.
type trial struct {
	gpu, engine, model     string
	devices, length, batch int
	seconds                float64
}

func measured(t *testing.T) []trial {
	t.Helper()
	f, err := os.Open("testdata/measured/throughput.csv")
	require.NoError(t, err)
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	require.NoError(t, err)
	number := func(text string) int {
		n, err := strconv.Atoi(text)
		require.NoError(t, err)
		return n
	}
	var list []trial
	for _, row := range rows[1:] {
		seconds, err := strconv.ParseFloat(row[6], 64)
		require.NoError(t, err)
		list = append(list, trial{row[0], row[1], row[2], number(row[3]), number(row[4]), number(row[5]), seconds})
	}
	return list
}

// simulated is how long the model takes for a run, at vLLM's defaults.
func (r trial) simulated(t *testing.T) float64 {
	t.Helper()
	gpu, err := hardware.Lookup(r.gpu)
	require.NoError(t, err)
	o := options{engine: "vllm", gpu: gpu, arguments: []string{"serve", r.model, "--dtype", "float16",
		"--tensor-parallel-size", strconv.Itoa(r.devices), "--max-model-len", "4096", "--no-enable-prefix-caching"}}
	s, err := o.settings()
	require.NoError(t, err, "%+v", r)
	rank := batching.NewRank(s.Policy, s.Costs)
	for i := range r.batch {
		prompt := make([]uint32, r.length)
		for j := range prompt {
			prompt[j] = uint32(i*r.length + j)
		}
		_, err := rank.Add(batching.Request{Prompt: prompt, Output: r.length, Seed: uint64(i)})
		require.NoError(t, err)
	}
	for rank.Waiting()+rank.Running() > 0 {
		_, err := rank.Begin()
		require.NoError(t, err)
		rank.End()
	}
	return rank.Statistics().Busy
}

// ranks of values, for a correlation of order.
func ranks(values []float64) []float64 {
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(values[a], values[b]) })
	out := make([]float64, len(values))
	for place, i := range order {
		out[i] = float64(place)
	}
	return out
}

// spearman is the correlation of the orders of two lists without ties.
func spearman(a, b []float64) float64 {
	ra, rb, sum := ranks(a), ranks(b), 0.0
	for i := range ra {
		sum += (ra[i] - rb[i]) * (ra[i] - rb[i])
	}
	n := float64(len(a))
	return 1 - 6*sum/(n*(n*n-1))
}

func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[int(math.Round(q*float64(len(sorted)-1)))]
}

// A distance is how far the model is from measurements.
type distance struct {
	ratio, measured, simulated []float64
	// median of the ratios that is tolerated, and order the least correlation.
	least, most, order float64
}

// The model is held to what others measured: the order of configurations, which
// is what a rehearsal is for, and how much faster it is than engines of 2024
// were. The rows of the table in shared/docs/simulated-engine.md are these.
func TestMeasuredThroughputIsMet(t *testing.T) {
	doc, err := os.ReadFile("../../shared/docs/simulated-engine.md")
	require.NoError(t, err)
	groups := map[string]*distance{
		"a100-40 | TensorRT-LLM":  {least: 0.9, most: 1.3, order: 0.97},
		"a100-40 | vLLM":          {least: 0.9, most: 1.5, order: 0.97},
		"h100-sxm | TensorRT-LLM": {least: 0.9, most: 1.3, order: 0.95},
		"h100-sxm | vLLM":         {least: 0.9, most: 1.6, order: 0.97},
		"mi300x | vLLM":           {least: 0.9, most: 4, order: 0.94},
	}
	for _, trial := range measured(t) {
		g, took, tokens := groups[trial.gpu+" | "+trial.engine], trial.simulated(t), float64(2*trial.length*trial.batch)
		g.ratio = append(g.ratio, trial.seconds/took)
		g.measured, g.simulated = append(g.measured, tokens/trial.seconds), append(g.simulated, tokens/took)
	}
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		g := groups[name]
		row := fmt.Sprintf("| %s | %d | %.2f | %.2f–%.2f | %.2f |", name, len(g.ratio),
			quantile(g.ratio, 0.5), quantile(g.ratio, 0.1), quantile(g.ratio, 0.9), spearman(g.measured, g.simulated))
		t.Log(row)
		assert.Contains(t, string(doc), row, "shared/docs/simulated-engine.md")
		require.GreaterOrEqual(t, quantile(g.ratio, 0.5), g.least, name)
		require.LessOrEqual(t, quantile(g.ratio, 0.5), g.most, name)
		require.GreaterOrEqual(t, spearman(g.measured, g.simulated), g.order, name)
	}
}
