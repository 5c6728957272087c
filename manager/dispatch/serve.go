package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/fleetune/fleetune/shared/bus"
	"github.com/nats-io/nats.go"
)

// bundlePart is how much of a bundle one answer carries, below the bus's
// largest message once it is written as base64.
const bundlePart = 512 << 10

// serve answers workers' beats, claims and requests for bundles.
func (t *term) serve(ctx context.Context) error {
	conn := t.Bus.Conn()
	for subject, handle := range map[string]nats.MsgHandler{
		wire.BeatSubjects:     func(m *nats.Msg) { t.handleBeat(m) },
		wire.ClaimSubjects:    func(m *nats.Msg) { t.handleClaim(ctx, m) },
		wire.ProgressSubjects: func(m *nats.Msg) { t.handleProgress(m) },
		wire.FetchSubjects:    func(m *nats.Msg) { t.handleFetch(ctx, m) },
	} {
		sub, err := conn.Subscribe(subject, handle)
		if err != nil {
			return fmt.Errorf("listening on %s: %w", subject, err)
		}
		defer func() { //nolint:gocritic // four in all, for as long as this runs
			if err := sub.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
				t.Log.Debug().Err(err).Str("subject", subject).Msg("unsubscribing")
			}
		}()
	}
	<-ctx.Done()
	return ctx.Err()
}

func (t *term) handleBeat(m *nats.Msg) {
	var b wire.Beat
	if err := json.Unmarshal(m.Data, &b); err != nil || b.Worker != bus.Sender(m.Subject) {
		t.Log.Warn().Err(err).Str("subject", m.Subject).Str("worker", b.Worker).Msg("not a beat of this worker")
		return
	}
	reply, changed := t.fleet.beat(time.Now(), b)
	if changed {
		t.mail.fleetChanged()
	}
	t.reply(m, reply)
}

func (t *term) handleClaim(ctx context.Context, m *nats.Msg) {
	select {
	case t.claims <- m:
	case <-ctx.Done():
	}
}

func (t *term) handleFetch(ctx context.Context, m *nats.Msg) {
	var f wire.Fetch
	if err := json.Unmarshal(m.Data, &f); err != nil {
		t.Log.Warn().Err(err).Str("subject", m.Subject).Msg("not a fetch")
		return
	}
	var reply wire.FetchReply
	data, size, err := t.Store.Bundle(ctx, f.Digest, f.Offset, bundlePart)
	switch {
	case errors.Is(err, store.ErrNotFound):
		reply.Error = "no such bundle"
	case err != nil:
		t.Log.Warn().Err(err).Str("digest", f.Digest).Msg("reading a bundle")
		return // the worker asks again
	default:
		reply.Data, reply.Size = data, size
	}
	t.reply(m, reply)
}

func (t *term) reply(m *nats.Msg, v any) {
	if err := bus.Reply(m, v); err != nil {
		t.Log.Debug().Err(err).Str("subject", m.Subject).Msg("answer lost, the worker asks again")
	}
}

// flushWorkers writes what beats have told, once a second and together.
func (t *term) flushWorkers(ctx context.Context) error {
	for pause(ctx, time.Second) {
		if err := t.saveWorkers(ctx); err != nil {
			return err
		}
		online, devices := t.fleet.size()
		t.Metrics.workers.Set(float64(online))
		t.Metrics.capacity.Set(float64(devices))
	}
	return ctx.Err()
}

func (t *term) saveWorkers(ctx context.Context) error {
	workers := t.fleet.takeChanged()
	if len(workers) == 0 {
		return nil
	}
	return t.Store.SaveWorkers(ctx, workers)
}
