package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/fleetune/fleetune/proto/bundle"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/worker/load"
	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/fleetune/fleetune/worker/load/play"
	"github.com/fleetune/fleetune/worker/load/report"
)

// A Fleet has workers that take shares of a load.
type Fleet interface {
	// Run orders a load and hears of its shares until each has ended.
	Run(ctx context.Context, o Order, l Listener) error
	// Cancel stops the shares of a load, which then tell what they have.
	Cancel(ctx context.Context, name string) error
}

// An Order asks a fleet for a load.
type Order struct {
	Name   string
	Load   task.Load
	Bundle []byte
	// Limit is how long the load may take, the wait for workers included.
	Limit             time.Duration
	Pool, Accelerator string
}

// A Listener hears of the shares of a load. Its errors end the load.
type Listener struct {
	// State is called whenever something changes, and about once a second.
	State func(start *time.Time, shares []load.Share) error
	// Part is called for each piece of a share's result, in order.
	Part func(share int, offset, size int64, data []byte) error
}

// fleetOptions say on which workers a load runs.
type fleetOptions struct {
	Workers     int           `json:"workers,omitempty"`
	Pool        string        `json:"worker_pool,omitempty"`
	Accelerator string        `json:"worker_accelerator,omitempty"`
	WorkersWait time.Duration `json:"-"`
	// Keep is how many requests each share hands over.
	Keep int `json:"-"`
}

func (o *fleetOptions) flags(f *pflag.FlagSet) {
	f.IntVar(&o.Workers, "workers", 0, "put the load on the server from so many workers of the fleet, together")
	f.StringVar(&o.Pool, "worker-pool", "", "pool of those workers")
	f.StringVar(&o.Accelerator, "worker-accelerator", "", "device that each leases for it: cpu, gpu, a vendor or part of a model name")
	durationVar(f, &o.WorkersWait, "workers-wait", time.Minute, time.Second, "how long to wait until all of them are free")
	f.IntVar(&o.Keep, "keep-requests", 0, "")
	_ = f.MarkHidden("keep-requests") // it is there, one line above; the command tells its shares
}

// mostKept is how many requests of a share are handed over with its result: so
// many lines are read and merged without taking a machine's memory.
const mostKept = 100_000

const (
	// spareTime is what a load may take beyond the time that it is asked to
	// send for: warm-up by count, slow replies, the wait for workers.
	spareTime = time.Hour
	// stopTime bounds the wait for partial results once a load is stopped.
	stopTime = 4 * time.Second
)

// here are the flags that stay with the command: they say what becomes of the
// result, or how often the load is run.
var here = []string{"workers", "worker-pool", "worker-accelerator", "workers-wait", "api-key-env", "dataset-cache", "header", "sweep", "search",
	"slo-attainment", "num-profile-runs", "confidence-level", "json", "csv", "html", "aiperf-dir", "export-level", "profile-export-prefix", "api-key", "requests", "ui", "dry-run", "preview"}

// arguments writes the options that differ from their defaults as flags.
func (o *options) arguments() []string {
	var now options
	set := pflag.NewFlagSet("bench", pflag.ContinueOnError)
	now.flags(set)
	now = *o
	var out []string
	set.VisitAll(func(f *pflag.Flag) {
		if slices.Contains(here, f.Name) || f.Value.String() == f.DefValue {
			return
		}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			for _, x := range list.GetSlice() {
				out = append(out, "--"+f.Name+"="+x)
			}
			return
		}
		out = append(out, "--"+f.Name+"="+f.Value.String())
	})
	return out
}

