package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/autotuner"
	"github.com/fleetune/fleetune/manager/preset"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
)

// speaker is what package autotuner translates: this API's own operations.
type speaker struct{ a *API }

func (s speaker) Submit(ctx context.Context, in v1.Submission) (v1.Submitted, error) {
	return s.a.submit(ctx, in)
}

func (s speaker) Replace(ctx context.Context, task uuid.UUID, in v1.Submission) (v1.Submitted, error) {
	return s.a.accept(ctx, in, func(ctx context.Context, n store.NewTask) (store.Task, error) {
		return s.a.store.ReplaceTask(ctx, task, n, true)
	})
}

func (s speaker) Again(ctx context.Context, t store.Task, paused bool) (store.Task, error) {
	n, err := s.a.again(ctx, t)
	if err != nil {
		return store.Task{}, err
	}
	n.Paused = paused
	r := s.a.retirer()
	// What is among the records counts for the task that comes, too.
	if _, err := r.Weigh(ctx, t.ID); err != nil {
		return store.Task{}, refuseDeletion(t, err)
	}
	if err := s.a.freeze(ctx, &n); err != nil {
		return store.Task{}, err
	}
	created, err := r.Replace(ctx, t.ID, n)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrNeverStarts) {
		return created, problem(http.StatusConflict, "submit its file again, with what it needs", "task %s cannot run again: %s", t.Name, err.Error())
	}
	if err != nil {
		return created, refuseDeletion(t, err)
	}
	return created, nil
}

func (s speaker) Delete(ctx context.Context, t store.Task) error {
	if _, err := s.a.retirer().Delete(ctx, t.ID, "deleted by its user"); err != nil {
		return refuseDeletion(t, err)
	}
	return nil
}

func (s speaker) Problem(ctx context.Context, err error) *v1.Problem {
	return failure(ctx, s.a.log, err)
}

func (s speaker) Streaming(ctx context.Context) (context.Context, context.CancelFunc) {
	return streaming(ctx)
}

func (s speaker) Ready(ctx context.Context) (database, bus string) {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	state := s.a.ready(ctx)
	return state.Database, state.Bus
}

func (s speaker) Output(ctx context.Context, experiment uuid.UUID, fromNow bool) (autotuner.Output, error) {
	config := jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy}
	if fromNow {
		config.DeliverPolicy = jetstream.DeliverNewPolicy
	}
	consumer, err := s.a.readStream(ctx, experiment, config)
	if err != nil {
		return nil, err
	}
	return output{s.a, consumer}, nil
}

// An output is an experiment's output, piece by piece.
type output struct {
	a        *API
	consumer jetstream.Consumer
}

// Read returns the next pieces that are there already.
func (o output) Read() ([]v1.LogChunk, error) {
	messages, err := o.consumer.FetchNoWait(logBatch)
	if err != nil {
		return nil, fmt.Errorf("reading the log stream: %w", err)
	}
	var list []v1.LogChunk
	for m := range messages.Messages() {
		if chunk, ok := logChunk(m, 0); ok {
			list = append(list, chunk)
		}
	}
	if err := messages.Error(); err != nil && !errors.Is(err, jetstream.ErrNoMessages) {
		return list, fmt.Errorf("reading the log stream: %w", err)
	}
	return list, nil
}

// Close lets the server forget the reader.
func (o output) Close(ctx context.Context) { o.a.closeLogs(ctx, o.consumer) }

func (s speaker) Presets(ctx context.Context) ([]preset.Preset, error) { return s.a.allPresets(ctx) }

func (s speaker) Preset(ctx context.Context, name string) (preset.Preset, error) {
	return s.a.preset(ctx, name)
}

func (s speaker) AddPresets(ctx context.Context, presets []preset.Preset) ([]v1.Preset, error) {
	return s.a.addPresets(ctx, presets)
}

func (s speaker) ReplacePreset(ctx context.Context, name string, p preset.Preset) (v1.Preset, error) {
	return s.a.replacePreset(ctx, name, p)
}

func (s speaker) DeletePreset(ctx context.Context, name string) error {
	return s.a.deletePreset(ctx, name)
}

func (s speaker) MergePresets(ctx context.Context, in v1.PresetMerge) (v1.PresetMerged, error) {
	return s.a.mergePresets(ctx, in)
}
