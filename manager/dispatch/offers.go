package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/fleetune/fleetune/proto/wire"
	"github.com/fleetune/fleetune/shared/bus"
	"github.com/nats-io/nats.go/jetstream"
)

// offerTwice is the server's answer to an offer that is there already.
const offerTwice = 10077

// offer publishes the offers of queued experiments and hints at them. It
// returns when the server has stored them: a hint must not come before its
// offer. An offer that is lost all the same is repeated by the sweeper.
func (t *term) offer(ctx context.Context, r *run, entries []*entry) error {
	if len(entries) == 0 {
		return nil
	}
	queues := map[string]bool{}
	for _, e := range entries {
		if err := t.ensureQueue(ctx, e.class); err != nil {
			return err
		}
		// The priority is part of the name: a worker that serves the queue at
		// another one must ask for this one first.
		queues[wire.ConsumerName(e.class.queue.Name, e.class.queue.Priority)] = true
	}
	js := t.Bus.JetStream()
	futures := make([]jetstream.PubAckFuture, 0, len(entries))
	for _, e := range entries {
		data, err := json.Marshal(r.offer(e))
		if err != nil {
			return fmt.Errorf("encoding an offer: %w", err)
		}
		future, err := js.PublishAsync(wire.WorkSubject(e.class.queue.Name, e.class.queue.Priority, e.id), data)
		if err != nil {
			t.Log.Warn().Err(err).Msg("offer not published; the sweeper repeats it")
			break
		}
		futures = append(futures, future)
	}
	for _, future := range futures {
		select {
		case <-future.Ok():
			t.Metrics.offered.Inc()
		case err := <-future.Err():
			var api *jetstream.APIError
			if !errors.As(err, &api) || api.ErrorCode != offerTwice {
				t.Log.Warn().Err(err).Msg("offer not stored; the sweeper repeats it")
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for queue := range queues {
		if err := bus.Publish(t.Bus, wire.HintSubject(queue), wire.Hint{Queue: queue}); err != nil {
			t.Log.Debug().Err(err).Msg("hint lost, workers look from time to time")
		}
	}
	return nil
}

// withdraw purges the offers of experiments that must not be claimed now. A
// claim that comes all the same is refused by the store.
func (t *term) withdraw(ctx context.Context, entries []*entry) error {
	stream, err := t.Bus.JetStream().Stream(ctx, wire.StreamWork)
	if err != nil {
		return fmt.Errorf("withdrawing offers: %w", err)
	}
	for _, e := range entries {
		queue := e.class.queue
		if err := stream.Purge(ctx, jetstream.WithPurgeSubject(wire.WorkSubject(queue.Name, queue.Priority, e.id))); err != nil {
			return fmt.Errorf("withdrawing an offer: %w", err)
		}
	}
	return nil
}

// ensureQueue makes a queue known: to the bus as a consumer, and
// to workers through the answers to their beats.
func (t *term) ensureQueue(ctx context.Context, c *class) error {
	if c.ready {
		return nil
	}
	if err := bus.EnsureQueue(ctx, t.Bus.JetStream(), c.queue.Name, c.queue.Priority, min(bus.AckWait, t.Lease)); err != nil {
		return err
	}
	c.ready = true
	return nil
}
