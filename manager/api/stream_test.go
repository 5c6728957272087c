package api_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/fleetune/fleetune/manager/api"
	"github.com/fleetune/fleetune/manager/api/apitest"
	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/client"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/stretchr/testify/require"
	"github.com/xuri/excelize/v2"
)

var update = flag.Bool("update", false, "write golden files")

var listing = client.Listing{}

var errEnough = errors.New("enough")

func replace(s string, change [2]string) string { return strings.Replace(s, change[0], change[1], 1) }

func TestDescriptionIsCurrent(t *testing.T) {
	data, err := api.Describe()
	require.NoError(t, err)
	if *update {
		require.NoError(t, os.WriteFile("openapi.json", data, 0o644))
	}
	golden, err := os.ReadFile("openapi.json")
	require.NoError(t, err)
	require.Equal(t, string(golden), string(data), "run go generate ./api")
}

func TestEventsResumeWithoutLoss(t *testing.T) {
	s := apitest.Start(t)
	created := s.Create(t, "alpha")
	s.Create(t, "other")
	c := dial(t, s, apitest.Token)
	list := s.Queue(t, created, 1, apitest.Point(8, 1), apitest.Point(8, 2), apitest.Point(8, 4), apitest.Point(16, 1))

	// The watch starts, sees one event and breaks off.
	var last int64
	err := c.Watch(t.Context(), client.Watch{Task: "alpha",
		Reset: func() error { s.Finish(t, list[0].ID, 5); return nil },
		Event: func(e v1.Event) error {
			require.Equal(t, created.ID, *e.Task)
			if e.Kind == "task" {
				return nil // older than the watch; a transaction elsewhere has held it back
			}
			last = e.ID
			require.JSONEq(t, `{"numbers": [1]}`, string(e.Payload))
			return errEnough
		}})
	require.ErrorIs(t, err, errEnough)

	// While it is away two more results come in; a third comes after its return.
	s.Finish(t, list[1].ID, 5)
	s.Finish(t, list[2].ID, 5)
	var numbers []int
	err = c.Watch(t.Context(), client.Watch{Task: "alpha", After: last, Event: func(e v1.Event) error {
		var payload struct{ Numbers []int }
		require.NoError(t, json.Unmarshal(e.Payload, &payload))
		numbers = append(numbers, payload.Numbers...)
		switch len(numbers) {
		case 2:
			s.Finish(t, list[3].ID, 5)
		case 3:
			return errEnough
		}
		return nil
	}})
	require.ErrorIs(t, err, errEnough)
	require.Equal(t, []int{2, 3, 4}, numbers)
}

func TestEventsTellThatSomethingWasMissedForGood(t *testing.T) {
	s := apitest.Start(t)
	s.Create(t, "alpha")
	err := dial(t, s, apitest.Token).Watch(t.Context(), client.Watch{After: 999_999, Reset: func() error { return errEnough },
		Event: func(v1.Event) error { return errors.New("an event came before the reset") }})
	require.ErrorIs(t, err, errEnough)
}

// A transaction that takes its event's id early and commits late must not be
// skipped by a reader that has seen a higher id.
func TestEventsSkipNoLateCommitter(t *testing.T) {
	s := apitest.Start(t)
	ctx := t.Context()
	early, err := s.Pool.Begin(ctx)
	require.NoError(t, err)
	_, err = early.Exec(ctx, `SELECT pg_current_xact_id()`) // the older transaction…
	require.NoError(t, err)
	late, err := s.Pool.Begin(ctx)
	require.NoError(t, err)
	insert := `INSERT INTO events (kind, payload) VALUES ($1, '{}')`
	_, err = late.Exec(ctx, insert, "low id, late") // …comes second to the ids
	require.NoError(t, err)
	_, err = early.Exec(ctx, insert, "high id, early")
	require.NoError(t, err)
	require.NoError(t, early.Commit(ctx))
	first, err := s.Store.Events(ctx, nil, 0, 10)
	require.NoError(t, err)
	require.Len(t, first, 1)
	require.Equal(t, "high id, early", first[0].Kind)
	require.NoError(t, late.Commit(ctx))
	second, err := s.Store.Events(ctx, nil, first[0].ID, 10)
	require.NoError(t, err)
	require.Len(t, second, 1)
	require.Equal(t, "low id, late", second[0].Kind)
	third, err := s.Store.Events(ctx, nil, second[0].ID, 10)
	require.NoError(t, err)
	require.Empty(t, third)
	last, err := s.Store.LastEvent(ctx)
	require.NoError(t, err)
	require.Equal(t, second[0].ID, last)
	all, err := s.Store.Events(ctx, nil, 0, 10)
	require.NoError(t, err)
	require.Equal(t, []int64{first[0].ID, second[0].ID}, []int64{all[0].ID, all[1].ID}, "the order of transactions, not of ids")

	// While an older transaction is open, a younger one's event waits behind it.
	older, err := s.Pool.Begin(ctx)
	require.NoError(t, err)
	_, err = older.Exec(ctx, insert, "older")
	require.NoError(t, err)
	_, err = s.Pool.Exec(ctx, insert, "younger")
	require.NoError(t, err)
	none, err := s.Store.Events(ctx, nil, last, 10)
	require.NoError(t, err)
	require.Empty(t, none)
	require.NoError(t, older.Commit(ctx))
	both, err := s.Store.Events(ctx, nil, last, 10)
	require.NoError(t, err)
	require.Len(t, both, 2)
	require.Equal(t, "older", both[0].Kind)
}

