package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/fleetune/fleetune/proto/bundle"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/fleetune/fleetune/worker/process"
)

func TestMain(m *testing.M) {
	if err := process.BecomeSubreaper(); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// stand is everything an attempt needs; tests change what they are about.
type stand struct {
	t       *testing.T
	command task.Command
	point   space.Point
	offer   wire.Offer
	options Options
	data    []byte // the bundle
	dir     string
	logs    string
	budget  time.Duration
	total   bool
	devices []node.Device
	// progress hears what attempts measure.
	progress func(map[string][]float64)
}

// newStand stages a program whose kernel writes the right result and whose run
// reports one metric.
func newStand(t *testing.T) *stand {
	s := &stand{t: t, dir: filepath.Join(t.TempDir(), "attempt"), logs: t.TempDir(), budget: time.Minute,
		point:   space.Point{"scale": int64(2)},
		devices: []node.Device{{ID: "cpu-0", Vendor: "cpu"}},
		offer:   wire.Offer{Experiment: uuid.New(), Purpose: experiment.Search, Seed: 1, Repeats: 3, Metrics: []string{"time"}}}
	s.command = task.Command{
		Files: []task.File{
			{Path: "kernel.sh", Content: kernel, Render: true},
			{Path: "reference.sh", Content: reference},
			{Path: "inputs.sh", Content: inputs},
			{Path: "run.sh", Content: run},
		},
		Inputs:    step("sh", "inputs.sh"),
		Check:     step("sh", "kernel.sh"),
		Reference: step("sh", "reference.sh"),
		Outputs:   []task.Output{{Path: "out", DType: "bytes"}},
		Run:       *step("sh", "run.sh"),
		Measure:   task.MeasureResultFile,
	}
	return s
}

const (
	inputs = `head -c 4096 /dev/urandom | od -An -tu1 | tr -s ' ' '\n' | grep . > "$EXP_INPUT_DIR/in"`
	// kernel multiplies by {{scale}}, which is right for 2.
	kernel    = `awk '{ print $1 * {{scale}} }' "$EXP_INPUT_DIR/in" > "$EXP_OUTPUT_DIR/out"`
	reference = `awk '{ print $1 + $1 }' "$EXP_INPUT_DIR/in" > "$EXP_OUTPUT_DIR/out"`
	run       = `printf '{"schema":1,"run_id":"%s","correct":true,"metrics":{"time":{"unit":"s","samples":[3,1,2]}}}' "$EXP_RUN_ID" > "$EXP_RESULT_PATH.draft"
mv "$EXP_RESULT_PATH.draft" "$EXP_RESULT_PATH"`
)

func step(argv ...string) *task.Step { return &task.Step{Argv: argv} }

// file replaces the content of one of the command's files.
func (s *stand) file(path, content string) {
	for i := range s.command.Files {
		if s.command.Files[i].Path == path {
			s.command.Files[i].Content = content
			return
		}
	}
	s.command.Files = append(s.command.Files, task.File{Path: path, Content: content})
}

// ungated leaves only the measured program, so that a short budget is spent on
// nothing else.
func (s *stand) ungated() { s.command.Inputs, s.command.Check, s.command.Reference = nil, nil, nil }

func (s *stand) job() Job {
	s.t.Helper()
	spec, err := json.Marshal(s.command)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	s.offer.Spec, s.offer.Parameters = spec, s.point
	return Job{Progress: s.progress, Offer: s.offer, Tag: "run-" + uuid.NewString(), Dir: s.dir,
		Log: func(stream string) string { return filepath.Join(s.logs, strings.ReplaceAll(stream, " ", "-")) },
		Files: func(_ context.Context, digest string) (io.ReadCloser, error) {
			if bundle.Digest(s.data) != digest {
				return nil, errors.New("no such bundle")
			}
			return io.NopCloser(bytes.NewReader(s.data)), nil
		}}
}

// do runs the attempt to its end and checks what holds for every attempt: the
// folder is gone and no process carries its tag.
func (s *stand) do(ctx context.Context) Result {
	s.t.Helper()
	j := s.job()
	res := s.attempt(ctx, j)
	if _, err := os.Stat(s.dir); !errors.Is(err, os.ErrNotExist) {
		s.t.Errorf("the folder is still there: %v", err)
	}
	if pids := tagged(s.t, j.Tag); len(pids) > 0 {
		s.t.Errorf("processes survive: %v", pids)
	}
	return res
}

func (s *stand) attempt(ctx context.Context, j Job) Result {
	s.t.Helper()
	staged, res := New(process.New(process.Config{}), s.options).Stage(ctx, j)
	if res != nil {
		return *res
	}
	defer func() {
		if err := staged.Close(); err != nil {
			s.t.Error(err)
		}
	}()
	return staged.Run(ctx, s.devices, s.budget, s.total)
}

// tagged lists the processes that carry a run tag.
func tagged(t *testing.T, tag string) []string {
	t.Helper()
	envs, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, path := range envs {
		env, err := os.ReadFile(path)
		if err == nil && bytes.Contains(env, []byte("EXP_RUN_ID="+tag)) {
			found = append(found, filepath.Base(filepath.Dir(path)))
		}
	}
	return found
}

// want checks the outcome and, where given, the phase and a part of the message.
func want(t *testing.T, got Result, outcome experiment.Outcome, phase, message string) {
	t.Helper()
	failure := "no failure"
	if got.Failure != nil {
		failure = got.Failure.Phase + ": " + got.Failure.Message + "\n" + got.Failure.LogTail
	}
	if got.Outcome != outcome {
		t.Fatalf("outcome is %s, want %s (%s)", got.Outcome, outcome, failure)
	}
	if (got.Failure == nil) != (outcome == experiment.OutcomeSuccess) || (got.Measurement == nil) != (outcome != experiment.OutcomeSuccess) {
		t.Fatalf("%s has measurement %v and failure %v", outcome, got.Measurement, got.Failure)
	}
	if got.Failure != nil && (got.Failure.Phase != phase || !strings.Contains(got.Failure.Message, message)) {
		t.Fatalf("failure is %q, want phase %s and %q", failure, phase, message)
	}
}

func TestSuccess(t *testing.T) {
	s := newStand(t)
	res := s.do(t.Context())
	want(t, res, experiment.OutcomeSuccess, "", "")
	m := res.Measurement.Metrics["time"]
	if m.Unit != "s" || m.Median != 2 || m.Spread != 1 || len(m.Samples) != 3 {
		t.Errorf("metric is %+v", m)
	}
	var names []string
	for _, c := range res.Measurement.Checks {
		if !c.OK {
			t.Errorf("check %s failed", c.Name)
		}
		names = append(names, c.Name)
	}
	if got := strings.Join(names, ","); got != "check out,recheck out" {
		t.Errorf("checks are %s", got)
	}
}

func TestFilesTravelInABundle(t *testing.T) {
	s := newStand(t)
	dir := t.TempDir()
	for i, f := range s.command.Files {
		if err := os.WriteFile(filepath.Join(dir, f.Path), []byte(f.Content), 0o600); err != nil {
			t.Fatal(err)
		}
		s.command.Files[i].Source, s.command.Files[i].Content = f.Path, ""
	}
	var err error
	if s.data, err = bundle.Attach(dir, &s.command); err != nil {
		t.Fatal(err)
	}
	want(t, s.do(t.Context()), experiment.OutcomeSuccess, "", "")
	s.data = append(s.data, 0)
	want(t, s.do(t.Context()), experiment.OutcomeInfraError, "render", "no such bundle")
}
