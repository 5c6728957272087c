package replay

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestMeasure replays whole folders when FLEETUNE_TUNING names one with an
// index.json; it prints figures and asserts nothing.
func TestMeasure(t *testing.T) {
	folder := os.Getenv("FLEETUNE_TUNING")
	if folder == "" {
		t.Skip("FLEETUNE_TUNING is not set")
	}
	entries, err := readIndex(filepath.Join(folder, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	number := func(name string, v int) int {
		if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
			return n
		}
		return v
	}
	s := Settings{Samplers: strings.Split(os.Getenv("SAMPLERS"), ","), Seeds: number("SEEDS", 5), Budget: number("BUDGET", 100), Batch: number("BATCH", 1)}
	for _, e := range entries {
		if want := os.Getenv("TABLES"); want != "" && !strings.Contains(want, e.Name) {
			continue
		}
		table, err := e.load(folder)
		if err != nil {
			t.Fatal(err)
		}
		results, err := Compare(context.Background(), table, s)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			f := func(g string) string {
				m := r.EvaluationsTo[g].Median
				if m == nil {
					return fmt.Sprintf(">%d (%.0f%%)", r.Budget, 100*r.EvaluationsTo[g].Share)
				}
				return fmt.Sprintf("%.0f (%.0f%%)", *m, 100*r.EvaluationsTo[g].Share)
			}
			fmt.Printf("%-22s %-10s exact=%v 10%%: %-11s 5%%: %-11s 1%%: %-11s", r.Table, r.Sampler, table.exact, f("10"), f("5"), f("1"))
			for _, c := range checkpoints() {
				if c <= r.Budget {
					fmt.Printf(" %.3f", r.BestAt[fmt.Sprint(c)])
				}
			}
			fmt.Printf("  ask %.1f/%.0f ms %.0fMB v%d r%d %.1fs\n", r.Ask.P50, r.Ask.P99, r.MemoryMB, r.Violations, r.Repeats, r.Seconds)
		}
	}
}
