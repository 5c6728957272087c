package replay

import (
	"bytes"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/export"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

// file writes a file of a test.
func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// load loads the one table of a path.
func load(t *testing.T, path string, c Columns) *Table {
	t.Helper()
	tables, skipped, err := Load(path, c)
	if err != nil || len(tables) != 1 || len(skipped) > 0 {
		t.Fatalf("%s: %d tables, left out %v: %v", path, len(tables), skipped, err)
	}
	return tables[0]
}

// exports writes a task as `fleetune export` does, in one of its formats.
func exports(t *testing.T, f export.Format) string {
	t.Helper()
	row := func(number int, o experiment.Outcome, bx, by int64, median float64) v1.Experiment {
		e := v1.Experiment{Number: number, Outcome: string(o), Parameters: space.Point{"bx": bx, "by": by}}
		if o == experiment.OutcomeSuccess {
			e.Metrics = map[string]v1.Metric{"time": {Unit: "ms", Median: median, Count: 3}, "energy": {Unit: "J", Median: 1}}
		}
		return e
	}
	rough, of := row(6, experiment.OutcomeSuccess, 2, 1, 0.1), row(7, experiment.OutcomeSuccess, 2, 1, 0.2)
	level, confirms := 10.0, 4
	rough.Fidelity = &level
	of.Purpose, of.Confirms = experiment.Confirm, &confirms
	list := []v1.Experiment{row(1, experiment.OutcomeSuccess, 1, 1, 4), row(2, experiment.OutcomeOutOfMemory, 1, 2, 0),
		row(3, experiment.OutcomeLost, 2, 2, 0), row(4, experiment.OutcomeSuccess, 2, 1, 2), row(5, "", 2, 2, 0), rough, of}
	var text bytes.Buffer
	var rows iter.Seq2[v1.Experiment, error] = func(yield func(v1.Experiment, error) bool) {
		for _, e := range list {
			if !yield(e, nil) {
				return
			}
		}
	}
	err := export.Write(&text, f, export.Table{Task: v1.Task{Name: "add", Parameters: []string{"bx", "by"},
		Objectives: []task.Objective{{Metric: "time", Direction: task.Minimize}}}, Parameters: []string{"bx", "by"}, Metrics: []string{"time", "energy"}, Rows: rows})
	if err != nil {
		t.Fatal(err)
	}
	return file(t, "export."+string(f), text.String())
}

// One recorded landscape, in every form in which it may be had: a point took
// 4 ms, one 2 ms, one failed; what was never run says nothing.
func TestEveryFormGivesTheSameTable(t *testing.T) {
	time := []string{"time"}
	cut, err := os.ReadFile("testdata/cut.json")
	if err != nil {
		t.Fatal(err)
	}
	for path, c := range map[string]Columns{
		"testdata/cache.json": {},
		"testdata/cut.json":   {},
		file(t, "torn.json", string(cut)+"\n\"2,2\": {\"bx\": 2"): {},
		"testdata/t4.json":       {},
		exports(t, export.JSON):  {},
		exports(t, export.JSONL): {Metrics: time},
		exports(t, export.CSV):   {Metrics: time},
		"testdata/plain.csv":     {Metrics: time, Where: map[string]string{"model": "a"}},
	} {
		table := load(t, path, c)
		values := map[string][]float64{}
		for _, r := range table.Rows {
			values[table.Space.Key(r.Point)] = r.Values
		}
		if len(values) != 3 || !slices.Equal(values[`{"bx":1,"by":1}`], []float64{4}) || !slices.Equal(values[`{"bx":2,"by":1}`], []float64{2}) ||
			values[`{"bx":1,"by":2}`] != nil {
			t.Errorf("%s: %v", path, values)
		}
		if table.set.Len() != 3 || table.scale.best[0] != 2 || table.exact {
			t.Errorf("%s: %d points, best %v, exact %v", path, table.set.Len(), table.scale.best, table.exact)
		}
	}
}

// An experiment that was stopped early has its median; it is surely worse than
// another, not infeasible.
func TestStoppedEarlyIsMeasured(t *testing.T) {
	table := load(t, file(t, "e.csv", "outcome,parameter:a,metric:t\nsuccess,1,2\nstopped_early,2,9\ncombo_timeout,3,\n"), Columns{})
	if v := table.Rows[1].Values; len(v) != 1 || v[0] != 9 || table.Rows[2].Values != nil {
		t.Errorf("%+v", table.Rows)
	}
}

func TestIndexedTableKeepsItsConstraints(t *testing.T) {
	for _, path := range []string{"testdata", "testdata/index.json"} {
		tables, _, err := Load(path, Columns{})
		if err != nil || len(tables) != 2 {
			t.Fatalf("%s: %d tables, %v", path, len(tables), err)
		}
	}
	if table := load(t, "testdata/tiny.csv", Columns{}); !table.exact || table.set.Len() != 7 || table.scale.best[0] != 2 {
		t.Errorf("exact %v, %d points, best %v", table.exact, table.set.Len(), table.scale.best)
	}
	if table := load(t, "testdata/sparse.csv", Columns{}); table.exact || table.set.Len() != 2 {
		t.Errorf("a table that lacks valid points: exact %v, %d points", table.exact, table.set.Len())
	}
}

const loads = `model,gpu,n gpus,users,tok_s,itl_ms,n_failed
m1,a,1,1,100,10,0
m1,a,1,4,300,14,0
m1,b,1,1,200,6,0
m1,b,2,4,900,8,2
m2,a,1,1,50,20,
m2,a,1,4,120,40,0
m3,b,2,4,,,5
`

// A file that says nothing of itself: its first columns are the parameters, in
// their order, and a table is made of each model that can be searched.
func TestColumnsAreFoundOut(t *testing.T) {
	c := Columns{Metrics: []string{"per_user=tok_s / users", "per gpu = tok_s / n_gpus"}, Directions: []task.Direction{task.Maximize},
		By: []string{"model"}, Failed: "n_failed > 0"}
	tables, skipped, err := Load(file(t, "loads.csv", loads), c)
	if err != nil {
		t.Fatal(err)
	}
	if len(tables) != 2 || len(skipped) != 1 || !strings.Contains(skipped[0], "loads[m3]: no configuration succeeded") {
		t.Fatalf("%d tables, left out %v", len(tables), skipped)
	}
	table := tables[0]
	var names []string
	for _, p := range table.Space.Parameters {
		names = append(names, p.Name)
	}
	if !slices.Equal(names, []string{"gpu", "n_gpus", "users"}) || !table.Guessed || table.Name != "loads[m1]" {
		t.Errorf("%s has the parameters %v, guessed %v", table.Name, names, table.Guessed)
	}
	if o := table.Objectives; len(o) != 2 || o[1] != (task.Objective{Metric: "per gpu", Direction: task.Maximize}) {
		t.Errorf("objectives %+v", o)
	}
	if r := table.Rows[1]; !slices.Equal(r.Values, []float64{75, 300}) {
		t.Errorf("a row is %+v", r)
	}
	if r := table.Rows[3]; r.Values != nil || r.Outcome != experiment.OutcomeFailed {
		t.Errorf("a row with failed requests is %+v", r)
	}
	if r := tables[1].Rows[0]; r.Values == nil {
		t.Error("what is not known to have failed has not")
	}
}

// Where a column says how rows ended, all before it are parameters, save those
// of one value.
func TestParametersStandBeforeTheStatus(t *testing.T) {
	table := load(t, file(t, "k.csv", "x,y,one,twice,Status,status,time_us\n1,1,7,2,,Ok,5\n2,1,7,4,,failed,\n2,2,7,4,,OK,3\n"), Columns{Metrics: []string{"time_us"}})
	var names []string
	for _, p := range table.Space.Parameters {
		names = append(names, p.Name)
	}
	if !slices.Equal(names, []string{"x", "y", "twice"}) || table.Rows[1].Values != nil || table.Rows[2].Values == nil {
		t.Errorf("%v, %+v", names, table.Rows)
	}
}

// What was measured more than once counts by its median.
func TestRepeatedRowsAreOne(t *testing.T) {
	table := load(t, file(t, "again.csv", "a,b,time\n1,1,9\n1,1,2\n1,1,4\n1,2,5\n1,1,\n2,2,\n"), Columns{})
	if len(table.Rows) != 3 || table.Rows[0].Values[0] != 4 || table.Rows[1].Values[0] != 5 || table.Rows[2].Values != nil {
		t.Errorf("%+v", table.Rows)
	}
}

func TestFoldersOfTables(t *testing.T) {
	folder := t.TempDir()
	for name, text := range map[string]string{"b.csv": "a,time\n1,2\n2,3\n", "a.jsonl": `{"outcome":"success","parameters":{"a":1},"metrics":{"time":1}}`, "notes.txt": "x"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tables, _, err := Load(folder, Columns{})
	if err != nil || len(tables) != 2 || tables[0].Name != "a" || tables[1].Name != "b" {
		t.Errorf("%d tables, %v", len(tables), err)
	}
	if _, _, err := Load(filepath.Dir(folder), Columns{}); err == nil || !strings.Contains(err.Error(), "name one of its folders: "+filepath.Base(folder)) {
		t.Error(err)
	}
}

// Every mistake is told with what there is instead.
func TestBadTablesSayWhy(t *testing.T) {
	path := file(t, "loads.csv", loads)
	for want, c := range map[string]Columns{
		"does not say what to optimise: name it with --metric, one of n gpus, users, tok_s, itl_ms, n_failed": {},
		`loads has no column "tok"; did you mean "tok_s"?`:                                                    {Metrics: []string{"tok"}},
		`unknown name token_s`:                               {Metrics: []string{"x=token_s/2"}},
		`mismatched types string and int`:                    {Metrics: []string{"x=gpu/2"}},
		`loads has no column "modle"; did you mean "model"?`: {Metrics: []string{"tok_s"}, By: []string{"modle"}},
		`loads has no column "bx"; it has model, gpu, n gpus, users, tok_s, itl_ms, n_failed`:                     {Metrics: []string{"tok_s"}, Parameters: []string{"bx"}},
		`no row of loads is as --where says`:                                                                      {Metrics: []string{"tok_s"}, Where: map[string]string{"gpu": "c"}},
		`loads has no column "window"`:                                                                            {Metrics: []string{"tok_s"}, Levels: &Levels{Column: "window"}},
		`2 directions for 1 metrics: give one for all, or one each`:                                               {Metrics: []string{"tok_s"}, Directions: []task.Direction{task.Maximize, task.Minimize}},
		`--failed n_faild: unknown name n_faild (1:1); did you mean "n_failed"?`:                                  {Metrics: []string{"tok_s"}, Failed: "n_faild"},
		`loads: no configuration succeeded`:                                                                       {Metrics: []string{"tok_s"}, Where: map[string]string{"model": "m3"}, Parameters: []string{"gpu"}},
		`does not say which columns are parameters: name them with --parameters, of model, gpu, n gpus, users, t`: {Metrics: []string{"tok_s"}, Where: map[string]string{"model": "m3"}},
	} {
		_, _, err := Load(path, c)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	for want, text := range map[string]string{
		"this is no table": `{"cache":`,
		"neither an export of experiments, a Kernel Tuner cache nor a": `{}`,
		"it names no parameters (tune_params_keys)":                    `{"cache":{"1":{"time":2}}}`,
		`entry "1" has no a`:                 `{"tune_params_keys":["a"],"cache":{"1":{"time":2}}}`,
		"no configuration names a parameter": `{"results":[{"invalidity":"correct"}]}`,
		"has no rows":                        `{"results":[]}`,
	} {
		if _, _, err := Load(file(t, "x.json", text), Columns{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	_, _, err := Load("testdata/none.csv", Columns{})
	var coded interface{ ExitStatus() int }
	if !errors.As(err, &coded) || coded.ExitStatus() != 2 || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func FuzzTable(f *testing.F) {
	for _, text := range []string{`[{"outcome":"success","parameters":{"a":1},"metrics":{"t":1}}]`, `{"cache":{"1":{"a":1,"time":2}},"tune_params_keys":["a"]}`,
		`{"results":[{"configuration":{"a":1},"invalidity":"correct","measurements":[{"name":"t","value":[1,2]}]}]}`, `{"cache":{`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(_ *testing.T, data []byte) {
		if s, err := parseJSON(data); err == nil {
			_, _, _ = s.tables(&Columns{}) // an error or a table, never a panic
		}
	})
}
