package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/worker/load"
	"github.com/fleetune/fleetune/worker/load/conversation"
	"github.com/fleetune/fleetune/worker/load/drive"
	"github.com/fleetune/fleetune/worker/load/pace"
)

// SharePlan works out what one share of a load sends: the whole load's
// arguments, cut down to the share. Shares differ in their seeds and in what
// they play of an input, so that together they send what one process would.
func SharePlan(ctx context.Context, l task.Load, share int, dir, key string) (*load.Plan, error) {
	o := &options{}
	set := pflag.NewFlagSet("bench", pflag.ContinueOnError)
	o.flags(set)
	if err := set.Parse(l.Arguments); err != nil {
		return nil, fmt.Errorf("reading the load's arguments: %w", err)
	}
	if set.NArg() > 0 || o.APIKeyEnv != "" || o.TokenEnv != "" || len(o.Headers) > 0 {
		return nil, errors.New("reading the load's arguments: they hold what a share does not take")
	}
	if len(l.Files) > 0 {
		o.InputFile = filepath.Join(dir, filepath.FromSlash(o.InputFile))
	}
	if err := o.validate(); err != nil {
		return nil, err
	}
	part, err := o.share(share, l.Shares)
	if err != nil {
		return nil, err
	}
	w, err := part.workload(ctx)
	if err != nil {
		return nil, err
	}
	if w.file != nil {
		if err := part.deal(w, share, l.Shares); err != nil {
			return nil, err
		}
	}
	plan, err := part.plan(w, 0)
	if err != nil {
		return nil, err
	}
	plan.Target.APIKey, plan.KeepRequests = key, part.Keep
	if share > 0 {
		plan.ServerMetrics, plan.GPUTelemetry = "", "" // one look at the server is enough
	}
	if plan.Agentic != nil {
		plan.Agentic.Benchmark = fmt.Sprintf("%s-%d", plan.Agentic.Benchmark, share)
	}
	if s := plan.Profile.Shape; s.Kind == drive.Open && s.Arrival == pace.Constant {
		// Shares take turns, so that together their gaps are constant as well.
		plan.Lead = time.Duration(float64(share) / o.Rate * float64(time.Second))
	}
	return plan, nil
}

// share cuts a load down to one share of n. Whole numbers are dealt out as
// evenly as they can be, the first shares taking what is left over.
func (o *options) share(share, n int) (*options, error) {
	part := *o
	deal := func(total int) int {
		out := total / n
		if share < total%n {
			out++
		}
		return out
	}
	for name, v := range map[string]*int{
		"concurrency": &part.Concurrency, "prefill-concurrency": &part.Prefill, "request-count": &part.Requests,
		"num-sessions": &part.Sessions, "num-users": &part.Users, "warmup-concurrency": &part.WarmConcurrency, "warmup-prefill-concurrency": &part.WarmPrefill,
	} {
		if *v > 0 && *v < n {
			return nil, fmt.Errorf("--%s %d cannot be shared out to %d workers", name, *v, n)
		}
		*v = deal(*v)
	}
	if o.WarmRequests > 0 {
		part.WarmRequests = max(1, deal(o.WarmRequests))
	}
	if o.WarmSessions > 0 {
		part.WarmSessions = max(1, deal(o.WarmSessions))
	}
	part.WarmRate = o.WarmRate / float64(n)
	users := 1 / float64(n)
	if o.Users > 0 {
		users = float64(part.Users) / float64(o.Users)
	}
	part.Rate, part.UserRate = o.Rate/float64(n), o.UserRate*users
	if o.closed() && o.Concurrency == 0 {
		part.Concurrency = 1
	}
	if o.InputFile == "" {
		part.Seed = int64(conversation.Seed(o.Seed, "share", fmt.Sprint(share)) >> 1)
	}
	return &part, nil
}

// closed says that the load is a closed loop.
func (o *options) closed() bool { return o.shape().Kind == drive.Closed }

// deal leaves every n-th entry of the input to this share.
func (o *options) deal(w *workload, share, n int) error {
	if o.Schedule && o.AutoOffset && o.From == 0 {
		// All shares count from the first entry of the whole input.
		if first, ok := firstInstant(w.list); ok {
			o.From, o.AutoOffset = first, false
		}
	}
	if w.trees() {
		if len(w.file.Trees) < n {
			return fmt.Errorf("%d traces cannot be shared out to %d workers", len(w.file.Trees), n)
		}
		w.file.Trees = everyNth(w.file.Trees, share, n)
		return nil
	}
	w.list = everyNth(w.list, share, n)
	if len(w.list) == 0 {
		return fmt.Errorf("the input has fewer entries than the load has shares, %d", n)
	}
	w.file.Conversations = w.list
	order, err := conversation.ParseOrder(o.Order)
	if err != nil {
		return err
	}
	w.source = func(int) (conversation.Source, error) {
		return conversation.NewDataset(w.list, order, int64(conversation.Seed(o.Seed, "share", fmt.Sprint(share))>>1))
	}
	return nil
}

func firstInstant(list []*conversation.Conversation) (first time.Duration, ok bool) {
	for _, c := range list {
		if len(c.Turns) == 0 || c.Turns[0].At == nil {
			continue
		}
		if at := *c.Turns[0].At; !ok || at < first {
			first, ok = at, true
		}
	}
	return first, ok
}

func everyNth[T any](in []T, at, n int) []T {
	var out []T
	for ; at < len(in); at += n {
		out = append(out, in[at])
	}
	return out
}
