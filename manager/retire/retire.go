// Package retire deletes tasks that have ended, whoever wants it: a user who
// names one, or the operator who keeps tasks for some time only. What a task
// measured is put among the tuning records first, which stay; its output goes
// before its rows, so that a deletion which breaks off is taken up again by
// asking once more.
package retire

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fleetune/fleetune/manager/records/keeper"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
)

const (
	// look is how often it is looked for tasks that are old enough.
	look = time.Hour
	// batch is how many are deleted then, at most.
	batch = 1000
)

// A Retirer deletes tasks.
type Retirer struct {
	Store *store.Store
	// JetStream holds what experiments wrote; nil where there is no bus.
	JetStream jetstream.JetStream
	Log       zerolog.Logger
}

// Weigh tells what goes with a task and what stays, and deletes nothing. The
// errors are those of the store's Deletable.
func (r Retirer) Weigh(ctx context.Context, id uuid.UUID) (store.Deletion, error) {
	d, err := r.Store.Deletable(ctx, id)
	if !errors.Is(err, store.ErrUnrecorded) {
		return d, err
	}
	t, err := r.Store.Task(ctx, id.String())
	if err != nil {
		return d, err
	}
	if err := keeper.Task(ctx, r.Store, t, r.Log); errors.Is(err, keeper.ErrEarly) {
		return d, fmt.Errorf("%w: %w", store.ErrUnrecorded, err)
	} else if err != nil {
		return d, err
	}
	return r.Store.Deletable(ctx, id)
}

// Delete deletes a task, with the output of its experiments.
func (r Retirer) Delete(ctx context.Context, id uuid.UUID, cause string) (store.Deletion, error) {
	d, err := r.Weigh(ctx, id)
	if err != nil {
		return d, err
	}
	if err := r.dropOutput(ctx, id); err != nil {
		return d, err
	}
	if d, err = r.Store.DeleteTask(ctx, id, cause); err != nil {
		return d, err
	}
	r.Log.Info().Str("task", d.Name).Stringer("id", id).Int("experiments", d.Experiments).Str("cause", cause).Msg("task deleted")
	return d, nil
}

// Replace deletes a task that has ended and puts another into its place.
func (r Retirer) Replace(ctx context.Context, id uuid.UUID, with store.NewTask) (store.Task, error) {
	if _, err := r.Weigh(ctx, id); err != nil {
		return store.Task{}, err
	}
	if err := r.dropOutput(ctx, id); err != nil {
		return store.Task{}, err
	}
	return r.Store.ReplaceTask(ctx, id, with, false)
}

// dropOutput purges what a task's experiments wrote. What a worker that was
// lost may still send ages with the stream.
func (r Retirer) dropOutput(ctx context.Context, id uuid.UUID) error {
	if r.JetStream == nil {
		return nil
	}
	ids, err := r.Store.ExperimentIDs(ctx, id)
	if err != nil {
		return err
	}
	own := make(map[string]bool, len(ids))
	for _, id := range ids {
		own[id.String()] = true
	}
	stream, err := r.JetStream.Stream(ctx, wire.StreamLogs)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil // a bus that was wiped holds no output
	}
	if err != nil {
		return fmt.Errorf("opening the log stream: %w", err)
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(wire.LogSubjects))
	if err != nil {
		return fmt.Errorf("reading the log stream: %w", err)
	}
	for subject := range info.State.Subjects {
		if !own[subject[strings.LastIndexByte(subject, '.')+1:]] {
			continue
		}
		if err := stream.Purge(ctx, jetstream.WithPurgeSubject(subject)); err != nil {
			return fmt.Errorf("deleting output: %w", err)
		}
	}
	return nil
}

// Run deletes tasks that ended longer than keep ago, until ctx ends. Several
// managers may do so at once.
func (r Retirer) Run(ctx context.Context, keep time.Duration) {
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for {
		if err := r.Once(ctx, keep); err != nil && ctx.Err() == nil {
			r.Log.Warn().Err(err).Msg("tasks that are no longer kept are not deleted yet")
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// Once deletes what is old enough now. A task that cannot be deleted yet is
// left for the next time, and keeps no other.
func (r Retirer) Once(ctx context.Context, keep time.Duration) error {
	ids, err := r.Store.EndedTasks(ctx, keep, batch)
	if err != nil {
		return err
	}
	var failed []error
	for _, id := range ids {
		_, err := r.Delete(ctx, id, "tasks are kept for "+days(keep))
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) { // another manager was quicker
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// days writes a duration as one says it: "90d", "36h0m0s".
func days(d time.Duration) string {
	if d > 0 && d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
	return d.String()
}
