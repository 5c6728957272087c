package engine

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write the golden files anew")
	flag.Parse()
	os.Exit(m.Run())
}

// golden compares with a committed file, or writes it when asked to:
// go test ./engine -update
func golden(t *testing.T, path, got string) {
	t.Helper()
	if flag.Lookup("update").Value.String() == "true" {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

// everyEngine lists all engines at all versions whose flags are known.
func everyEngine(t testing.TB) []*Engine {
	t.Helper()
	var list []*Engine
	for _, name := range Names() {
		newest, err := Lookup(name)
		require.NoError(t, err)
		for _, version := range newest.Versions() {
			e, err := newest.At(version)
			require.NoError(t, err)
			list = append(list, e)
		}
	}
	return list
}

func serving(model task.Model) *task.Serving { return &task.Serving{Models: []task.Model{model}} }

func plain() *task.Serving { return serving(task.Model{ID: "meta-llama/Llama-3.1-8B-Instruct"}) }

// show writes what a point becomes.
func show(e *Engine, s *task.Serving, p space.Point) string {
	plan, err := e.Plan(s, p)
	if err != nil {
		return err.Error() + "\n"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s [%d]\n", strings.Join(plan.Flags(), " "), plan.Devices())
	if file, ok := plan.File(); ok {
		b.WriteString("    file: " + strings.ReplaceAll(strings.TrimSpace(file.Content), "\n", "; ") + "\n")
	}
	for _, note := range plan.Notes {
		b.WriteString("    note: " + note + "\n")
	}
	return b.String()
}

// mappings are what every preset of quant_config and parallel_config, and every
// value of every field, becomes: the arguments, the devices in brackets, and what
// is told beside them.
func mappings(e *Engine) string {
	var b strings.Builder
	for _, preset := range QuantPresets() {
		b.WriteString("quant " + preset + ": " + show(e, plain(), space.Point{"quant.preset": preset}))
	}
	for _, field := range QuantFields() {
		for _, value := range field.Values {
			b.WriteString(field.Name + " " + value + ": " + show(e, plain(), space.Point{"quant." + field.Name: value}))
		}
	}
	for _, preset := range parallelPresets() {
		b.WriteString("parallel " + preset + ": " + show(e, plain(), space.Point{"parallel.preset": preset}))
	}
	for _, field := range []string{"tp", "pp", "dp", "cp", "dcp", "moe_tp", "moe_ep", "moe_cluster", "moe_dense_tp"} {
		b.WriteString(field + " 2: " + show(e, plain(), space.Point{"parallel." + field: int64(2)}))
		if field != "tp" {
			b.WriteString("tp 4, " + field + " 2: " + show(e, plain(), space.Point{"parallel.tp": int64(4), "parallel." + field: int64(2)}))
		}
	}
	for _, on := range []bool{true, false} {
		b.WriteString(fmt.Sprintf("tp 2, enable_expert_parallel %v: ", on) + show(e, plain(), space.Point{"parallel.tp": int64(2), "parallel.enable_expert_parallel": on}))
	}
	return b.String()
}

// The mappings of an engine's first and last version, and what changes from each
// version to the next.
func TestMappings(t *testing.T) {
	before := map[string][]string{}
	changes := map[string]*strings.Builder{}
	for _, e := range everyEngine(t) {
		text := mappings(e)
		versions := e.Versions()
		if e.Version() == versions[0] || e.Version() == versions[len(versions)-1] {
			golden(t, fmt.Sprintf("testdata/mapping-%s-%s.golden", e.Name(), e.Version()), text)
		}
		now := strings.SplitAfter(strings.ReplaceAll(text, e.Version(), "VERSION"), "\n")
		if old, ok := before[e.Name()]; ok {
			head := e.Version() + "\n"
			for _, line := range now {
				// A line that tells more or less lets the others move: those that
				// the version before had anywhere are no change.
				if slices.Contains(old, line) {
					continue
				}
				changes[e.Name()].WriteString(head + "  " + line)
				head = ""
			}
		} else {
			changes[e.Name()] = &strings.Builder{}
		}
		before[e.Name()] = now
	}
	for name, text := range changes {
		if text.Len() > 0 {
			golden(t, fmt.Sprintf("testdata/mapping-%s-changes.golden", name), text.String())
		}
	}
}

// A checkpoint that is quantised already keeps its method, however it tells.
func TestOfflineQuantisation(t *testing.T) {
	for _, e := range everyEngine(t) {
		for _, m := range []task.Model{
			{ID: "a/b", QuantMethod: "awq"}, {ID: "a/b", Architecture: &task.Architecture{QuantMethod: "gptq"}},
			{ID: "Qwen/Qwen2.5-7B-Instruct-AWQ"}, {ID: "/models/llama-3-8b.Q4_K_M.gguf"}, {ID: "nvidia/Llama-3.1-8B-Instruct-FP4"},
			{ID: "a/b-FP8"}, {ID: "unsloth/llama-bnb-4bit"},
		} {
			plan, err := e.Plan(serving(m), space.Point{"quant.preset": "dynamic-fp8"})
			require.NoError(t, err)
			_, has := plan.Argument("quantization")
			require.False(t, has, "%s %s: %v", e.Name(), m.ID, plan.Flags())
			require.NotContains(t, plan.Options, "quant_config")
			if dtype, has := plan.Argument("dtype"); has {
				require.Equal(t, []string{"auto"}, dtype, "never --dtype fp8")
			}
			require.NotEmpty(t, plan.Notes)
		}
	}
}
