package report_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/report"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/shared/chart"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var begun = time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)

func at(minutes int) *time.Time {
	t := begun.Add(time.Duration(minutes) * time.Minute)
	return &t
}

func of[T any](v T) *T { return &v }

// measured is an experiment with a score.
func measured(n int, purpose experiment.Purpose, p space.Point, latency float64) v1.Experiment {
	return v1.Experiment{Number: n, Purpose: purpose, Status: experiment.Success, Outcome: "success", Parameters: p, Score: of(latency),
		Metrics: map[string]v1.Metric{"mean_e2e_latency": {Unit: "s", Median: latency, Count: 3},
			"mean_total_throughput_per_gpu": {Unit: "tokens/s", Median: 1000 / latency, Count: 3}},
		Worker: "node-a", StartedAt: at(n), FinishedAt: at(n + 1)}
}

// engine measured two cells.
func engine(slow float64) *v1.Serving {
	s := &v1.Serving{WorldSize: 1, Version: "0.10.0", Command: []string{"vllm", "serve", "org/model"}}
	for i, n := range []int{1, 8} {
		v := slow * float64(i+1)
		s.Cells = append(s.Cells, v1.Cell{Scenario: "D(100,100)", Concurrency: n, Requests: 50,
			Metrics: map[string]v1.Sampled{"mean_ttft": {Unit: "s", Median: v / 10}, "p90_e2e_latency": {Unit: "s", Median: v},
				"mean_e2e_latency": {Unit: "s", Median: v}, "mean_total_throughput": {Unit: "tokens/s", Median: 1000 / v}},
			Promises: []v1.Promise{{Metric: "p90_e2e_latency", Threshold: 1.5, Actual: v, Margin: v/1.5 - 1, Severity: "kept"}}})
	}
	s.Cells = append(s.Cells, v1.Cell{Scenario: "D(100,100)", Concurrency: 64, Missing: "out of memory", Errors: 3})
	return s
}

// serving is the input of a report on an engine.
func serving() report.Input {
	experiments := []v1.Experiment{
		measured(1, experiment.Baseline, space.Point{}, 2),
		measured(2, experiment.Search, space.Point{"seqs": int64(64), "chunked": true}, 1),
		measured(3, experiment.Search, space.Point{"seqs": int64(16), "chunked": false}, 1.5),
		{Number: 4, Purpose: experiment.Search, Status: experiment.Failed, Outcome: "out_of_memory", Parameters: space.Point{"seqs": int64(256), "chunked": true},
			Error: &v1.Error{Phase: "benchmark", Message: "out of memory"}, Worker: "node-a", StartedAt: at(4), FinishedAt: at(5)},
	}
	return report.Input{
		Task: v1.Task{Name: "llm", Description: "a model behind vLLM", Status: "completed", Cause: "the space is exhausted", Kind: "serving", Strategy: "grid_search",
			Simulated: "h100-sxm", Parameters: []string{"seqs", "chunked"}, Objectives: []task.Objective{{Metric: "mean_e2e_latency", Direction: task.Minimize}},
			Experiments: v1.Counts{Total: 4, Planned: 4, Success: 3, Failed: 1}, StartedAt: at(0), FinishedAt: at(10),
			Baseline: &v1.Baseline{Number: 1, Score: of(2.0), Metrics: experiments[0].Metrics},
			Best: &v1.Best{Number: 2, Score: 1, Parameters: experiments[1].Parameters, Metrics: experiments[1].Metrics,
				Speedup: &v1.Speedup{Ratio: 2, Low: of(1.9), High: of(2.1), Confidence: of(0.95), Significant: true}}},
		Source: "task_name: llm\n", Experiments: experiments, Read: 4,
		Insight: v1.Insight{Objective: "mean_e2e_latency", Unit: "s", Parameters: []v1.Influence{{Name: "seqs", Importance: 0.8,
			Effect: []v1.Level{{Value: int64(16), Mean: 1.5, Measured: 1}, {Value: int64(64), Mean: 1, Measured: 1}}}}},
		Servings: map[int]*v1.Serving{1: engine(1), 2: engine(0.5), 3: engine(0.8)},
		SLO:      []v1.Promise{{Metric: "p90_e2e_latency", Threshold: 1.5}},
		Comparison: &v1.Comparison{Sides: make([]v1.Side, 2), Comparable: true, Metrics: []v1.Contrast{{Name: "mean_e2e_latency", Unit: "s",
			Values: []v1.Compared{{Median: of(2.0), Count: 3, Verdict: "base"}, {Median: of(1.0), Count: 3, Change: of(-0.5), Low: of(1.9), High: of(2.1), Verdict: "better"}}}}},
		Version: "test", At: begun,
	}
}

// command is the input of a report on a command with two objectives.
func command() report.Input {
	in := serving()
	in.Task.Kind, in.Task.Simulated, in.Task.Status = "command", "", "running"
	in.Task.Best.Speedup = &v1.Speedup{Ratio: 2}
	in.Task.Objectives = append(in.Task.Objectives, task.Objective{Metric: "mean_total_throughput_per_gpu", Direction: task.Maximize})
	in.Servings, in.SLO, in.Comparison = nil, nil, nil
	return in
}

