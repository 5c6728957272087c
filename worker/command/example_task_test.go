package command

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/fleetune/fleetune/proto/bundle"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

// loadExample reads a task of deploy/examples as `submit` does.
func loadExample(t *testing.T, name string) (*stand, *task.Task) {
	t.Helper()
	dir := filepath.Join("..", "..", "deploy", "examples", name)
	text, err := os.ReadFile(filepath.Join(dir, "task.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	decoded, problems := task.Decode("task.yaml", text)
	for _, p := range problems {
		t.Error(p.String())
	}
	if decoded == nil {
		t.FailNow()
	}
	s := newStand(t)
	s.command, s.offer.Repeats = *decoded.Command, decoded.Optimization.Repeats
	s.offer.Metrics = []string{decoded.Optimization.Objectives[0].Metric}
	s.budget = decoded.Optimization.IterationTimeout.D()
	if s.data, err = bundle.Attach(dir, &s.command); err != nil {
		t.Fatal(err)
	}
	return s, decoded
}

// blocked is a point of the matrix multiplication that GCC and Clang both
// vectorise.
var blocked = space.Point{"order": "blocked", "tile_m": int64(64), "tile_n": int64(128), "tile_k": int64(128),
	"rows": int64(4), "columns": int64(2), "vector": int64(8), "optimize": "-O3", "target": "-march=native"}

// The example tunes: a blocked configuration passes the gate and beats the
// baseline, measured in turns with it.
func TestMatmulExample(t *testing.T) {
	if _, err := exec.LookPath("cc"); err != nil {
		t.Skip("needs a C compiler: ", err)
	}
	s, _ := loadExample(t, "matmul")
	s.offer.Purpose, s.offer.Baseline, s.point = experiment.Confirm, s.command.Baseline, blocked
	s.offer.Repeats = 3
	s.devices = []node.Device{{ID: "cpu-0", Vendor: "cpu"}}
	res := s.do(t.Context())
	want(t, res, experiment.OutcomeSuccess, "", "")
	fast, slow := res.Measurement.Metrics["time_ms"].Median, res.Measurement.Reference["time_ms"].Median
	t.Logf("%.2f ms, baseline %.2f ms: %.1f times as fast", fast, slow, slow/fast)
	if fast >= slow {
		t.Errorf("%.2f ms is no faster than the baseline's %.2f ms", fast, slow)
	}
	if len(res.Measurement.Checks) != 2 {
		t.Errorf("checks are %+v", res.Measurement.Checks)
	}
}

// A kernel that is wrong in one element is caught.
func TestMatmulExampleCatchesAWrongKernel(t *testing.T) {
	if _, err := exec.LookPath("cc"); err != nil {
		t.Skip("needs a C compiler: ", err)
	}
	s, _ := loadExample(t, "matmul")
	s.point = blocked
	s.command.Files = append(s.command.Files, task.File{Path: "patch.sh", Content: `sh build.sh "$@"
printf '#include "matmul.h"\nvoid matmul(const float *a, const float *b, float *c);\nvoid real(const float *, const float *, float *);\nvoid matmul(const float *a, const float *b, float *c) { real(a, b, c); c[12345] += 0.5f; }\n' > wrong.c
sed -i 's/\bmatmul(/real(/' kernel.c matmul.h
cc -march=native -O3 -c -o kernel.o kernel.c
sed -i 's/\breal(/matmul(/' matmul.h
cc -o matmul harness.c wrong.c kernel.o -lm
`})
	s.command.Build.Argv[1] = "patch.sh"
	want(t, s.do(t.Context()), experiment.OutcomeIncorrect, "check", "1 of 262144 elements differ, first at [24, 57]")
}

func TestQuickstartExample(t *testing.T) {
	if _, err := exec.LookPath("sort"); err != nil {
		t.Skip("needs sort: ", err)
	}
	s, decoded := loadExample(t, "quickstart")
	s.point = s.command.Baseline
	s.offer.Repeats = 1
	want(t, s.do(t.Context()), experiment.OutcomeSuccess, "", "")
	if err := decoded.Space.Contains(s.point); err != nil {
		t.Errorf("the baseline is not in the space: %v", err)
	}
}