// order makes the order of the n-th run.
func (o *options) order(n int) (Order, error) {
	if len(o.Headers) > 0 {
		return Order{}, errors.New("--header does not go with --workers: headers may carry secrets, which must not be stored")
	}
	if o.TokenEnv != "" {
		return Order{}, errors.New("--dataset-token-env does not go with --workers: they do not share this environment")
	}
	if o.AIPerf != "" && o.Level == levelRaw {
		return Order{}, errors.New("--export-level raw does not go with --workers: all that was sent and received is more than their results may carry; records has a line for every request")
	}
	if o.Seamless {
		return Order{}, errors.New("--warmup-seamless does not go with --workers: the shares wait for each other between warm-up and profiling")
	}
	for share := range o.Workers {
		if _, err := o.share(share, o.Workers); err != nil {
			return Order{}, err
		}
	}
	sent := *o
	sent.Keep, sent.Public = 0, "" // its address is the input
	if o.Lines != "" || o.AIPerf != "" && o.Level != levelSummary {
		sent.Keep = mostKept
	}
	var err error
	if sent.Template, err = o.template(); err != nil { // the workers have no such file
		return Order{}, err
	}
	out := Order{Name: "bench-" + strings.ReplaceAll(play.NewID(), "-", "")[:12], Pool: o.Pool, Accelerator: o.Accelerator,
		Limit: o.Duration + o.WarmDuration + max(o.Grace, 0) + o.WorkersWait + spareTime}
	if o.InputFile == "" {
		sent.Seed += int64(n) // the server's prefix cache would know the prompts of the run before
	} else if err := out.pack(&sent); err != nil {
		return Order{}, err
	}
	out.Load.Shares, out.Load.Arguments, out.Load.APIKey = o.Workers, sent.arguments(), o.APIKeyEnv
	return out, nil
}

// pack takes the input along, when it is a file or a folder here. Anything
// else, such as a URL, is left to the workers.
func (o *Order) pack(sent *options) error {
	info, err := os.Stat(sent.InputFile)
	if err != nil {
		if strings.Contains(sent.InputFile, "://") {
			return nil
		}
		return fmt.Errorf("reading the input: %w", err)
	}
	dir, names := filepath.Dir(sent.InputFile), []string{filepath.Base(sent.InputFile)}
	if info.IsDir() {
		entries, err := os.ReadDir(sent.InputFile)
		if err != nil {
			return fmt.Errorf("reading the input: %w", err)
		}
		names = nil
		for _, e := range entries {
			if e.Type().IsRegular() {
				names = append(names, filepath.Base(sent.InputFile)+"/"+e.Name())
			}
		}
	}
	files := make([]task.File, len(names))
	for i, name := range names {
		files[i] = task.File{Path: name, Source: name}
	}
	if o.Bundle, _, err = bundle.Pack(dir, files); err != nil {
		if errors.Is(err, bundle.ErrTooLarge) {
			return fmt.Errorf("%w: with --workers the input travels to them; give a URL that they can load a larger one from", err)
		}
		return err
	}
	o.Load.Files, sent.InputFile = names, filepath.Base(sent.InputFile)
	return nil
}

// errNoWorkers says that a load found too few workers.
var errNoWorkers = errors.New("too few workers were free")

// errLost says that a report lacks what a share sent.
var errLost = errors.New("shares of the load were lost: the report is that of the others, who sent less than was asked for")

// together is a load that runs on workers.
type together struct {
	*session
	order   Order
	parts   map[int][]byte
	shares  []load.Share
	started bool
	cancel  func()
}

// fleetOnce runs the load on workers and merges what they measured.
func (s *session) fleetOnce(ctx context.Context, o *options) (*load.Result, error) {
	if s.fleet == nil {
		return nil, errors.New("--workers needs a manager, and this program knows none")
	}
	order, err := o.order(s.runs)
	if err != nil {
		return nil, err
	}
	s.runs++
	t := &together{session: s, order: order, parts: map[int][]byte{}}
	if err := t.run(ctx); err != nil && (!t.started || len(t.parts) == 0) {
		return nil, t.explain(err)
	}
	slos, err := metrics.ParseSLOs(o.Goodput)
	if err != nil {
		return nil, fmt.Errorf("--goodput: %w", err)
	}
	res, err := t.merge(slos, o.Slice)
	if err != nil {
		return nil, err
	}
	res.Cancelled = res.Cancelled || ctx.Err() != nil
	if res.Summary.Value(metrics.TagRequestCount) == 0 && res.Summary.Value(metrics.TagErrorCount) > 0 && !res.Cancelled {
		return res, load.ErrAllFailed
	}
	if t.lost() && !res.Cancelled {
		return res, errLost
	}
	return res, nil
}

