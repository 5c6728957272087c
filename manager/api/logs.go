package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// logBatch is how many pieces of output are read at once.
	logBatch = 256
	// logWait is how long a follower waits for output before it looks whether
	// the experiment has ended.
	logWait = time.Second
	// logIdle is when the server forgets a reader that has gone.
	logIdle = time.Minute
)

func (a *API) logRoutes(api huma.API) {
	huma.Register(api, get("experiment-logs", "/tasks/{task}/experiments/{number}/logs", "What an experiment's programs wrote, all attempts", "experiments"),
		func(ctx context.Context, in *struct {
			Numbered
			Attempt int    `query:"attempt" minimum:"0" doc:"only this attempt; 0 means all"`
			After   uint64 `query:"after" doc:"cursor of an earlier page"`
			Limit   int    `query:"limit" default:"1000" minimum:"1" maximum:"5000"`
		}) (*answer[v1.Page[v1.LogChunk]], error) {
			page, err := a.readLogs(ctx, in.Numbered, in.Attempt, in.After, in.Limit)
			return reply(ctx, a, page, err)
		})
	huma.Register(api, stream("follow-logs", "/tasks/{task}/experiments/{number}/logs/follow",
		"The same as server-sent events (`log`, then `end` once the experiment has ended)", "experiments"),
		func(ctx context.Context, in *struct {
			Numbered
			Resume
			Attempt int `query:"attempt" minimum:"0" doc:"only this attempt; 0 means all"`
		}) (*huma.StreamResponse, error) {
			return a.followLogs(ctx, in.Numbered, in.Resume, in.Attempt)
		})
}

// openLogs reads the output of an experiment from the piece behind after on.
func (a *API) openLogs(ctx context.Context, id uuid.UUID, after uint64) (jetstream.Consumer, error) {
	if after > 0 {
		return a.readStream(ctx, id, jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1})
	}
	return a.readStream(ctx, id, jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy})
}

// readStream makes a consumer of an experiment's output that begins as config says.
func (a *API) readStream(ctx context.Context, id uuid.UUID, config jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	if a.config.JetStream == nil {
		return nil, problem(http.StatusNotImplemented, "ask the manager that runs with a bus", "this manager has no bus to read output from")
	}
	// Reading disturbs nobody: nothing is acknowledged, and a consumer that is
	// left behind goes by itself.
	config.FilterSubject, config.AckPolicy = wire.ExperimentLogs(id), jetstream.AckNonePolicy
	config.InactiveThreshold, config.MemoryStorage, config.Replicas = logIdle, true, 1
	consumer, err := a.config.JetStream.CreateConsumer(ctx, wire.StreamLogs, config)
	if err != nil {
		return nil, fmt.Errorf("opening the log stream: %w", err)
	}
	return consumer, nil
}

// closeLogs spares the server the wait for a reader that is done. It is no
// loss when that fails.
func (a *API) closeLogs(ctx context.Context, consumer jetstream.Consumer) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), logWait)
	defer cancel()
	_ = a.config.JetStream.DeleteConsumer(ctx, wire.StreamLogs, consumer.CachedInfo().Name)
}

func (a *API) readLogs(ctx context.Context, at Numbered, attempt int, after uint64, limit int) (v1.Page[v1.LogChunk], error) {
	page := v1.Page[v1.LogChunk]{Items: []v1.LogChunk{}}
	_, e, err := a.experiment(ctx, at.Task, at.Number)
	if err != nil {
		return page, err
	}
	consumer, err := a.openLogs(ctx, e.ID, after)
	if err != nil {
		return page, err
	}
	defer a.closeLogs(ctx, consumer)
	err = drain(consumer, func(m jetstream.Msg, seq uint64) bool {
		if len(page.Items) == limit {
			page.Next = strconv.FormatUint(page.Items[limit-1].Sequence, 10)
			return false
		}
		if chunk, ok := logChunk(m, seq); ok && (attempt == 0 || chunk.Attempt == attempt) {
			page.Items = append(page.Items, chunk)
		}
		return true
	})
	return page, err
}

