package dispatch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fleetune/fleetune/manager/score"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/fleetune/fleetune/shared/bus"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

const (
	// reportLimit bounds how many results one statement commits.
	reportLimit = 512
	// committers is how many batches are under way at once, of results and of
	// claims: one is prepared while the other waits for the disk. Batches lock
	// rows in the order of their ids, so they never wait in a circle.
	committers = 2
)

// An arrival is a message with the reports it brought.
type arrival struct {
	msg     jetstream.Msg
	results []store.Result
}

// commitReports commits results in batches and acknowledges them after the
// commit. What arrives while a batch commits makes the next batch.
func (t *term) commitReports(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	arrivals := make(chan arrival, 2*reportLimit)
	group.Go(func() error { return t.receive(ctx, arrivals) })
	for range committers {
		group.Go(func() error { return t.commitArrivals(ctx, arrivals) })
	}
	return group.Wait()
}

func (t *term) commitArrivals(ctx context.Context, arrivals <-chan arrival) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case first := <-arrivals:
			batch := []arrival{first}
			for n, more := len(first.results), true; more && n < reportLimit; {
				select {
				case a := <-arrivals:
					batch = append(batch, a)
					n += len(a.results)
				default:
					more = false
				}
			}
			if err := t.commit(ctx, batch); err != nil {
				return err
			}
		}
	}
}

// receive reads the reports stream for as long as ctx lives. A stream or
// consumer that has vanished is made anew by the sweeper; this waits for it.
func (t *term) receive(ctx context.Context, arrivals chan<- arrival) error {
	for ctx.Err() == nil {
		if err := t.readReports(ctx, arrivals); err != nil && ctx.Err() == nil {
			t.Log.Debug().Err(err).Msg("reading reports, trying again")
			pause(ctx, 250*time.Millisecond)
		}
	}
	return ctx.Err()
}

