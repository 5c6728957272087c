package agent

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/fleetune/fleetune/proto/wire"
	"github.com/fleetune/fleetune/shared/bus"
	"github.com/fleetune/fleetune/worker/device"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
)

const (
	// lookEvery bounds how long a lost hint delays an offer.
	lookEvery = time.Second
	// claimTime bounds one try of a claim, claimFor all tries together: after
	// that a granted claim's lease is not ours to use any more.
	claimTime = 2 * time.Second
	claimFor  = 10 * time.Second
)

// work fetches offers whenever there may be some and devices are free. A hint
// may overtake its offer inside the server, or get lost; so after anything
// that promised work it looks again soon, and then ever more seldom.
func (a *Agent) work(ctx context.Context) error {
	const soon = 5 * time.Millisecond
	again := soon
	timer := time.NewTimer(again)
	defer timer.Stop()
	for {
		freed := a.Semaphore.Changed()
		for a.fetchRound(ctx) {
			again = soon
		}
		timer.Reset(again)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-a.wake:
			again = soon
		case <-freed:
			again = soon
		case <-timer.C:
			again = min(5*again, lookEvery)
		}
	}
}

// fetchRound looks into every queue once, in the manager's order, and says
// whether any had an offer.
func (a *Agent) fetchRound(ctx context.Context) (found bool) {
	a.mu.Lock()
	queues, hold := a.queues, a.hold
	idle := a.drainingLocked() || a.trouble != ""
	a.mu.Unlock()
	if idle || ctx.Err() != nil {
		return false
	}
	for _, q := range queues {
		if q.Requirements.Devices < hold || a.rests(q.Name) {
			continue
		}
		places := a.places(q)
		if len(places) == 0 {
			continue
		}
		key := wire.ConsumerName(q.Name, q.Priority)
		messages, err := a.fetcher.Fetch(ctx, key, len(places), 0)
		if err != nil {
			a.Log.Debug().Err(err).Str("queue", q.Name).Msg("fetching offers")
		}
		// Where there was plenty there may be more; leasing every free device
		// for a queue that has one offer would be wasted.
		a.batch[key] = max(2*len(messages), 4)
		if len(messages) > 0 {
			found = true
			a.running.Go(func() { a.claim(ctx, messages, places) })
		} else {
			giveBack(places)
		}
	}
	return found
}

// A place is room for one attempt: its devices, or a permit to stage.
type place struct {
	lease *device.Lease
	slots chan struct{} // holds the permit
}

func (p place) release() {
	if p.lease != nil {
		p.lease.Release() // the semaphore tells that they are free
	}
	p.leave()
}

// leave gives the permit back, if the place is one.
func (p place) leave() {
	if p.slots != nil {
		<-p.slots
	}
}

// giveBack returns places that nothing was found for. It wakes nobody: that
// would only look again, and find nothing again.
func giveBack(places []place) {
	for _, p := range places {
		if p.lease != nil {
			p.lease.Return()
		}
		p.leave()
	}
}

func release(places []place) {
	for _, p := range places {
		p.release()
	}
}

// places takes what is free for a queue's experiments: leases first, since
// whoever has them may claim; staged experiments lease theirs after the build.
func (a *Agent) places(q wire.Queue) []place {
	var places []place
	if !q.Staged {
		for _, lease := range a.Semaphore.TryAcquire(q.Requirements, max(a.batch[wire.ConsumerName(q.Name, q.Priority)], 4)) {
			places = append(places, place{lease: lease})
		}
		return places
	}
	for {
		select {
		case a.slots <- struct{}{}:
			places = append(places, place{slots: a.slots})
		default:
			return places
		}
	}
}

// claim asks the manager for the experiments whose offers were fetched and
// starts those that are granted. Either answer settles the offer; one that the
// manager wants another worker to have first goes back.
func (a *Agent) claim(ctx context.Context, messages []*nats.Msg, places []place) {
	c := wire.Claim{Version: wire.Version, Worker: a.Node.Worker, Session: a.session}
	offers := make([]wire.Offer, 0, len(messages))
	held := make([]*nats.Msg, 0, len(messages))
	for _, m := range messages {
		var o wire.Offer
		if err := json.Unmarshal(m.Data, &o); err != nil || a.Kinds[o.Kind] == nil || len(offers) == len(places) {
			a.Log.Warn().Err(err).Str("subject", m.Subject).Str("kind", o.Kind).Msg("offer left to others")
			_ = m.NakWithDelay(time.Second) // if this is lost, AckWait brings it back
			continue
		}
		if a.shares(o) {
			a.rest(o.Queue)
			_ = m.NakWithDelay(shareDelay) // if this is lost, AckWait brings it back
			continue
		}
		item := wire.ClaimItem{ID: uuid.New(), Experiment: o.Experiment, Queue: o.Queue, Model: o.Model}
		if meta, err := m.Metadata(); err == nil {
			item.Delivered = meta.NumDelivered
		}
		if lease := places[len(offers)].lease; lease != nil {
			item.Devices = lease.IDs()
		}
		c.Items = append(c.Items, item)
		offers, held = append(offers, o), append(held, m)
	}
	giveBack(places[len(offers):])
	places = places[:len(offers)]
	if len(offers) == 0 {
		return
	}
	defer a.settled(offers)
	reply, err := a.ask(ctx, c)
	if err != nil || len(reply.Grants) != len(offers) {
		// Granted or not, we do not know. If granted, our next beat does not
		// list it and its lease runs out; if not, the offer comes again.
		a.Log.Warn().Err(err).Int("offers", len(offers)).Msg("claim not answered")
		release(places)
		for _, m := range held {
			_ = m.Nak()
		}
		return
	}
	a.faultPoint("after-claim")
	for i, grant := range reply.Grants {
		if grant.Later > 0 {
			_ = held[i].NakWithDelay(grant.Later) // if this is lost, AckWait brings it back
			giveBack(places[i : i+1])
			continue
		}
		_ = held[i].Ack() // a lost acknowledgement brings an offer that is refused
		if grant.Refused != "" {
			places[i].release()
			continue
		}
		a.start(ctx, offers[i], grant, places[i])
	}
}

// ask sends a claim until the manager decides. Its items carry ids, so asking
// again is harmless.
func (a *Agent) ask(ctx context.Context, c wire.Claim) (wire.ClaimReply, error) {
	ctx, cancel := context.WithTimeout(ctx, claimFor)
	defer cancel()
	for {
		try, stop := context.WithTimeout(ctx, claimTime)
		reply, err := bus.Request[wire.ClaimReply](try, a.Bus, wire.ClaimSubject(a.Node.Worker), c)
		stop()
		switch {
		case err == nil && reply.Retry == "":
			return reply, nil
		case err == nil:
			err = errors.New(reply.Retry)
			a.beatNow()
		}
		timer := time.NewTimer(100 * time.Millisecond)
		select {
		case <-ctx.Done():
			timer.Stop()
			return wire.ClaimReply{}, err
		case <-timer.C:
		}
	}
}