func TestData(t *testing.T) {
	empty := report.Input{Task: v1.Task{Name: "new", Status: "running"}, Version: "test", At: begun}
	for name, in := range map[string]report.Input{"serving": serving(), "command": command(), "empty": empty} {
		t.Run(name, func(t *testing.T) {
			got, err := json.MarshalIndent(report.Build(in), "", "  ")
			require.NoError(t, err)
			file := "testdata/" + name + ".json"
			if *update {
				require.NoError(t, os.WriteFile(file, append(got, '\n'), 0o600))
			}
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, string(want), string(got)+"\n")
		})
	}
}

func write(t require.TestingT, in report.Input) string {
	var b bytes.Buffer
	require.NoError(t, report.Write(&b, in))
	return b.String()
}

func TestPageSaysWhatIsSimulatedAndUnsure(t *testing.T) {
	page := write(t, serving())
	require.Contains(t, page, "Every figure is that of a simulated h100-sxm. No GPU was measured.")
	require.GreaterOrEqual(t, strings.Count(page, `<span class="badge">simulated h100-sxm</span>`), 5)
	require.NotContains(t, page, "not confirmed")
	page = write(t, command())
	require.NotContains(t, page, "badge\">")
	require.Contains(t, page, "its advantage is not confirmed")
	require.Contains(t, page, "The task has not ended")
}

// The policy lets exactly the style and the script run that are in the page.
func TestPolicyFitsThePage(t *testing.T) {
	page := write(t, serving())
	policy := regexp.MustCompile(`Content-Security-Policy" content="([^"]*)"`).FindStringSubmatch(page)[1]
	require.Contains(t, policy, "default-src &#39;none&#39;")
	for _, tag := range []string{"style", "script"} {
		inner := regexp.MustCompile(`(?s)<` + tag + `>(.*)</` + tag + `>`).FindStringSubmatch(page)[1]
		require.NotEmpty(t, inner)
		sum := sha256.Sum256([]byte(inner))
		require.Contains(t, strings.ReplaceAll(policy, "&#43;", "+"), tag+"-src &#39;sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"&#39;")
	}
	require.NotRegexp(t, `(src|href)="[^#d]`, page, "nothing is asked of a server")
	require.NotContains(t, page, "style=\"", "the policy would refuse it")
}

// Every text that others wrote is text in the page, wherever it stands.
func TestHostileTextIsEscaped(t *testing.T) {
	const evil = `</title></script></pre></svg><script>alert(1)</script>" onload="alert(1)`
	in := serving()
	in.Task.Name, in.Task.Description, in.Task.Cause, in.Task.Simulated, in.Source = evil, evil, evil, evil, evil
	in.Task.Parameters[0], in.Insight.Parameters[0].Name, in.Insight.Notice = evil, evil, evil
	in.Insight.Parameters[0].Effect[0].Value = evil
	for i := range in.Experiments {
		e := &in.Experiments[i]
		e.Parameters[evil], e.Worker, e.Outcome = evil, evil, evil
		if e.Error != nil {
			e.Error.Message = evil
		}
	}
	for _, s := range in.Servings {
		s.Command, s.Version, s.Image = []string{evil}, evil, evil
		for i := range s.Cells {
			s.Cells[i].Scenario = evil
			s.Cells[i].Missing = evil
		}
	}
	page := write(t, in)
	require.Equal(t, 1, strings.Count(page, "<script>"))
	require.NotContains(t, page, `<script>alert`)
	require.NotContains(t, page, `" onload="`)
	require.Greater(t, strings.Count(page, "&lt;script&gt;alert(1)"), 20)
}

func TestFront(t *testing.T) {
	d := report.Build(command())
	front := d.Search[1]
	require.Equal(t, "front", front.ID)
	require.Equal(t, []string{"experiments 3", "front 1", "baseline 1", "best 1"}, counted(front), "the fastest has the most throughput too")
	in := command()
	in.Insight.Penalised = true
	in.Experiments[1].Score = of(9.0)
	front = report.Build(in).Search[1]
	require.Equal(t, []string{"experiments 2", "misses the SLO 1", "front 1", "baseline 1", "best 1"}, counted(front))
	require.Equal(t, 1.5, front.Series[2].Dots[0].X, "who misses the SLO is not on the front")
}

// Whatever is measured, a page is made, and no place in it is no number.
func TestPageOfAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := serving()
		value := rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{0, -1, 1e-300, 1e300, math.MaxFloat64}))
		in.Experiments = nil
		for i := range rapid.IntRange(0, 40).Draw(t, "experiments") {
			e := measured(i+1, experiment.Search, space.Point{"seqs": value.Draw(t, "parameter"), "chunked": rapid.SampledFrom([]any{true, "x", nil, int64(3)}).Draw(t, "chunked")}, value.Draw(t, "score"))
			in.Experiments = append(in.Experiments, e)
		}
		for _, n := range []int{1, 2, 3} {
			s := in.Servings[n]
			for i := range s.Cells {
				for _, name := range slices.Sorted(maps.Keys(s.Cells[i].Metrics)) {
					m := s.Cells[i].Metrics[name]
					m.Median = value.Draw(t, "cell")
					s.Cells[i].Metrics[name] = m
				}
			}
		}
		page := write(t, in)
		for _, word := range []string{"NaN", "Inf", "ZgotmplZ"} {
			if strings.Contains(page, `"`+word) || strings.Contains(page, word+`"`) || strings.Contains(page, word+" ") || strings.Contains(page, "M"+word) {
				t.Fatalf("%s in the page", word)
			}
		}
	})
}

