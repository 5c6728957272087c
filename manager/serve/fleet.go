package serve

import (
	"context"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/cli"
	"github.com/fleetune/fleetune/worker/bench"
	"github.com/fleetune/fleetune/worker/load"
)

// Fleet is the fleet of the manager that the environment names, as the bench
// command wants it: workers that put a load on a server together.
type Fleet struct{ Getenv func(string) string }

var _ bench.Fleet = Fleet{}

// Run orders a load and hears of its shares until each has ended.
func (f Fleet) Run(ctx context.Context, o bench.Order, l bench.Listener) error {
	c, err := cli.Dial(f.Getenv)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.OrderLoad(ctx, v1.LoadOrder{Name: o.Name, Load: o.Load, Seconds: o.Limit.Seconds(), Pool: o.Pool,
		Accelerator: o.Accelerator, Bundle: o.Bundle}); err != nil {
		return err
	}
	return c.GatherLoad(ctx, o.Name, func(s v1.LoadState) error {
		return l.State(s.Start, sharesOf(s))
	}, func(p v1.LoadPart) error {
		return l.Part(p.Share, p.Offset, p.Size, p.Data)
	})
}

// Cancel stops the shares of a load.
func (f Fleet) Cancel(ctx context.Context, name string) error {
	c, err := cli.Dial(f.Getenv)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Cancel(ctx, name, "the load was stopped")
	return err
}

func sharesOf(s v1.LoadState) []load.Share {
	out := make([]load.Share, len(s.Shares))
	for i, x := range s.Shares {
		out[i] = load.Share{
			Share: x.Share, Worker: x.Worker, State: x.State, Reason: x.Reason, Done: x.State == v1.ShareDone,
			ClockError: max(0, x.ClockError), Drift: x.Drift, Late: max(0, x.Late),
			Requests: x.Done, Failed: x.Failed, InFlight: x.InFlight, Tokens: x.Tokens,
		}
	}
	return out
}
