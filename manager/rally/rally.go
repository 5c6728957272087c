// Package rally brings the shares of a load together: it waits until each has
// a worker, names one instant at which all start, watches that they live, and
// passes their results on to whoever asked for the load. It knows nothing of
// what a share does. Its state lives as long as its one reader: the shares of
// a load that nobody reads stop by themselves.
package rally

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/fleetune/fleetune/shared/bus"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
)

// A Reader takes in what happens to a load. An error ends the rally.
type Reader interface {
	State(s v1.LoadState) error
	Part(p v1.LoadPart) error
}

const (
	// lookEvery is how often shares are looked at, tellEvery how often the
	// reader is told of their progress.
	lookEvery = 250 * time.Millisecond
	tellEvery = time.Second
	// inbox is how many calls may wait.
	inbox = 4096
)

// Gather gathers the shares of a load until each has ended, or ctx ends.
func Gather(ctx context.Context, conn *nats.Conn, load uuid.UUID, shares int, reader Reader, log zerolog.Logger) error {
	calls := make(chan *nats.Msg, inbox)
	sub, err := conn.ChanSubscribe(wire.GatherSubject(load), calls)
	if err != nil {
		return fmt.Errorf("listening for the shares of a load: %w", err)
	}
	defer func() {
		if err := sub.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
			log.Debug().Err(err).Msg("unsubscribing from a load")
		}
	}()
	g := newGathering(shares)
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	if err := reader.State(g.state()); err != nil {
		return err
	}
	told := time.Now()
	for !g.over() {
		select {
		case m := <-calls:
			if err := answer(g, m, reader, log); err != nil {
				return err
			}
			continue // what waits is read before anyone is called lost
		default:
		}
		select {
		case m := <-calls:
			if err := answer(g, m, reader, log); err != nil {
				return err
			}
		case <-look.C:
			if changed := g.look(time.Now()); changed || time.Since(told) >= tellEvery {
				told = time.Now()
				if err := reader.State(g.state()); err != nil {
					return err
				}
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return reader.State(g.state())
}

// answer answers one call. What is passed on is passed on before the share
// hears that it arrived.
func answer(g *gathering, m *nats.Msg, reader Reader, log zerolog.Logger) error {
	now := time.Now()
	var c wire.LoadCall
	if err := json.Unmarshal(m.Data, &c); err != nil || c.Worker != bus.Sender(m.Subject) {
		log.Warn().Err(err).Str("subject", m.Subject).Msg("not a call of this worker's share")
		return nil
	}
	reply, part := g.take(now, c)
	if part != nil {
		if err := reader.Part(*part); err != nil {
			return err
		}
	}
	reply.Version, reply.Now = wire.Version, time.Now().UnixNano()
	if err := bus.Reply(m, reply); err != nil {
		log.Debug().Err(err).Str("subject", m.Subject).Msg("answer lost, the share calls again")
	}
	return nil
}