// run orders the load and listens until it is over. When ctx ends, the shares
// are stopped and have a moment to tell what they measured.
func (t *together) run(ctx context.Context) error {
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	wait, noWorkers := context.WithTimeoutCause(ctx, t.WorkersWait, errNoWorkers)
	defer noWorkers()
	started := make(chan struct{})
	t.cancel = func() { close(started) }
	stopped := make(chan error, 1)
	go func() { stopped <- t.watch(ctx, wait, inner, started, cancel) }()
	err := t.fleet.Run(inner, t.order, Listener{State: t.state, Part: t.part})
	cancel()
	if why := <-stopped; why != nil {
		return why
	}
	if t.lost() {
		// What is left of the task would only wait for a worker.
		_ = t.fleet.Cancel(context.WithoutCancel(ctx), t.order.Name)
	}
	return err
}

// explain says which shares kept the load from starting.
func (t *together) explain(err error) error {
	if !errors.Is(err, errNoWorkers) {
		return err
	}
	var missing []string
	for i := range t.shares {
		if s := &t.shares[i]; s.State == "missing" || s.Reason != "" {
			missing = append(missing, s.String())
		}
	}
	return fmt.Errorf("%w: %s. fleetune workers shows who is there, and fleetune why %s what the load waited for", err, strings.Join(missing, "; "), t.order.Name)
}

// watch stops the load when the caller wants it to, or when it does not start
// in time. It returns why, or nil once the load is over.
func (t *together) watch(ctx, wait, over context.Context, started <-chan struct{}, giveUp func()) error {
	var why error
	select {
	case <-over.Done():
		return nil
	case <-started:
		select {
		case <-over.Done():
			return nil
		case <-ctx.Done():
			why = context.Cause(ctx)
		}
	case <-wait.Done():
		why = &exitError{exitInterrupted, errors.New("interrupted before the load began")}
		if errors.Is(context.Cause(wait), errNoWorkers) {
			why = fmt.Errorf("%w for %d shares within %v", errNoWorkers, t.order.Load.Shares, t.WorkersWait)
		}
		defer giveUp() // nobody has measured anything
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	if err := t.fleet.Cancel(stopping, t.order.Name); err != nil {
		why = errors.Join(why, fmt.Errorf("stopping the load: %w", err))
	}
	if !isClosed(started) {
		return why
	}
	select {
	case <-over.Done():
	case <-stopping.Done():
		giveUp()
	}
	return why
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// state shows where the shares stand.
func (t *together) state(start *time.Time, shares []load.Share) error {
	t.shares = shares
	if start != nil && !t.started {
		t.started = true
		t.cancel()
	}
	t.view.showShares(start, shares)
	return nil
}

func (t *together) part(share int, offset, _ int64, data []byte) error {
	if int64(len(t.parts[share])) != offset {
		return fmt.Errorf("a piece of share %d is missing", share)
	}
	t.parts[share] = append(t.parts[share], data...)
	return nil
}

func (t *together) lost() bool {
	return slices.ContainsFunc(t.shares, func(s load.Share) bool { return !s.Done })
}

// merge makes one result of the parts that came whole.
func (t *together) merge(slos []metrics.SLO, slice time.Duration) (*load.Result, error) {
	var parts []*load.Part
	var reasons []string
	for i := range t.shares {
		s := &t.shares[i]
		if !s.Done {
			reasons = append(reasons, s.String())
			continue
		}
		part, err := load.DecodePart(t.parts[s.Share])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s, err)
		}
		parts = append(parts, part)
	}
	if len(parts) == 0 {
		return nil, fmt.Errorf("no share of the load has a result: %s", strings.Join(reasons, "; "))
	}
	res, err := load.Merge(parts, slos, slice)
	if err != nil {
		return nil, err
	}
	res.Shares = t.shares
	return res, t.requests(parts)
}

// requests writes those that the shares handed over.
func (t *together) requests(parts []*load.Part) error {
	var all report.Merger
	left := 0
	for _, p := range parts {
		left += p.RequestsLeft
		if err := all.Add(p.Requests, p.Ahead); err != nil {
			return fmt.Errorf("reading what a share sent: %w", err)
		}
	}
	if left > 0 {
		t.notes = append(t.notes, fmt.Sprintf("the files of requests lack %d of them: they have the first %d of each share, and of one that was stopped none if they are many", left, mostKept))
	}
	return all.Write(t.files.requests...)
}
