package command

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

// trace makes a program append its configuration and step to a file.
func (s *stand) trace(step string) (prefix, path string) {
	path = filepath.Join(s.logs, "trace")
	return "echo " + step + "{{scale}} >> " + path + "\n", path
}

func traced(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(text))
}

// wall is a stand whose run the worker times.
func wall(t *testing.T) (*stand, string) {
	s := newStand(t)
	s.command.Measure, s.offer.Metrics = task.MeasureWallTime, []string{"wall_time_s"}
	prefix, path := s.trace("run")
	s.command.Files = append(s.command.Files, task.File{Path: "timed.sh", Content: prefix, Render: true})
	s.command.Run = *step("sh", "timed.sh")
	return s, path
}

func TestWallTime(t *testing.T) {
	s, trace := wall(t)
	s.command.Warmups = 2
	res := s.do(t.Context())
	want(t, res, experiment.OutcomeSuccess, "", "")
	m := res.Measurement.Metrics["wall_time_s"]
	if len(res.Measurement.Metrics) != 1 || m.Unit != "s" || len(m.Samples) != 3 {
		t.Errorf("metrics are %+v", res.Measurement.Metrics)
	}
	if slices.Min(m.Samples) <= 0 || m.Median <= 0 || m.Spread < 0 {
		t.Errorf("metric is %+v", m)
	}
	if got := traced(t, trace); len(got) != 2+3 {
		t.Errorf("%d runs, want 2 warm-ups and 3 samples", len(got))
	}
}

func TestWallTimeMinDuration(t *testing.T) {
	s, _ := wall(t)
	s.command.MinDuration = task.Duration(100 * time.Millisecond)
	m := s.do(t.Context()).Measurement.Metrics["wall_time_s"]
	sum := 0.0
	for _, v := range m.Samples {
		sum += v
	}
	if last := m.Samples[len(m.Samples)-1]; len(m.Samples) <= 3 || sum < 0.1 || sum-last >= 0.1 {
		t.Errorf("%d samples add up to %v s, want just beyond 0.1", len(m.Samples), sum)
	}
}

func TestWallTimeMeasuresNothingElse(t *testing.T) {
	s, _ := wall(t)
	s.offer.Metrics = []string{"wall_time_s", "energy_j"}
	want(t, s.do(t.Context()), experiment.OutcomeNoMetric, "result", `"energy_j"`)
}

func TestConfirmationAlternates(t *testing.T) {
	s, trace := wall(t)
	s.command.Warmups = 1
	s.offer.Purpose, s.offer.Baseline = experiment.Confirm, space.Point{"scale": int64(1)}
	res := s.do(t.Context())
	want(t, res, experiment.OutcomeSuccess, "", "")
	if got := strings.Join(traced(t, trace), " "); got != "run2 run1 run2 run1 run2 run1 run2 run1" {
		t.Errorf("order is %s", got)
	}
	for name, m := range map[string]map[string]experiment.Metric{"candidate": res.Measurement.Metrics, "baseline": res.Measurement.Reference} {
		if len(m["wall_time_s"].Samples) != 3 {
			t.Errorf("%s has %+v", name, m)
		}
	}
}

func TestConfirmationWithResultFiles(t *testing.T) {
	s := newStand(t)
	prefix, trace := s.trace("$EXP_REPEATS-")
	s.command.Files[3].Render = true
	s.file("run.sh", prefix+strings.ReplaceAll(run, "[3,1,2]", "[{{scale}},{{scale}}]"))
	s.offer.Purpose, s.offer.Baseline, s.offer.Repeats = experiment.Confirm, space.Point{"scale": int64(1)}, 5
	res := s.do(t.Context())
	want(t, res, experiment.OutcomeSuccess, "", "")
	if got := strings.Join(traced(t, trace), " "); got != "2-2 2-1 2-2 2-1 2-2 2-1" {
		t.Errorf("order is %s", got)
	}
	m, ref := res.Measurement.Metrics["time"], res.Measurement.Reference["time"]
	if len(m.Samples) != 6 || m.Median != 2 || len(ref.Samples) != 6 || ref.Median != 1 {
		t.Errorf("candidate %+v, baseline %+v", m, ref)
	}
}

// The baseline has run before: if it fails now, the place is to blame.
func TestConfirmationBlamesThePlaceForItsBaseline(t *testing.T) {
	s := newStand(t)
	s.command.Files[3].Render = true
	s.file("run.sh", "[ {{scale}} = 2 ] || exit 1\n"+run)
	s.offer.Purpose, s.offer.Baseline = experiment.Confirm, space.Point{"scale": int64(1)}
	want(t, s.do(t.Context()), experiment.OutcomeInfraError, "run", "the baseline")
}

func TestUnitsMustAgree(t *testing.T) {
	s := newStand(t)
	s.file("run.sh", `touch $HOME/again; [ -s $HOME/again ] && u=ms || u=s; echo 1 > $HOME/again
`+strings.ReplaceAll(run, `"unit":"s"`, `"unit":"'$u'"`))
	s.offer.Purpose, s.offer.Baseline = experiment.Confirm, s.point
	want(t, s.do(t.Context()), experiment.OutcomeNoMetric, "result", "units differ")
}

func TestQuantile(t *testing.T) {
	for _, c := range []struct {
		values  []float64
		q, want float64
	}{
		{[]float64{4}, 0.5, 4}, {[]float64{2, 1}, 0.5, 1.5}, {[]float64{3, 1, 2}, 0.5, 2},
		{[]float64{1, 2, 3, 4}, 0.25, 1.75}, {[]float64{1, 2, 3, 4}, 1, 4}, {[]float64{1, 2, 3, 4}, 0, 1},
	} {
		if got := quantile(c.values, c.q); got != c.want {
			t.Errorf("quantile %v of %v is %v, want %v", c.q, c.values, got, c.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Float64(), 1, 20).Draw(t, "values")
		s := samples{}
		if err := s.add("m", "", values...); err != nil {
			t.Fatal(err)
		}
		m := s.summary()["m"]
		if m.Median < slices.Min(values) || m.Median > slices.Max(values) || m.Spread < 0 || m.Spread-m.Spread != 0 {
			t.Fatalf("median %v, spread %v", m.Median, m.Spread)
		}
	})
}
