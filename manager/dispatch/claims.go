package dispatch

import (
	"context"
	"encoding/json"
	"time"

	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/fleetune/fleetune/shared/bus"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"
)

// claimLimit bounds how many claims one statement grants.
const claimLimit = 1024

// An offer is left to a worker that has its model for at most so many
// deliveries, with so long between them. After that whoever asks gets it.
const (
	deferrals = 8
	deferral  = 250 * time.Millisecond
)

// A request is a claim message that waits for its answer.
type request struct {
	msg   *nats.Msg
	claim wire.Claim
}

// grantClaims answers claims. Those that arrive while a batch commits make
// the next batch, so a commit is shared by whatever load there is.
func (t *term) grantClaims(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for range committers {
		group.Go(func() error { return t.answerClaims(ctx) })
	}
	return group.Wait()
}

func (t *term) answerClaims(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case first := <-t.claims:
			batch := t.gather(first)
			if len(batch) == 0 {
				continue
			}
			if err := t.grant(ctx, batch); err != nil {
				for _, r := range batch {
					t.reply(r.msg, wire.ClaimReply{Version: wire.Version, Retry: "the manager could not decide; ask again"})
				}
				return err
			}
		}
	}
}

// gather takes the claims that wait, refusing those of unknown sessions.
func (t *term) gather(first *nats.Msg) []request {
	var batch []request
	for size, msg := 0, first; ; {
		var c wire.Claim
		switch err := json.Unmarshal(msg.Data, &c); {
		case err != nil || c.Worker != bus.Sender(msg.Subject):
			t.Log.Warn().Err(err).Str("subject", msg.Subject).Str("worker", c.Worker).Msg("not a claim of this worker")
		case !t.fleet.mayClaim(c.Worker, c.Session):
			t.reply(msg, wire.ClaimReply{Version: wire.Version, Retry: "this session is not known yet; beat first"})
		default:
			batch = append(batch, request{msg, c})
			size += len(c.Items)
		}
		if size >= claimLimit {
			return batch
		}
		select {
		case msg = <-t.claims:
		default:
			return batch
		}
	}
}

func (t *term) grant(ctx context.Context, batch []request) error {
	var claims []store.Claim
	later := map[uuid.UUID]bool{}
	for _, r := range batch {
		for _, item := range r.claim.Items {
			if item.Model != "" && item.Delivered <= deferrals && t.fleet.elsewhere(r.claim.Worker, item.Queue, item.Model) {
				later[item.ID] = true
				continue
			}
			claims = append(claims, store.Claim{
				ID: item.ID, Experiment: item.Experiment, Worker: r.claim.Worker, Session: r.claim.Session, Devices: item.Devices,
			})
		}
	}
	// A lease runs from before the commit: never longer than we promise.
	now := time.Now()
	granted, err := t.Store.Claim(ctx, claims)
	if err != nil {
		return err
	}
	t.Metrics.claimSeconds.Observe(time.Since(now).Seconds())
	t.Metrics.claimBatch.Observe(float64(len(claims)))
	t.fleet.granted(now, granted, claims)

	left := make([]claimed, 0, len(granted))
	for _, r := range batch {
		reply := wire.ClaimReply{Version: wire.Version, Grants: make([]wire.Grant, 0, len(r.claim.Items))}
		for _, item := range r.claim.Items {
			g, ok := granted[item.ID]
			if later[item.ID] {
				t.Metrics.deferred.Inc()
				reply.Grants = append(reply.Grants, wire.Grant{Experiment: item.Experiment, Later: deferral})
				continue
			}
			if !ok {
				t.Metrics.refused.Inc()
				reply.Grants = append(reply.Grants, wire.Grant{Experiment: item.Experiment, Refused: "it is no longer queued"})
				continue
			}
			t.Metrics.claimed.Inc()
			reply.Grants = append(reply.Grants, t.describe(ctx, g))
			left = append(left, claimed{g.Task, g.Experiment})
		}
		t.reply(r.msg, reply)
	}
	if len(left) > 0 {
		t.news.worked()
	}
	t.mail.haveBeenClaimed(left)
	return nil
}

// describe writes a grant with the attempt's budget: its own time-out, or what
// is left of the task's time if that is no more. Then the cause is the task's.
func (t *term) describe(ctx context.Context, g store.Granted) wire.Grant {
	grant := wire.Grant{Experiment: g.Experiment, Epoch: g.Epoch, Attempt: g.Attempt}
	spec, err := t.specs.get(ctx, g.Task)
	if err != nil {
		t.Log.Error().Err(err).Msg("a claimed experiment's task cannot be read")
		return grant
	}
	grant.Budget = spec.AttemptTime(g.Purpose == experiment.Confirm)
	if g.Left == nil {
		return grant
	}
	grant.Left = max(*g.Left, time.Millisecond)
	if grant.Left <= grant.Budget {
		grant.Budget, grant.Total = grant.Left, true
	}
	return grant
}