func TestServerStopsWithStreamsOpen(t *testing.T) {
	s := apitest.Start(t)
	c := dial(t, s, apitest.Token)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := c.Watch(ctx, client.Watch{
		Reset:  func() error { go s.Stop(); return nil },
		Event:  func(v1.Event) error { return nil },
		Broken: func(error) { cancel() }, // the stream ended because the server did
	})
	require.NoError(t, err)
	s.Stop()
	require.NotContains(t, s.Log.String(), "cut off", "the stream must not hold the shutdown up")
}

func TestLogsAreReadAndFollowed(t *testing.T) {
	s := apitest.Start(t)
	_, list := s.Running(t, "alpha")
	c := dial(t, s, apitest.Token)
	publish := func(attempt int, stream, data string, last bool) {
		message, err := json.Marshal(wire.LogChunk{Attempt: attempt, Stream: stream, Data: data, Last: last})
		require.NoError(t, err)
		_, err = s.Bus.JetStream().Publish(t.Context(), wire.LogSubject("node-a", list[3].ID), message)
		require.NoError(t, err)
	}
	page, err := c.Logs(t.Context(), "alpha", 4, 0, "")
	require.NoError(t, err)
	require.Empty(t, page.Items)
	publish(1, "build stdout", "compiling\n", true)
	publish(2, "run stdout", "one\n", false)
	page, err = c.Logs(t.Context(), "alpha", 4, 0, "")
	require.NoError(t, err)
	require.Len(t, page.Items, 2)
	require.Equal(t, "node-a", page.Items[0].Worker)
	require.Equal(t, "compiling\n", page.Items[0].Data)
	page, err = c.Logs(t.Context(), "alpha", 4, 2, "")
	require.NoError(t, err)
	require.Len(t, page.Items, 1)
	other, err := c.Logs(t.Context(), "alpha", 5, 0, "")
	require.NoError(t, err)
	require.Empty(t, other.Items, "another experiment's output is its own")

	var seen []string
	err = c.FollowLogs(t.Context(), "alpha", 4, 2, func(chunk v1.LogChunk) error {
		seen = append(seen, chunk.Data)
		if chunk.Data == "one\n" {
			publish(2, "run stdout", "two\n", true)
			_, err := s.Pool.Exec(t.Context(), `UPDATE experiments SET state = 'success', outcome = 'success', finished_at = now() WHERE id = $1`, list[3].ID)
			require.NoError(t, err)
		}
		return nil
	})
	require.NoError(t, err, "following ends with the experiment")
	require.Equal(t, []string{"one\n", "two\n"}, seen)
}

func TestExports(t *testing.T) {
	s := apitest.Start(t)
	created, _ := s.Running(t, "alpha")
	s.Report(t, s.Claim(t, s.Queue(t, created, 6, apitest.Point(64, 4))[0].ID, "node-a"), "node-a", experiment.OutcomeFailed, 0,
		&experiment.Failure{Phase: "run", Message: `=HYPERLINK("http://example.org")`})
	c := dial(t, s, apitest.Token)
	export := func(format string) []byte {
		body, err := c.Export(t.Context(), "alpha", format, listing)
		require.NoError(t, err)
		defer body.Close()
		data, err := io.ReadAll(body)
		require.NoError(t, err)
		return data
	}
	rows, err := csv.NewReader(bytes.NewReader(export("csv"))).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, 7)
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	require.Equal(t, "4", rows[2][column["metric:time_ms"]])
	require.Equal(t, "2", rows[2][column["parameter:unroll"]])
	require.Equal(t, "ms", rows[2][column["unit:time_ms"]])
	require.Equal(t, `'=HYPERLINK("http://example.org")`, rows[6][column["error_message"]], "text is no formula")

	var document struct {
		Task        v1.Task
		Experiments []v1.Experiment
	}
	require.NoError(t, json.Unmarshal(export("json"), &document))
	require.Equal(t, "alpha", document.Task.Name)
	require.Len(t, document.Experiments, 6)

	lines := strings.Split(strings.TrimSpace(string(export("jsonl"))), "\n")
	require.Len(t, lines, 6)
	var e v1.Experiment
	require.NoError(t, json.Unmarshal([]byte(lines[1]), &e))
	require.Equal(t, document.Experiments[1], e)

	book, err := excelize.OpenReader(bytes.NewReader(export("xlsx")))
	require.NoError(t, err)
	defer book.Close()
	cells, err := book.GetRows("experiments")
	require.NoError(t, err)
	require.Len(t, cells, 7)
	require.Equal(t, rows[0], cells[0])
}
