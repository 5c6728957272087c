package replay

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/fleetune/fleetune/proto/task"
)

func TestEveryFormGivesTheSameTable(t *testing.T) {
	time := Columns{Metric: "time"}
	for path, c := range map[string]Columns{
		"testdata/cache.json":  {},
		"testdata/t4.json":     {},
		"testdata/export.json": time,
		"testdata/export.csv":  time,
		"testdata/plain.csv":   {Metric: "time", Parameters: []string{"bx", "by"}, Where: map[string]string{"model": "a"}},
	} {
		tables, err := Load(path, c)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		table := tables[0]
		values := map[string]float64{}
		for _, r := range table.Rows {
			values[table.Space.Key(r.Point)] = r.Value
		}
		if len(values) != 3 || values[`{"bx":1,"by":1}`] != 4 || values[`{"bx":2,"by":1}`] != 2 || !math.IsNaN(values[`{"bx":1,"by":2}`]) {
			t.Errorf("%s: %v", path, values)
		}
		if table.set.Len() != 3 || table.best != 2 || table.exact {
			t.Errorf("%s: %d points, best %v, exact %v", path, table.set.Len(), table.best, table.exact)
		}
	}
}

func TestIndexedTableKeepsItsConstraints(t *testing.T) {
	for _, path := range []string{"testdata", "testdata/index.json", "testdata/tiny.csv"} {
		tables, err := Load(path, Columns{})
		if err != nil {
			t.Fatal(err)
		}
		if table := tables[0]; !table.exact || table.set.Len() != 7 || table.best != 2 {
			t.Errorf("%s: exact %v, %d points, best %v", path, table.exact, table.set.Len(), table.best)
		}
	}
	tables, err := Load("testdata/sparse.csv", Columns{})
	if err != nil {
		t.Fatal(err)
	}
	if table := tables[0]; table.exact || table.set.Len() != 2 {
		t.Errorf("a table that lacks valid points: exact %v, %d points", table.exact, table.set.Len())
	}
}

func TestCompareCounts(t *testing.T) {
	tables, err := Load("testdata", Columns{})
	if err != nil {
		t.Fatal(err)
	}
	for _, batch := range []int{1, 3} {
		results, err := Compare(context.Background(), tables[0], Settings{Samplers: []string{"grid_search"}, Seeds: 2, Budget: 10, Batch: batch})
		if err != nil {
			t.Fatal(err)
		}
		r := results[0]
		// In order: 4.0, 2.5, 5.0, 2.0: within 10 % and 1 % at the fourth.
		if got := *r.EvaluationsTo["10"].Median; got != 4 {
			t.Errorf("within 10 %% after %v", got)
		}
		if got := r.EvaluationsTo["1"]; *got.Median != 4 || got.Share != 1 {
			t.Errorf("within 1 %%: %+v", got)
		}
		if r.BestAt["10"] != 1 || r.Violations != 0 || r.Repeats != 0 {
			t.Errorf("%+v", r)
		}
	}
}

func TestRelativeKnowsTheDirection(t *testing.T) {
	table := Table{best: 10, Objective: task.Objective{Direction: task.Maximize}}
	if got := table.relative(5); got != 0.5 {
		t.Errorf("half the best rate is %v", got)
	}
	table.Objective.Direction = task.Minimize
	if got := table.relative(20); got != 0.5 {
		t.Errorf("twice the best time is %v", got)
	}
	if got := table.relative(math.NaN()); got != 0 {
		t.Errorf("a failure is %v", got)
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

func TestCommand(t *testing.T) {
	cmd := Command()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"testdata/tiny.csv", "--sampler", "random,grid_search", "--seeds", "2", "--budget", "7", "--json"})
	if err := cmd.Execute(); err != nil {
		t.Fatal(err)
	}
	var results []Result
	if err := json.Unmarshal(out.Bytes(), &results); err != nil {
		t.Fatal(err)
	}
	if len(results) != 2 || results[0].Sampler != "random" || results[1].Size != 7 || results[0].EvaluationsTo["5"].Share != 1 {
		t.Errorf("%s", out.String())
	}
	out.Reset()
	cmd = Command()
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"testdata/tiny.csv", "--sampler", "grid_search", "--seeds", "1", "--budget", "10"})
	if err := cmd.Execute(); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out.String(), "TABLE  SIZE  SAMPLER      TO 10%    TO 5%     TO 1%     BEST@10  ASK P50") || !strings.Contains(out.String(), "4 (100%)  4 (100%)  4 (100%)  1.000") {
		t.Errorf("%s", out.String())
	}
}

func TestBadTablesSayWhy(t *testing.T) {
	for path, want := range map[string]string{
		"testdata/none.csv":    "opening the table",
		"testdata/export.json": "name the metric to optimise",
		"testdata/plain.csv":   `name its parameters; no column starts with "parameters."`,
	} {
		if _, err := Load(path, Columns{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
}

func FuzzTable(f *testing.F) {
	for _, text := range []string{`[{"parameters":{"a":1},"metrics":{"t":1}}]`, `{"cache":{"1":{"a":1,"time":2}},"tune_params_keys":["a"]}`, `{"results":[]}`, `{"cache":{`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		table, err := parseJSON(data, Columns{Metric: "t"})
		if err == nil {
			_ = table.infer() // an error or a table, never a panic
		}
	})
}