// drain hands over what the stream holds now, until f returns false.
func drain(consumer jetstream.Consumer, f func(m jetstream.Msg, seq uint64) bool) error {
	for {
		messages, err := consumer.FetchNoWait(logBatch)
		if err != nil {
			return fmt.Errorf("reading the log stream: %w", err)
		}
		pending := uint64(0)
		for m := range messages.Messages() {
			meta, err := m.Metadata()
			if err != nil {
				return fmt.Errorf("reading the log stream: %w", err)
			}
			if !f(m, meta.Sequence.Stream) {
				return nil
			}
			pending = meta.NumPending
		}
		if err := messages.Error(); err != nil && !errors.Is(err, jetstream.ErrNoMessages) {
			return fmt.Errorf("reading the log stream: %w", err)
		}
		if pending == 0 {
			return nil
		}
	}
}

// logChunk reads one message of the log stream; ok is false for what is none.
func logChunk(m jetstream.Msg, seq uint64) (chunk v1.LogChunk, ok bool) {
	var c wire.LogChunk
	if json.Unmarshal(m.Data(), &c) != nil {
		return v1.LogChunk{}, false
	}
	chunk = v1.LogChunk{Sequence: seq, Attempt: c.Attempt, Stream: c.Stream, Offset: c.Offset, Data: c.Data, Last: c.Last}
	if tokens := strings.Split(m.Subject(), "."); len(tokens) > 2 {
		chunk.Worker = tokens[2]
	}
	if meta, err := m.Metadata(); err == nil {
		chunk.At = meta.Timestamp.UTC()
	}
	return chunk, true
}

func (a *API) followLogs(ctx context.Context, at Numbered, from Resume, attempt int) (*huma.StreamResponse, error) {
	_, e, err := a.experiment(ctx, at.Task, at.Number)
	if err != nil {
		return nil, failure(ctx, a.log, err)
	}
	given := from.LastEventID
	if given == "" {
		given = from.After
	}
	var after uint64
	if given != "" {
		if after, err = strconv.ParseUint(given, 10, 64); err != nil {
			return nil, failure(ctx, a.log, badCursor(given))
		}
	}
	consumer, err := a.openLogs(ctx, e.ID, after)
	if err != nil {
		return nil, failure(ctx, a.log, err)
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		ctx, cancel := streaming(hc.Context())
		defer cancel()
		defer a.closeLogs(ctx, consumer)
		w := newEventWriter(hc)
		w.beat()
		if err := a.pump(ctx, w, consumer, e, attempt); err != nil && ctx.Err() == nil {
			a.log.Warn().Err(err).Msg("following output")
		}
	}}, nil
}

// pump sends output as it comes, until the experiment has ended and nothing is
// left, or the reader is gone.
func (a *API) pump(ctx context.Context, w *eventWriter, consumer jetstream.Consumer, e store.Experiment, attempt int) error {
	ended, quiet := false, time.Now()
	for w.err == nil {
		sent, err := pumpOnce(w, consumer, attempt)
		if err != nil {
			return err
		}
		if sent {
			quiet = time.Now()
			continue
		}
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the reader is gone
		}
		if ended {
			w.write("", "end", struct{}{})
			return w.err
		}
		if time.Since(quiet) > heartbeat {
			w.beat()
			quiet = time.Now()
		}
		// What was written before the end is in the stream by the time the end
		// is committed, so one more look after it finds everything.
		now, err := a.store.Experiment(ctx, e.TaskID, e.Number)
		if err != nil {
			return err
		}
		ended = now.State.Final()
	}
	return nil
}

func pumpOnce(w *eventWriter, consumer jetstream.Consumer, attempt int) (sent bool, err error) {
	messages, err := consumer.Fetch(logBatch, jetstream.FetchMaxWait(logWait))
	if err != nil {
		return false, fmt.Errorf("reading the log stream: %w", err)
	}
	for m := range messages.Messages() {
		meta, err := m.Metadata()
		if err != nil {
			return sent, fmt.Errorf("reading the log stream: %w", err)
		}
		sent = true
		if chunk, ok := logChunk(m, meta.Sequence.Stream); ok && (attempt == 0 || chunk.Attempt == attempt) {
			w.write(strconv.FormatUint(chunk.Sequence, 10), "log", chunk)
		}
	}
	if err := messages.Error(); err != nil && !errors.Is(err, jetstream.ErrNoMessages) {
		return sent, fmt.Errorf("reading the log stream: %w", err)
	}
	return sent, nil
}
