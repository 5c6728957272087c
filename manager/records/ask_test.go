package records_test

import (
	"testing"
	"time"

	"github.com/fleetune/fleetune/manager/records"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/stretchr/testify/require"
)

func candidate(change ...func(*records.Key)) records.Candidate {
	k := keyOf("A100")
	for _, f := range change {
		f(&k)
	}
	return records.Candidate{Digest: k.Digest(), Key: k, MeasuredAt: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
}

func question(change ...func(*records.Question)) records.Question {
	k := keyOf("A100")
	q := records.Question{Operation: "gemm", Extras: k.Operation.Extras, Workload: k.Workload, Environment: k.Environment}
	for _, f := range change {
		f(&q)
	}
	return q
}

// One fact of the environment, asked and recorded: what is known to differ
// never serves, what is not known serves with a marking.
func TestHardAndSoftDifferences(t *testing.T) {
	for _, c := range []struct {
		fact            string
		asked, recorded any
		want            string
	}{
		{"device", "A100", "A100", records.MatchExact},
		{"device", "H100", "A100", ""},
		{"device", nil, "A100", records.MatchSoft},
		{"device", records.Any, "A100", records.MatchExact},
		{"driver", "535.1", "535.1", records.MatchExact},
		{"driver", "535.2", "535.1", records.MatchSoft},
		{"driver", "550.1", "535.1", ""},
		{"driver", nil, "535.1", records.MatchSoft},
		{"driver", "535.1", nil, records.MatchSoft},
		{"devices", int64(2), int64(1), ""},
		{"label:cuda", "12.4", "12.4", records.MatchExact},
		{"label:cuda", "12.4", "12.5", ""},
		{"label:cuda", "12.4", nil, records.MatchSoft},
		{"label:cuda", nil, nil, records.MatchExact},
		{"device", "*", nil, records.MatchExact},
	} {
		q := question(func(q *records.Question) { q.Environment = records.Facts{c.fact: c.asked} })
		recorded := candidate(func(k *records.Key) { k.Environment = records.Facts{c.fact: c.recorded} })
		a, err := records.Choose(q, []records.Candidate{recorded})
		if c.want == "" {
			require.ErrorIs(t, err, records.ErrNotFound, "%+v", c)
			require.ErrorContains(t, err, c.fact)
			continue
		}
		require.NoError(t, err, "%+v", c)
		require.Equal(t, c.want, a.Match, "%+v", c)
		require.Equal(t, c.want == records.MatchSoft, len(a.Differences) > 0)
	}
}

// Extras and workload are absent where they are not said: no wildcard, no
// guess.
func TestSilenceIsAbsence(t *testing.T) {
	list := []records.Candidate{candidate()}
	for name, change := range map[string]func(*records.Question){
		"no extras":     func(q *records.Question) { q.Extras = nil },
		"other extras":  func(q *records.Question) { q.Extras = records.Facts{"layout": "4x8"} },
		"more extras":   func(q *records.Question) { q.Extras = records.Facts{"layout": "8x4", "bias": true} },
		"less workload": func(q *records.Question) { q.Workload = records.Facts{"m": int64(1024)} },
		"workload":      func(q *records.Question) { q.Workload = records.Facts{"m": int64(2048), "dtype": "fp16"} },
		"version":       func(q *records.Question) { q.Version = "2" },
		"runner":        func(q *records.Question) { q.Runner = "command:2" },
		"objective":     func(q *records.Question) { q.Objective = "maximize_rate" },
	} {
		_, err := records.Choose(question(change), list)
		require.ErrorIs(t, err, records.ErrNotFound, name)
	}
	_, err := records.Choose(question(func(q *records.Question) { q.Objective = "minimize_time_ms" }), list)
	require.NoError(t, err)
	_, err = records.Choose(question(), nil)
	require.ErrorIs(t, err, records.ErrNotFound)
}

func TestNearestWorkload(t *testing.T) {
	shape := func(m int64, dtype string) func(*records.Key) {
		return func(k *records.Key) { k.Workload = records.Facts{"m": m, "dtype": dtype} }
	}
	list := []records.Candidate{candidate(shape(256, "fp16")), candidate(shape(1024, "fp16")), candidate(shape(1500, "fp32"))}
	q := question(func(q *records.Question) { q.Workload = records.Facts{"m": int64(1500), "dtype": "fp16"} })
	_, err := records.Choose(q, list)
	require.ErrorIs(t, err, records.ErrNotFound)
	q.Nearest = true
	a, err := records.Choose(q, list)
	require.NoError(t, err)
	require.Equal(t, records.MatchNearest, a.Match)
	require.Equal(t, int64(1024), a.Key.Workload["m"])
	require.InDelta(t, 0.55, a.Distance, 0.01)
	require.Equal(t, []records.Difference{{Fact: "workload.m", Asked: int64(1500), Recorded: int64(1024)}}, a.Differences)
	q.Workload["dtype"] = "int8"
	_, err = records.Choose(q, list)
	require.ErrorIs(t, err, records.ErrNotFound, "a type is no number")
}

// The winner of one place is not handed to another by chance.
func TestUnlikePlacesAreNotMixed(t *testing.T) {
	list := []records.Candidate{candidate(), candidate(func(k *records.Key) { k.Environment[records.FactDevice] = "H100" })}
	q := question(func(q *records.Question) { q.Environment = nil })
	_, err := records.Choose(q, list)
	require.ErrorIs(t, err, records.ErrAmbiguous)
	require.ErrorContains(t, err, "environment.device")
	q.Environment = records.Facts{records.FactDevice: "H100"}
	a, err := records.Choose(q, list)
	require.NoError(t, err)
	require.Equal(t, "H100", a.Key.Environment[records.FactDevice])
	require.Equal(t, records.MatchSoft, a.Match, "the driver is not said")
}

// A pin goes before what is confirmed, and that before what is new; the order
// of the candidates does not matter.
func TestPrecedence(t *testing.T) {
	run := func(runner string, change func(*records.Candidate)) records.Candidate {
		c := candidate(func(k *records.Key) { k.Operation.Runner = runner })
		change(&c)
		return c
	}
	list := []records.Candidate{
		run("command:new", func(c *records.Candidate) { c.MeasuredAt = c.MeasuredAt.AddDate(1, 0, 0) }),
		run("command:confirmed", func(c *records.Candidate) { c.Confirmed = true }),
		run("command:pinned", func(c *records.Candidate) { c.Pinned = true }),
	}
	for i := len(list) - 1; i >= 0; i-- {
		want := list[i].Key.Operation.Runner
		for _, order := range [][]records.Candidate{list[:i+1], {list[i], list[0]}} {
			a, err := records.Choose(question(), order)
			require.NoError(t, err)
			require.Equal(t, want, a.Key.Operation.Runner)
		}
	}
}

func TestRelatedAreOrderedByWhatDiffers(t *testing.T) {
	of := keyOf("A100")
	at := func(change func(*records.Key)) records.Key {
		k := keyOf("A100")
		change(&k)
		return k
	}
	m := func(m int64) records.Key {
		return at(func(k *records.Key) { k.Workload = records.Facts{"m": m, "dtype": "fp16"} })
	}
	want := []records.Key{of, m(1500), m(4096), at(func(k *records.Key) {
		k.Environment = keyOf("H100").Environment
		k.Environment[records.FactDriver], k.Operation.Runner = "550.1", "command:2"
	})}
	got := records.Related(of, []records.Key{want[3], want[2], m(4096 << 20), want[0], want[1],
		at(func(k *records.Key) { k.Operation.Name = "conv" }),
		at(func(k *records.Key) { k.Measurement = records.Facts{records.FactObjectives: []any{"maximize_rate"}} })})
	require.Len(t, got, 5)
	for i, k := range []records.Key{want[0], want[1], want[2], want[3]} {
		require.Equal(t, k.Digest(), got[i].Digest(), i)
	}
}

// Neither a rehearsal nor a server that somebody else runs is a measurement of
// a configuration here.
func TestRehearsalsAreNoMeasurements(t *testing.T) {
	for _, c := range []struct {
		task task.Task
		want bool
	}{
		{task.Task{}, false},
		{task.Task{Command: &task.Command{}}, true},
		{task.Task{Serving: &task.Serving{}}, true},
		{task.Task{Serving: &task.Serving{Simulate: &task.Simulate{}}}, false},
		{task.Task{Serving: &task.Serving{Endpoint: &task.Endpoint{}}}, false},
	} {
		require.Equal(t, c.want, records.Measurable(&c.task))
	}
}

// Where an experiment ran is told by the devices it held; what an engine's
// point says, its parallelism, is not told twice.
func TestEnvironments(t *testing.T) {
	n := &node.Advertisement{Labels: map[string]string{"cuda": "12.4"}, Devices: []node.Device{
		{ID: "g0", Vendor: "nvidia", Model: "A100", Driver: "535.1", Memory: 80 << 30, Health: node.Healthy},
		{ID: "g1", Vendor: "nvidia", Model: "H100", Driver: "535.1", Memory: 80 << 30, Health: node.Healthy},
		{ID: "c0", Vendor: "cpu", Model: "Xeon", Cores: []int{0, 1}, Health: node.Healthy}}}
	of := &task.Task{Command: &task.Command{}, Records: &task.Records{Labels: []string{"cuda", "cudnn"}}}
	require.Equal(t, records.Facts{"device": "A100", "vendor": "nvidia", "driver": "535.1", "memory_mib": int64(81920), "devices": int64(1),
		"label:cuda": "12.4", "label:cudnn": nil}, records.EnvironmentOf(of, n, []string{"g0"}))
	require.Equal(t, "A100 + H100", records.EnvironmentOf(of, n, []string{"g1", "g0"})["device"])
	require.Equal(t, records.Facts{"device": "Xeon", "vendor": "cpu", "cores": int64(2)},
		records.EnvironmentOf(&task.Task{Serving: &task.Serving{}}, n, []string{"c0"}))
	require.Nil(t, records.EnvironmentOf(of, n, []string{"g0", "gone"}))
	require.Nil(t, records.EnvironmentOf(of, nil, []string{"g0"}))

	of.Resources = node.Requirements{Accelerator: "nvidia", Devices: 1, Kind: task.KindCommand}
	n.Kinds = []string{task.KindCommand}
	require.Len(t, records.Places(of, []node.Advertisement{*n, *n}), 2, "one of each device")
	of.Resources.Accelerator = "h100"
	places := records.Places(of, []node.Advertisement{*n})
	require.Len(t, places, 1)
	require.Equal(t, records.EnvironmentOf(of, n, []string{"g1"}), places[0], "planned as it is recorded")
	require.False(t, places[0].Known())
}
