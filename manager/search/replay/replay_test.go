package replay

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/fleetune/fleetune/proto/task"
)

func TestCompareCounts(t *testing.T) {
	table := load(t, "testdata/tiny.csv", Columns{})
	for _, s := range []Settings{{Batch: 1}, {Batch: 3}, {Batch: 1, Jobs: 3}} {
		s.Samplers, s.Seeds, s.Budget = []string{"grid_search"}, 2, 10
		runs := 0
		s.Progress = func(_, _ string, done, of int) {
			if runs++; done != runs || of != 2 {
				t.Errorf("%d of %d runs", done, of)
			}
		}
		results, err := Compare(context.Background(), table, s)
		if err != nil {
			t.Fatal(err)
		}
		r := results[0]
		// In order: 4.0, 2.5, 5.0, 2.0: within 10 % and 1 % at the fourth.
		if got := *r.EvaluationsTo["10"].Median; got != 4 {
			t.Errorf("within 10 %% after %v", got)
		}
		if got := r.EvaluationsTo["1"]; *got.Median != 4 || *got.Q1 != 4 || *got.Q3 != 4 || got.Share != 1 {
			t.Errorf("within 1 %%: %+v", got)
		}
		if r.BestAt["10"] != 1 || r.Violations != 0 || r.Repeats != 0 || runs != 2 {
			t.Errorf("%+v", r)
		}
	}
}

// Runs at a time change no result.
func TestJobsChangeNothing(t *testing.T) {
	table := load(t, "testdata/tiny.csv", Columns{})
	var want []byte
	for _, jobs := range []int{1, 4} {
		results, err := Compare(t.Context(), table, Settings{Samplers: []string{"random", "bayesian"}, Seeds: 6, Budget: 6, Batch: 1, Jobs: jobs})
		if err != nil {
			t.Fatal(err)
		}
		for i := range results {
			results[i].Ask, results[i].MemoryMB, results[i].Seconds = Latency{}, 0, 0
		}
		got, err := json.Marshal(results)
		if err != nil {
			t.Fatal(err)
		}
		if want != nil && !bytes.Equal(got, want) {
			t.Errorf("%d at a time: %s\none at a time: %s", jobs, got, want)
		}
		want = got
	}
}

// Runs that begin at a later seed are those that a longer series ends with.
func TestSeedsFollowTheFirst(t *testing.T) {
	table := load(t, "testdata/tiny.csv", Columns{})
	s := Settings{Samplers: []string{"random"}, Seeds: 1, Budget: 10, Batch: 1}
	when := func(first int64) float64 {
		t.Helper()
		s.FirstSeed = first
		results, err := Compare(t.Context(), table, s)
		if err != nil {
			t.Fatal(err)
		}
		if results[0].FirstSeed != first {
			t.Errorf("runs from seed %d on say %d", first, results[0].FirstSeed)
		}
		return *results[0].EvaluationsTo["1"].Median
	}
	var single []float64
	for seed := range int64(8) {
		single = append(single, when(seed))
	}
	s.Seeds = 5
	slices.Sort(single[3:])
	if got := when(3); got != single[5] {
		t.Errorf("the median of five runs from seed 3 on is %v, run one by one %v", got, single[3:])
	}
	if slices.Min(single) == slices.Max(single) {
		t.Errorf("no seed changes anything: %v", single)
	}
}

// Proposals outside the table and repeats are counted, whoever makes them.
func TestJudgeCounts(t *testing.T) {
	table := load(t, "testdata/tiny.csv", Columns{})
	r := table.Judge("other", Settings{Budget: 10}, []Course{
		{Evaluations: []Evaluation{{Row: -1}, {Row: 0}, {Row: 3}}, Asks: []float64{3, 1}, Violations: 1},
		{Evaluations: []Evaluation{{Row: 4}, {Row: 2}}, Asks: []float64{2}, Repeats: 2}})
	if r.Violations != 1 || r.Repeats != 2 || r.Ask.P50 != 2 || r.Seeds != 2 || r.EvaluationsTo["1"].Share != 0.5 || r.BestAt["10"] != (1+0.4)/2 {
		t.Errorf("%+v", r)
	}
	if to := r.EvaluationsTo["1"]; to.Median != nil || to.Q3 != nil {
		t.Errorf("half the seeds did not get there: %+v", to)
	}
}

