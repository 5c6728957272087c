package replay

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/fleetune/fleetune/proto/task"
)

const windows = `gpu,users,window,tok_s
a,1,10,80
a,1,30,95
a,1,full,100
a,2,10,150
a,2,full,200
b,1,10,10
b,1,30,11
b,1,full,12
b,2,10,30
b,3,90,30
`

func loadWindows(t *testing.T) *Table {
	t.Helper()
	path := filepath.Join(t.TempDir(), "windows.csv")
	if err := os.WriteFile(path, []byte(windows), 0o600); err != nil {
		t.Fatal(err)
	}
	levels, err := ParseLevels("window=10,30,full:120")
	if err != nil {
		t.Fatal(err)
	}
	tables, _, err := Load(path, Columns{Metrics: []string{"tok_s"}, Directions: []task.Direction{task.Maximize}, Levels: levels})
	if err != nil {
		t.Fatal(err)
	}
	return tables[0]
}

// A table with levels has one row a point, the full measurement its value, and
// no points that were never measured in full.
func TestLevelsAreFolded(t *testing.T) {
	table := loadWindows(t)
	if len(table.Rows) != 3 || table.scale.best[0] != -200 {
		t.Fatalf("%d rows, the best %v", len(table.Rows), table.scale.best)
	}
	first := table.Rows[0]
	if first.Values[0] != 100 || first.Rough[10][0] != 80 || first.Rough[30][0] != 95 || len(first.Rough) != 2 {
		t.Errorf("first row %+v", first)
	}
	if _, known := table.Rows[1].Rough[30]; known {
		t.Error("a level that was not measured")
	}
}

// Rough measurements cost their part, and count for nothing until the point is
// measured in full.
func TestLevelsCost(t *testing.T) {
	table := loadWindows(t)
	for _, name := range []string{"asha", "hyperband", "random"} {
		results, err := Compare(t.Context(), table, Settings{Samplers: []string{name}, Seeds: 5, Budget: 20, Batch: 1})
		if err != nil {
			t.Fatal(err)
		}
		r := results[0]
		to := r.EvaluationsTo["1"]
		if r.Repeats+r.Violations > 0 || to.Share != 1 {
			t.Fatalf("%s: %+v", name, r)
		}
		if name != "random" && (*to.Median <= 1 || *to.Median == float64(int(*to.Median))) {
			t.Errorf("%s came to the best at a cost of %v", name, *to.Median)
		}
	}
}

func TestParseLevels(t *testing.T) {
	for _, bad := range []string{"", "window", "=1,2", "window=10", "window=10,full", "window=30,10", "window=0,1", "window=1,Inf", "window=1:x,2"} {
		if l, err := ParseLevels(bad); err == nil {
			t.Errorf("%q was read as %+v", bad, l)
		}
	}
	l, err := ParseLevels("w=a:1.5,b:3")
	if err != nil || l.Column != "w" || len(l.Costs) != 2 || l.Costs[0] != 1.5 {
		t.Errorf("%+v, %v", l, err)
	}
}