// counted is how many dots each series has.
func counted(p *chart.Plot) []string {
	var list []string
	for _, s := range p.Series {
		list = append(list, fmt.Sprintf("%s %d", s.Name, len(s.Dots)))
	}
	return list
}

// The cards say what is sure and what is not.
func TestCards(t *testing.T) {
	card := func(in report.Input, title string) report.Card {
		for _, c := range report.Build(in).Cards {
			if c.Title == title {
				return c
			}
		}
		return report.Card{}
	}
	in := serving()
	require.Equal(t, report.Card{Title: "Against the baseline", Value: "2.00×", Unit: "1.90–2.10", Detail: "confirmed, interval at 95 %", Class: "good"}, card(in, "Against the baseline"))
	require.Equal(t, report.Card{Title: "SLO", Value: "kept", Unit: "2 of 2 terms", Detail: "tightest: p90_e2e_latency × 8, -33.3 %", Class: "good"}, card(in, "SLO"))
	in.Task.Best.Speedup.Significant = false
	require.Equal(t, "no significant difference, interval at 95 %", card(in, "Against the baseline").Detail)
	in.Task.Best.Speedup = &v1.Speedup{Ratio: 2}
	require.Equal(t, "not confirmed", card(in, "Against the baseline").Detail)
	in.Servings[2].Cells[1].Promises[0] = v1.Promise{Metric: "p90_e2e_latency", Threshold: 1.5, Actual: 3, Margin: 1, Severity: "severe"}
	require.Equal(t, report.Card{Title: "SLO", Value: "missed", Unit: "1 of 2 terms", Detail: "tightest: p90_e2e_latency × 8, +100.0 %", Class: "bad"}, card(in, "SLO"))
	in.Task.Baseline.Number = 2
	require.Equal(t, "nothing beats the baseline", card(in, "Against the baseline").Detail)
}

// Lines of the parallel chart are coloured from the worst score to the best,
// and few values of a parameter stand evenly on their axis.
func TestParallel(t *testing.T) {
	in := serving()
	in.Task.Best, in.Task.Baseline = nil, nil
	p := report.Build(in).Parallel
	require.Equal(t, []string{"shade0", "shade4", "shade7"}, []string{p.Lines[0].Class, p.Lines[1].Class, p.Lines[2].Class})
	require.Equal(t, []string{"–", "16", "64"}, p.Axes[0].Names)
	require.Equal(t, []float64{0, 0.5, 1}, []float64{p.Lines[0].At[0], p.Lines[1].At[0], p.Lines[2].At[0]})
	in.Task.Objectives[0].Direction = task.Maximize
	p = report.Build(in).Parallel
	require.Equal(t, []string{"1", "2"}, []string{p.Worst, p.Best})
	require.Equal(t, "shade7", p.Lines[2].Class)
}

func TestLeaders(t *testing.T) {
	in := serving()
	require.Equal(t, []int{2, 1, 3}, report.Leaders(in.Task, in.Experiments, 6))
	require.Equal(t, []int{2, 1}, report.Leaders(in.Task, in.Experiments, 2))
	require.Empty(t, report.Leaders(v1.Task{}, nil, 6))
	var many []v1.Experiment
	for n := range 20 {
		many = append(many, measured(n+1, experiment.Search, space.Point{}, float64(20-n)))
	}
	require.Equal(t, "[20 19 18]", fmt.Sprint(report.Leaders(v1.Task{}, many, 3)))
}

// Where promises are missed, what was measured and the score are two numbers,
// and a parameter that never varies has no axis.
func TestScoresAreNotMeasurements(t *testing.T) {
	in := serving()
	in.Insight.Penalised = true
	in.Experiments[2].Score = of(9.0)
	for i := range in.Experiments {
		if i > 0 {
			in.Experiments[i].Parameters["fixed"] = int64(1)
		}
	}
	in.Experiments = in.Experiments[1:]
	in.Task.Parameters = append(in.Task.Parameters, "fixed")
	d := report.Build(in)
	require.Equal(t, "score (s)", d.Search[0].YLabel)
	require.Equal(t, "score", d.Table.Columns[4].Title)
	require.Equal(t, "1.5 s", d.Table.Rows[1].Cells[3].Text)
	require.Equal(t, "9 s", d.Table.Rows[1].Cells[4].Text)
	for _, a := range d.Parallel.Axes {
		require.NotEqual(t, "fixed", a.Name)
	}
}