func TestSharesKnowTheDirection(t *testing.T) {
	for _, c := range []struct {
		direction task.Direction
		values    []float64
		of, want  float64
	}{
		{task.Maximize, []float64{10, 1}, 5, 0.5},
		{task.Minimize, []float64{10, 40}, 20, 0.5},
		{task.Minimize, []float64{-10, 10}, 0, 0.5}, // no ratio: halfway from the worst
		{task.Maximize, []float64{0, -4}, -1, 0.75},
		{task.Minimize, []float64{0, 4}, 4, 0},
	} {
		rows := []Row{{Values: c.values[:1]}, {}, {Values: c.values[1:]}, {Values: []float64{c.of}}}
		s, err := scaleOf([]task.Objective{{Direction: c.direction}}, rows)
		if err != nil {
			t.Fatal(err)
		}
		found := finding{scale: &s}
		if found.add(nil) != 0 {
			t.Error("a failure found something")
		}
		if got := found.add([]float64{c.of}); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%+v: %v", c, got)
		}
		if got := found.add(c.values[:1]); got != 1 {
			t.Errorf("%+v: the best is %v", c, got)
		}
		if got := found.add([]float64{c.of}); got != 1 {
			t.Errorf("%+v: what was found is lost: %v", c, got)
		}
	}
}

// With two objectives a search is judged by the front: two of three corners of
// an even stair hold their part of its area.
func TestSharesOfAFront(t *testing.T) {
	rows := []Row{{Values: []float64{1, 4}}, {Values: []float64{2, 3}}, {Values: []float64{4, 1}}, {Values: []float64{5, 0}}, {Values: []float64{4, 0}}, {}}
	s, err := scaleOf([]task.Objective{{Direction: task.Minimize}, {Direction: task.Maximize}}, rows)
	if err != nil {
		t.Fatal(err)
	}
	// The first is best in both: the front is it alone.
	found := finding{scale: &s}
	if got := found.add([]float64{2, 3}); math.Abs(got-0.75*0.75) > 1e-12 {
		t.Errorf("one step from the best in both: %v", got)
	}
	if got := found.add([]float64{5, 0}); math.Abs(got-0.75*0.75) > 1e-12 {
		t.Errorf("the worst adds %v", got)
	}
	if got := found.add([]float64{1, 4}); got != 1 {
		t.Errorf("the best is %v", got)
	}
	stair := []Row{{Values: []float64{0, 2}}, {Values: []float64{1, 1}}, {Values: []float64{2, 0}}}
	if s, err = scaleOf([]task.Objective{{Direction: task.Minimize}, {Direction: task.Minimize}}, stair); err != nil {
		t.Fatal(err)
	}
	found = finding{scale: &s}
	if got := found.add([]float64{0, 2}); got != 0 {
		t.Errorf("the end of a front holds no area to the reference: %v", got)
	}
	if got := found.add([]float64{1, 1}); got != 1 {
		t.Errorf("the middle is all of it: %v", got)
	}
}

func TestQuantile(t *testing.T) {
	values := []float64{1, 2, 3, math.Inf(1)}
	for q, want := range map[float64]float64{0: 1, 0.5: 2.5, 0.25: 1.75, 1: math.Inf(1)} {
		if got := quantile(values, q); got != want {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
}

// command runs the command and returns what it printed.
func command(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := Command()
	var out, notes bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&notes)
	cmd.SetArgs(args)
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	err := cmd.Execute()
	return out.String() + notes.String(), err
}

func TestCommand(t *testing.T) {
	out, err := command(t, "testdata/tiny.csv", "--sampler", "random,grid_search", "--seeds", "2", "--budget", "7", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var results []Result
	if err := json.Unmarshal([]byte(out), &results); err != nil {
		t.Fatal(err)
	}
	if len(results) != 2 || results[0].Sampler != "random" || results[1].Size != 7 || results[0].EvaluationsTo["5"].Share != 1 {
		t.Errorf("%s", out)
	}
	out, err = command(t, "testdata/tiny.csv", "--sampler", "grid_search", "--seeds", "1", "--budget", "10")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"TABLE  SIZE  SAMPLER        TO 10%     TO 5%     TO 1%  AT 10", "4 (100%)  4 (100%)  4 (100%)  1.000", "of the optimum: minimize time_ms"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %s", want, out)
		}
	}
	out, err = command(t, file(t, "loads.csv", loads), "--by", "model", "--metric", "tok_s", "--metric", "itl_ms", "--direction", "maximize,minimize", "--seeds", "1", "--budget", "10")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"loads[m1]", "left out: loads[m3]", "hypervolume of the front: maximize tok_s, minimize itl_ms; parameters, by their place in the file: gpu, n_gpus, users"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %s", want, out)
		}
	}
}

func TestCommandSaysWhatIsWrong(t *testing.T) {
	for want, args := range map[string][]string{
		"it takes one table or several":                            {},
		`no sampler is named "bayesain"; did you mean "bayesian"?`: {"testdata/tiny.csv", "--sampler", "bayesain"},
		"--seeds must be at least 1, not 0":                        {"testdata/tiny.csv", "--seeds", "0"},
		`--direction is minimize or maximize, not "up"`:            {"testdata/tiny.csv", "--direction", "up"},
		"--levels:": {"testdata/tiny.csv", "--levels", "x"},
		"opening the table: stat testdata/none.csv: no such file or": {"testdata/none.csv"},
	} {
		_, err := command(t, args...)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %s", args, err, want)
		}
	}
}
