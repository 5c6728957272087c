package rehearse

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/task"
)

func TestWhoseMemoryCounts(t *testing.T) {
	const gib = 1 << 30
	for name, c := range map[string]struct {
		accelerator string
		least       int64
		simulate    string
		want        int64
		of          string
	}{
		"nothing is known":        {"", 0, "", 0, ""},
		"any accelerator":         {"any", 40 * gib, "", 40 * gib, "a device of resources.memory"},
		"a maker makes many":      {"nvidia", 0, "", 0, ""},
		"a model":                 {"l40s", 0, "", 48 * gib, "NVIDIA L40S"},
		"the largest of a model":  {"H100", 0, "", 94 * gib, "NVIDIA H100 NVL, the largest that the task takes"},
		"the least leaves some":   {"a100", 60 * gib, "", 80 * gib, "NVIDIA A100-SXM4-80GB, the largest that the task takes"},
		"no model is so large":    {"l4", 40 * gib, "", 40 * gib, "a device of resources.memory"},
		"the simulated one":       {"l4", 0, "h100-sxm", 80 * gib, "NVIDIA H100 80GB HBM3"},
		"what no table lists":     {"RTX 9999", 0, "", 0, ""},
		"what runs on processors": {"cpu", 0, "", 0, ""},
	} {
		spec := &task.Task{Serving: &task.Serving{}, Resources: node.Requirements{Accelerator: c.accelerator, Memory: c.least}}
		if c.simulate != "" {
			spec.Serving.Simulate = &task.Simulate{GPU: c.simulate}
		}
		require.Equal(t, memory{c.want, c.of}, memoryOf(spec), name)
	}
}
