package dispatch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fleetune/fleetune/manager/place"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/fleetune/fleetune/shared/bus"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// sweepEvery is how often leases are looked at.
	sweepEvery = 500 * time.Millisecond
	// followEvery is how often the road is compared with the truth.
	followEvery = 3 * time.Second
	// settle is how long a queued row may be without an offer before it is
	// offered again: it may just be on its way.
	settle = 2 * time.Second
	// eventAge is how long events are kept for watchers that come back.
	eventAge = 7 * 24 * time.Hour
)

// sweep takes back what fell silent. It does nothing else, so that whatever
// makes it late also kept beats from being heard.
func (t *term) sweep(ctx context.Context) error {
	last := time.Now()
	for pause(ctx, sweepEvery) {
		now := time.Now()
		if stall := now.Sub(last) - sweepEvery; stall > 2*sweepEvery {
			// We stood still: beats wait unread, so no silence is proven.
			t.Log.Warn().Dur("stall", stall).Msg("this manager stood still; leases are extended")
			t.Metrics.sweepStall.Inc()
			t.fleet.extend(stall)
		}
		last = now
		if err := t.takeBack(ctx, now); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// keepOrder makes the road follow the truth, and forgets old events.
func (t *term) keepOrder(ctx context.Context) error {
	trimmed := time.Now()
	orphans := map[string]bool{}
	for pause(ctx, followEvery) {
		if err := t.follow(ctx, &orphans); err != nil {
			return err
		}
		if time.Since(trimmed) >= time.Hour {
			trimmed = time.Now()
			if err := t.Store.TrimEvents(ctx, eventAge); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// takeBack queues experiments again whose lease ran out.
func (t *term) takeBack(ctx context.Context, now time.Time) error {
	lost, silent := t.fleet.expired(now)
	if silent {
		t.mail.fleetChanged()
	}
	if len(lost) == 0 {
		return nil
	}
	taken, err := t.Store.Requeue(ctx, t.number, lost, t.MaxLosses)
	if err != nil {
		return err
	}
	for _, l := range lost {
		t.fleet.ended(l.Experiment, l.Epoch)
	}
	t.news.worked()
	var again []requeued
	for _, r := range taken {
		t.Metrics.requeued.Inc()
		t.Log.Warn().Stringer("experiment", r.Experiment).Str("now", r.State).Msg("lease ran out")
		if r.State == "queued" {
			again = append(again, requeued{r.Task, r.Experiment, r.Number})
		} else {
			t.mail.rowsChanged(r.Task)
		}
	}
	t.mail.haveRequeued(again)
	return nil
}

// follow compares the offers on the bus with the queued rows: what is missing
// is offered again, what nobody may claim is purged. A store that was wiped is
// filled again this way.
func (t *term) follow(ctx context.Context, orphans *map[string]bool) error {
	if !t.Bus.Connected() {
		return nil // nothing to compare with; the next round will do
	}
	offered, err := t.offered(ctx)
	if err != nil {
		if ctx.Err() == nil {
			t.Log.Warn().Err(err).Msg("reading the offers, trying again")
			return nil
		}
		return ctx.Err()
	}
	ids := make([]uuid.UUID, 0, len(offered))
	for id := range offered {
		ids = append(ids, id)
	}
	queued, err := t.Store.QueuedNow(ctx, ids, settle)
	if err != nil {
		return err
	}
	// An offer whose row is not queued may be in the hands of a worker that is
	// about to acknowledge it; one seen twice is not.
	seen := map[string]bool{}
	stream, err := t.Bus.JetStream().Stream(ctx, wire.StreamWork)
	if err != nil {
		t.Log.Debug().Err(err).Msg("looking for the stream of offers, trying again")
		return nil
	}
	for id, subject := range offered {
		if queued.Offered[id] {
			continue
		}
		if seen[subject] = true; (*orphans)[subject] {
			if err := stream.Purge(ctx, jetstream.WithPurgeSubject(subject)); err == nil {
				t.Metrics.purged.Inc()
			}
		}
	}
	*orphans = seen
	t.Metrics.reoffered.Add(float64(len(queued.Missing)))
	var again []requeued
	for _, m := range queued.Missing {
		again = append(again, requeued{m.Task, m.ID, m.Number})
	}
	if len(again) > 0 {
		t.mail.haveRequeued(again)
	}
	t.setHolds(ctx)
	return nil
}

// offered returns the subjects of all offers by experiment, making the streams
// anew if they are gone.
func (t *term) offered(ctx context.Context) (map[uuid.UUID]string, error) {
	js := t.Bus.JetStream()
	stream, err := js.Stream(ctx, wire.StreamWork)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Log.Warn().Msg("the bus has lost its streams; making them anew")
		if err := bus.Ensure(ctx, js, bus.Limits{}); err != nil {
			return nil, err
		}
		t.mail.storeWiped()
		return map[uuid.UUID]string{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the work stream: %w", err)
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(wire.WorkSubjects))
	if err != nil {
		return nil, fmt.Errorf("reading the work stream: %w", err)
	}
	offered := make(map[uuid.UUID]string, len(info.State.Subjects))
	for subject := range info.State.Subjects {
		if id, err := uuid.Parse(subject[strings.LastIndexByte(subject, '.')+1:]); err == nil {
			offered[id] = subject
		}
	}
	return offered, nil
}

// setHolds asks one worker each to keep devices back for large requests that
// have waited for long. Nobody holds back while work of a higher priority
// waits as well.
func (t *term) setHolds(ctx context.Context) {
	starving, err := t.Store.Starving(ctx, 5*time.Second)
	if err != nil {
		t.Log.Debug().Err(err).Msg("looking for large requests that wait")
		return
	}
	var needs []node.Requirements
	for _, s := range starving {
		if need := place.Need(s.Task, s.Parameters); need.Devices > 1 {
			needs = append(needs, need)
		}
	}
	t.fleet.setHolds(needs)
}
