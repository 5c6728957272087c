package replay

import (
	"context"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/fleetune/fleetune/shared/terminal"
)

// TestGates replays the tables of the folder that FLEETUNE_TUNING names and
// prints the figures; FLEETUNE_SAMPLERS, FLEETUNE_SEEDS and FLEETUNE_BUDGET
// change what is run. It fails on any proposal outside a table, and on repeats.
func TestGates(t *testing.T) {
	folder := os.Getenv("FLEETUNE_TUNING")
	if folder == "" {
		t.Skip("FLEETUNE_TUNING is not set")
	}
	tables, _, err := Load(folder, Columns{})
	if err != nil {
		t.Fatal(err)
	}
	number := func(name string, v int) int {
		if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
			return n
		}
		return v
	}
	s := Settings{Samplers: []string{"bayesian", "tpe", "random"}, Seeds: number("FLEETUNE_SEEDS", 3), Budget: number("FLEETUNE_BUDGET", 60), Batch: 1}
	if names := os.Getenv("FLEETUNE_SAMPLERS"); names != "" {
		s.Samplers = strings.Split(names, ",")
	}
	for _, table := range tables {
		results, err := Compare(context.Background(), table, s)
		if err != nil {
			t.Fatal(err)
		}
		if err := write(terminal.Screen{Writer: t.Output()}, results, s.Budget); err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			if r.Violations+r.Repeats > 0 {
				t.Errorf("%s on %s: %d violations, %d repeats", r.Sampler, r.Table, r.Violations, r.Repeats)
			}
		}
	}
}
