package task

import (
	"testing"

	"github.com/fleetune/fleetune/proto/space"
	"github.com/stretchr/testify/require"
)

func decoded(t *testing.T, text string) *Task {
	t.Helper()
	task, problems := Decode("t.yaml", []byte(text))
	require.NotNil(t, task, problems)
	return task
}

const recorded = `
task_name: gemm
parameters: {tile: [1, 2]}
optimization: {objective: minimize_time_ms}
command:
  run: [./bench, "{{tile}}"]
`

// A task that is handed in again under another name is the same work, whatever
// its budget; one that runs something else is not.
func TestRunnerIsWhatRuns(t *testing.T) {
	base := decoded(t, recorded)
	require.Equal(t, Records{Operation: "gemm", Reuse: ReuseOff, Transfer: TransferOff}, base.Recorded())
	want, err := base.Runner()
	require.NoError(t, err)

	other := decoded(t, recorded+"  finalists: 0\n  baseline: {tile: 2}\n  warmups: 3\n")
	other.Rename("gemm-again")
	other.Command.Run.Timeout = 1
	same, err := other.Runner()
	require.NoError(t, err)
	require.Equal(t, want, same)
	require.Equal(t, "gemm-again", other.Name)
	require.Equal(t, "gemm", other.Recorded().Operation)

	for name, change := range map[string]func(*Task){
		"argv":      func(x *Task) { x.Command.Run.Argv = []string{"./bench", "-O3", "{{tile}}"} },
		"files":     func(x *Task) { x.Command.Bundle = "sha256:1" },
		"variables": func(x *Task) { x.Command.Env.Set = map[string]string{"OMP_NUM_THREADS": "4"} },
		"gate":      func(x *Task) { x.Command.Check = &Step{Argv: []string{"./check"}} },
		"tolerance": func(x *Task) { x.Command.Tolerance.Absolute = 0.5 },
		"kind":      func(x *Task) { x.Command = nil },
	} {
		x := decoded(t, recorded)
		change(x)
		got, err := x.Runner()
		require.NoError(t, err)
		require.NotEqual(t, want, got, name)
	}
	require.Equal(t, space.Point{"tile": int64(2)}, other.Command.Baseline, "the digest takes nothing away")
}
