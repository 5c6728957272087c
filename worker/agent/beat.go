package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/fleetune/fleetune/proto/wire"
	"github.com/fleetune/fleetune/shared/bus"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
)

// errLeft ends the loops of a worker that has drained.
var errLeft = errors.New("drained")

// subscribe listens to what concerns this worker.
func (a *Agent) subscribe() ([]*nats.Subscription, error) {
	conn := a.Bus.Conn()
	control, err := conn.Subscribe(wire.ControlSubject(a.Node.Worker), a.handleControl)
	if err != nil {
		return nil, fmt.Errorf("listening to the manager: %w", err)
	}
	hints, err := conn.Subscribe(wire.HintSubjects, a.handleHint)
	if err != nil {
		return nil, fmt.Errorf("listening to hints: %w", err)
	}
	return []*nats.Subscription{control, hints}, nil
}

func (a *Agent) handleControl(m *nats.Msg) {
	var c wire.Control
	if err := json.Unmarshal(m.Data, &c); err != nil {
		a.Log.Warn().Err(err).Msg("unreadable control message")
		return
	}
	if c.Confirm != nil {
		a.confirm(c.Confirm.Reports)
	}
	a.cancel(c.Cancel)
	for _, e := range c.Enough {
		a.enough(e)
	}
	if c.Beat {
		a.beatNow()
	}
}

// handleHint looks for work; a queue that is not known yet comes with the
// answer to the next beat.
func (a *Agent) handleHint(m *nats.Msg) {
	queue := bus.Sender(m.Subject)
	a.mu.Lock()
	known := false
	for _, q := range a.queues {
		known = known || wire.ConsumerName(q.Name, q.Priority) == queue
	}
	a.mu.Unlock()
	if known {
		a.lookAround()
	} else {
		a.beatNow()
	}
}

// beat tells the manager what this worker is and holds, and renews its leases.
func (a *Agent) beat(ctx context.Context) error {
	for sequence := uint64(1); ; sequence++ {
		every, err := a.beatOnce(ctx, sequence, false)
		switch {
		case errors.Is(err, ErrSuperseded):
			return err
		case err != nil && ctx.Err() == nil:
			a.Log.Debug().Err(err).Msg("beat not answered")
			every = min(every, time.Second)
		}
		if a.doneDraining() {
			return errLeft
		}
		timer := time.NewTimer(every)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		case <-a.poke:
			timer.Stop()
		}
	}
}

// beatOnce sends one beat and takes in the answer.
func (a *Agent) beatOnce(ctx context.Context, sequence uint64, leaving bool) (every time.Duration, err error) {
	beat := wire.Beat{Version: wire.Version, Worker: a.Node.Worker, Session: a.session, Sequence: sequence, Node: a.Node, Leaving: leaving}
	beat.Node.Devices = a.Semaphore.Devices()
	if a.Models != nil {
		beat.Node.Models = a.Models()
	}
	a.mu.Lock()
	beat.Held, beat.Draining, beat.Trouble = a.heldLocked(), a.drainingLocked(), a.trouble
	every = a.every
	a.mu.Unlock()

	sent := time.Now()
	ctx, cancel := context.WithTimeout(ctx, max(every, time.Second))
	defer cancel()
	reply, err := bus.Request[wire.BeatReply](ctx, a.Bus, wire.BeatSubject(a.Node.Worker), beat)
	if errors.Is(err, nats.ErrNoResponders) {
		// The bus answered for a manager that is not there. Whoever leads next
		// gives every attempt a full lease, so ours are safe from now on.
		a.mu.Lock()
		a.renewed = sent
		a.mu.Unlock()
		return every, err
	}
	if err != nil {
		return every, err
	}
	if reply.Superseded {
		return every, ErrSuperseded
	}
	a.mu.Lock()
	a.renewed, a.lease, a.every = sent, reply.Lease, reply.Every
	a.queues, a.hold = reply.Queues, reply.Hold
	a.asked = reply.Drain
	a.mu.Unlock()
	a.Semaphore.Hold(reply.Hold)
	a.lose(reply.Lost)
	a.cancel(reply.Cancel)
	a.lookAround()
	return reply.Every, nil
}

// heldLocked lists attempts that run and results that are not confirmed.
func (a *Agent) heldLocked() []wire.Held {
	held := make([]wire.Held, 0, len(a.attempts)+len(a.reports))
	for _, at := range a.attempts {
		held = append(held, wire.Held{Experiment: at.offer.Experiment, Epoch: at.grant.Epoch, Phase: at.phase, Detail: at.detail, Devices: at.devices})
	}
	for _, r := range a.reports {
		held = append(held, wire.Held{Experiment: r.Experiment, Epoch: r.Epoch, Phase: "reporting"})
	}
	return held
}

// doneDraining says that a draining worker may leave: nothing runs, and every
// result is confirmed, or at least in the spool while nobody confirms it. The
// next session hands it in.
func (a *Agent) doneDraining() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.drainingLocked() || len(a.attempts) > 0 {
		return false
	}
	for _, r := range a.reports {
		if !r.safe || time.Since(r.sentAt) < handInTime {
			return false
		}
	}
	return true
}

// handInTime is how long a draining worker waits for a confirmation.
const handInTime = 2 * time.Second

// lose stops attempts that are no longer ours, and forgets results that were
// refused: the manager keeps what it knows of them.
func (a *Agent) lose(lost []wire.Held) {
	for _, l := range lost {
		a.mu.Lock()
		at := a.attempts[l.Experiment]
		a.mu.Unlock()
		if at != nil && at.grant.Epoch == l.Epoch {
			a.Log.Warn().Stringer("experiment", l.Experiment).Int64("epoch", l.Epoch).Msg("lease lost, stopping the attempt")
			at.stop(errLeaseLost)
		}
	}
}

// cancel stops attempts whose task was cancelled.
func (a *Agent) cancel(ids []uuid.UUID) {
	for _, id := range ids {
		a.mu.Lock()
		at := a.attempts[id]
		a.mu.Unlock()
		if at != nil {
			at.stop(errCancelled)
		}
	}
}

func (a *Agent) stopAll(cause error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, at := range a.attempts {
		at.stop(cause)
	}
}

// fence stops every attempt before its lease can be given to another worker:
// when no beat was answered for so long that only the time to kill is left.
func (a *Agent) fence(ctx context.Context) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		a.mu.Lock()
		over := len(a.attempts) > 0 && time.Since(a.renewed) > a.lease-min(killTime, a.lease/3)
		a.mu.Unlock()
		if over {
			a.Log.Error().Msg("the manager is out of reach for a whole lease; stopping what runs")
			a.stopAll(errHandedBack)
		}
	}
}

// farewell tells the manager that nothing is held any more, if it can be told.
func (a *Agent) farewell() {
	a.mu.Lock()
	a.leaving = true
	a.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	a.settle(ctx)
	if _, err := a.beatOnce(ctx, 0, true); err != nil {
		a.Log.Debug().Err(err).Msg("left without saying goodbye; the lease runs out by itself")
	}
}
