package records_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/fleetune/fleetune/manager/records"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/google/uuid"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(saves); path != "" {
		fmt.Fprintln(os.Stderr, saver(path))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

func keyOf(device string) records.Key {
	return records.Key{
		Operation: records.Operation{Name: "gemm", Runner: "command:1", Extras: records.Facts{"layout": "8x4"}},
		Workload:  records.Facts{"m": int64(1024), "dtype": "fp16"},
		Environment: records.Facts{records.FactDevice: device, records.FactDriver: "535.104", records.FactVendor: "nvidia",
			records.FactDevices: int64(1)},
		Measurement: records.Facts{records.FactObjectives: []any{"minimize_time_ms"}, "repeats": int64(5)},
	}
}

// recordOf is the n-th record; its content depends on n and how alone.
func recordOf(n int, how float64) records.Record {
	return records.Record{
		ID: uuid.NewSHA1(uuid.NameSpaceOID, fmt.Append(nil, n)), Key: keyOf("A100"), Point: space.Point{"tile": int64(n), "fast": n%2 == 0},
		Outcome: experiment.OutcomeSuccess, Scores: []float64{how},
		Metrics: map[string]records.Metric{"time_ms": {Unit: "ms", Median: how, Count: 5}},
		Task:    "t", MeasuredAt: time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC),
	}
}

func lists(t *rapid.T, name string) []records.Record {
	numbers := rapid.SliceOfN(rapid.IntRange(0, 12), 0, 10).Draw(t, name)
	list := make([]records.Record, len(numbers))
	for i, n := range numbers {
		list[i] = recordOf(n, float64(rapid.IntRange(1, 2).Draw(t, name+" told")))
	}
	return list
}