func (t *term) readReports(ctx context.Context, arrivals chan<- arrival) error {
	consumer, err := t.Bus.JetStream().Consumer(ctx, wire.StreamReports, bus.ReportsConsumer)
	if err != nil {
		return fmt.Errorf("binding to the reports: %w", err)
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(2*reportLimit), jetstream.PullExpiry(5*time.Second))
	if err != nil {
		return fmt.Errorf("reading the reports: %w", err)
	}
	stop := context.AfterFunc(ctx, messages.Stop)
	defer func() {
		stop()
		messages.Stop()
	}()
	for {
		msg, err := messages.Next()
		if err != nil {
			if errors.Is(err, jetstream.ErrNoHeartbeat) {
				continue // the server is away; the iterator goes on when it is back
			}
			return fmt.Errorf("waiting for a report: %w", err)
		}
		a, err := t.decode(ctx, msg)
		if err != nil {
			t.Log.Error().Err(err).Str("subject", msg.Subject()).Msg("report set aside")
			_ = msg.TermWithReason("not a report of this worker") // a lost term brings it back, to be set aside again
			continue
		}
		select {
		case arrivals <- a:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// decode reads a message's reports.
func (t *term) decode(ctx context.Context, msg jetstream.Msg) (arrival, error) {
	// PostgreSQL's JSON cannot hold NUL, which a program may well have printed.
	data := bytes.ReplaceAll(msg.Data(), []byte(`\u0000`), []byte(`\ufffd`))
	a := arrival{msg: msg}
	var bad []error
	for line := range bytes.SplitSeq(data, []byte{'\n'}) {
		r, err := t.judge(ctx, bus.Sender(msg.Subject()), line)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		a.results = append(a.results, r)
	}
	if len(a.results) == 0 {
		return arrival{}, errors.Join(bad...)
	}
	if len(bad) > 0 { // what is good in the message counts all the same
		t.Log.Error().Err(errors.Join(bad...)).Str("subject", msg.Subject()).Msg("part of a message with reports set aside")
	}
	return a, nil
}

// judge reads a report and derives its scores. A success without the metrics
// of the objectives is none.
func (t *term) judge(ctx context.Context, sender string, data []byte) (store.Result, error) {
	var result store.Result
	r := &result.Report
	if err := json.Unmarshal(data, r); err != nil {
		return store.Result{}, fmt.Errorf("decoding a report: %w", err)
	}
	if r.Worker != sender {
		return store.Result{}, fmt.Errorf("%s reports in the name of %q", sender, r.Worker)
	}
	if r.Outcome != experiment.OutcomeSuccess && r.Outcome != experiment.OutcomeStoppedEarly {
		return result, nil
	}
	spec, err := t.specs.get(ctx, r.Task)
	if errors.Is(err, store.ErrNotFound) {
		return result, nil // of a task that was deleted: confirmed to its worker, and dropped
	}
	if err != nil {
		return store.Result{}, err
	}
	verdict := score.Judge(spec, r.Measurement)
	if r.Outcome == experiment.OutcomeStoppedEarly {
		result.Scores = verdict.Scores // of what was measured until then
		return result, nil
	}
	if verdict.Outcome != experiment.OutcomeSuccess {
		r.Outcome, r.Failure = verdict.Outcome, verdict.Failure
	}
	result.Scores = verdict.Scores
	return result, nil
}

func (t *term) commit(ctx context.Context, batch []arrival) error {
	began := time.Now()
	var results []store.Result
	for _, a := range batch {
		results = append(results, a.results...)
	}
	committed, err := t.commitOnce(ctx, results)
	if err != nil {
		return err
	}
	t.Metrics.resultSeconds.Observe(time.Since(began).Seconds())
	t.Metrics.resultBatch.Observe(float64(len(results)))
	t.Metrics.stale.Add(float64(len(results) - len(committed)))
	for _, a := range batch {
		if err := a.msg.Ack(); err != nil {
			t.Log.Debug().Err(err).Msg("acknowledgement lost, the repeat is harmless")
		}
	}
	found := make(map[uuid.UUID]store.Result, len(results))
	confirms := map[string]*wire.Confirm{}
	for _, r := range results {
		found[r.Experiment] = r
		t.fleet.ended(r.Experiment, r.Epoch)
		if confirms[r.Worker] == nil {
			confirms[r.Worker] = &wire.Confirm{}
		}
		confirms[r.Worker].Reports = append(confirms[r.Worker].Reports, wire.Attempted{Experiment: r.Experiment, Epoch: r.Epoch})
	}
	for worker, c := range confirms {
		t.control(worker, wire.Control{Confirm: c})
	}
	t.tell(committed, found)
	return nil
}

// tell hands what was committed to the planner and to whoever watches.
func (t *term) tell(committed []store.Committed, results map[uuid.UUID]store.Result) {
	var ended []finished
	var again []requeued
	for _, c := range committed {
		if c.Outcome == nil {
			again = append(again, requeued{c.Task, c.Experiment, c.Number})
			continue
		}
		t.Metrics.results.WithLabelValues(string(*c.Outcome)).Inc()
		ended = append(ended, finished{c, results[c.Experiment].Scores, store.Summaries(results[c.Experiment].Measurement)})
		t.news.add(c.Task, c.Number)
	}
	if len(ended) > 0 {
		t.mail.haveFinished(ended)
	}
	if len(again) > 0 {
		t.mail.haveRequeued(again)
	}
}

// commitOnce commits a batch. If the database refuses it for its content, the
// reports are tried one by one, and the one that is refused alone is committed
// without its content: an experiment must not hang on what a program printed.
func (t *term) commitOnce(ctx context.Context, results []store.Result) ([]store.Committed, error) {
	committed, err := t.Store.CommitResults(ctx, results, t.MaxInfra)
	if !refusedForContent(err) {
		return committed, err
	}
	for _, r := range results {
		one, err := t.Store.CommitResults(ctx, []store.Result{r}, t.MaxInfra)
		if refusedForContent(err) {
			t.Log.Error().Err(err).Stringer("experiment", r.Experiment).Msg("the database refuses a result's content")
			r.Outcome, r.Measurement, r.Scores, r.Timings = experiment.OutcomeFailed, nil, nil, nil
			r.Failure = &experiment.Failure{Phase: "result", Message: "the database refused the result's content; the manager's log says why"}
			one, err = t.Store.CommitResults(ctx, []store.Result{r}, t.MaxInfra)
		}
		if err != nil {
			return nil, err
		}
		committed = append(committed, one...)
	}
	return committed, nil
}

// refusedForContent says that the database answered, and that the data was
// what it did not like (class 22, data exception, or 23, integrity).
func refusedForContent(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && (strings.HasPrefix(pgErr.Code, "22") || strings.HasPrefix(pgErr.Code, "23"))
}

// control sends a message to one worker; what gets lost is said again in the
// answer to its next beat, or asked for by its next report.
func (t *term) control(worker string, c wire.Control) {
	if err := bus.Publish(t.Bus, wire.ControlSubject(worker), c); err != nil {
		t.Log.Debug().Err(err).Str("worker", worker).Msg("control message lost")
	}
}
