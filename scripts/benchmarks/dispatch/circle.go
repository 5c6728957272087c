package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/shared/bus"
	"github.com/fleetune/fleetune/shared/natsd"
	"github.com/fleetune/fleetune/worker/agent"
	"github.com/fleetune/fleetune/worker/command"
	"github.com/fleetune/fleetune/worker/device"
	"github.com/rs/zerolog"
)

// A timed kind is a no-op that lasts for a while and notes when devices are used.
type timed struct {
	lasts time.Duration

	mu      sync.Mutex
	started map[string]time.Time // by task
	ended   map[string]time.Time // by device
	gaps    []time.Duration
}

func newTimed(lasts time.Duration) *timed {
	return &timed{lasts: lasts, started: map[string]time.Time{}, ended: map[string]time.Time{}}
}

// Stage hands out an experiment that notes its times.
func (t *timed) Stage(ctx context.Context, j command.Job) (agent.Staged, *command.Result) {
	inner, result := agent.Noop{}.Stage(ctx, j)
	return timedRun{t, inner, j.Offer.TaskName}, result
}

type timedRun struct {
	*timed
	inner agent.Staged
	task  string
}

func (r timedRun) Run(ctx context.Context, devices []node.Device, budget time.Duration, total bool) command.Result {
	now := time.Now()
	id := devices[0].ID
	r.mu.Lock()
	if _, seen := r.started[r.task]; !seen {
		r.started[r.task] = now
	}
	if ended, ok := r.ended[id]; ok {
		r.gaps = append(r.gaps, now.Sub(ended))
	}
	r.mu.Unlock()
	if r.lasts > 0 {
		time.Sleep(r.lasts)
	}
	result := r.inner.Run(ctx, devices, budget, total)
	r.mu.Lock()
	r.ended[id] = time.Now()
	r.mu.Unlock()
	return result
}

func (r timedRun) Close() error { return r.inner.Close() }

// fleet runs workers in this process until stop is called.
func (s *stand) fleet(ctx context.Context, busURL string, workers, devices int, kind agent.Kind) (stop func() error, err error) {
	ctx, cancel := context.WithCancel(ctx)
	dir, err := os.MkdirTemp(s.dir, "workers-")
	if err != nil {
		cancel()
		return nil, err
	}
	var running sync.WaitGroup
	errs := make(chan error, workers)
	var closers []func() error
	stop = func() error {
		cancel()
		running.Wait()
		var all []error
		for _, c := range closers {
			all = append(all, c())
		}
		close(errs)
		for err := range errs {
			all = append(all, err)
		}
		return errors.Join(append(all, os.RemoveAll(dir))...)
	}
	for w := range workers {
		name := fmt.Sprintf("w%d", w)
		b, err := bus.Connect(ctx, bus.Options{URL: busURL, Name: name, User: name, Password: natsd.WorkerPassword(secret, name)})
		if err != nil {
			return nil, errors.Join(err, stop())
		}
		list := make([]node.Device, devices)
		for i := range list {
			list[i] = node.Device{ID: fmt.Sprintf("%s-%d", name, i), Index: i, Vendor: "cpu", Model: "bench", Health: node.Healthy}
		}
		semaphore, err := device.NewSemaphore(list, device.Config{LockFolder: filepath.Join(dir, "locks"), Owner: name})
		if err != nil {
			return nil, errors.Join(err, stop())
		}
		a, err := agent.New(agent.Config{
			Node: node.Advertisement{Worker: name, Host: "bench", Pool: "default", Kinds: []string{task.KindNoop}, StartedAt: time.Now()},
			Dir:  filepath.Join(dir, name), Bus: b, Semaphore: semaphore, Kinds: map[string]agent.Kind{task.KindNoop: kind}, Log: zerolog.Nop(),
		})
		if err != nil {
			return nil, errors.Join(err, stop())
		}
		closers = append(closers, func() error { defer b.Close(); return semaphore.Close() })
		running.Go(func() { errs <- a.Run(ctx) })
	}
	return stop, nil
}

// noop is a task of n no-op experiments.
func noop(name string, n int) *task.Task {
	return &task.Task{
		Name:  name,
		Space: space.Space{Parameters: []space.Parameter{{Name: "i", Type: space.Integer, Low: 1, High: float64(n)}}},
		Optimization: task.Optimization{
			Strategy: "grid_search", Objectives: []task.Objective{{Metric: "noop", Direction: task.Minimize}},
			MaxIterations: n, IterationTimeout: task.Duration(time.Minute), Timeout: task.Duration(time.Hour), Repeats: 1,
		},
		Resources: node.Requirements{Pool: "default", Accelerator: "any", Devices: 1},
		Priority:  task.Normal,
	}
}

func submit(ctx context.Context, db *store.Store, t *task.Task) error {
	_, err := db.CreateTask(ctx, store.NewTask{Spec: t, Source: "bench", Planned: t.Optimization.MaxIterations})
	return err
}

// await looks at the task's row, seldom enough to cost nothing.
func await(ctx context.Context, db *store.Store, name string) error {
	for {
		t, err := db.Task(ctx, name)
		if err != nil {
			return err
		}
		if t.State == store.TaskCompleted {
			return nil
		}
		if t.State.Final() {
			return fmt.Errorf("task %s is %s: %s", name, t.State, t.Cause)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// with runs f on a manager and a fleet of its own.
func (s *stand) with(ctx context.Context, workers, devices int, kind agent.Kind, f func(*manager) error) (err error) {
	m, err := s.manager(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.close()) }()
	stop, err := s.fleet(ctx, m.bus, workers, devices, kind)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	// The fleet is there, and everything is warm, once a small task is through.
	if err := submit(ctx, m.store, noop("warm-up", 4*workers)); err != nil {
		return err
	}
	if err := await(ctx, m.store, "warm-up"); err != nil {
		return err
	}
	return f(m)
}

// circle measures the full circle: from the submit of a task of n experiments
// to the commit that completes it.
func (s *stand) circle(ctx context.Context, workers, devices, n int) (row scaling, err error) {
	err = s.with(ctx, workers, devices, agent.Noop{}, func(m *manager) error {
		before, workersCPU, postgresCPU := m.usage(), cpuTime(), treeCPU(s.postmaster)
		began := time.Now()
		if err := submit(ctx, m.store, noop("measured", n)); err != nil {
			return err
		}
		if err := await(ctx, m.store, "measured"); err != nil {
			return err
		}
		took := time.Since(began)
		after := m.usage()
		row = scaling{
			Workers: workers, Devices: workers * devices, Experiments: n, ExperimentsPerSecond: float64(n) / took.Seconds(),
			ManagerCPUSeconds: after.CPUSeconds - before.CPUSeconds, ManagerRSSMB: after.RSSMB,
			WorkersCPUSeconds:  (cpuTime() - workersCPU).Seconds(),
			PostgresCPUSeconds: (treeCPU(s.postmaster) - postgresCPU).Seconds(),
		}
		return nil
	})
	return row, err
}

// idle measures the time from a submit to its experiment's start, on a fleet
// that has nothing to do.
func (s *stand) idle(ctx context.Context, n int) (p percentiles, err error) {
	kind := newTimed(0)
	var times []time.Duration
	err = s.with(ctx, 2, 4, kind, func(m *manager) error {
		for i := range n {
			name := fmt.Sprintf("idle-%d", i)
			began := time.Now()
			if err := submit(ctx, m.store, noop(name, 1)); err != nil {
				return err
			}
			if err := await(ctx, m.store, name); err != nil {
				return err
			}
			kind.mu.Lock()
			times = append(times, kind.started[name].Sub(began))
			kind.mu.Unlock()
			time.Sleep(20 * time.Millisecond) // idle again
		}
		return nil
	})
	return summary(times), err
}

// gap measures how long a device is idle between two experiments of a task.
func (s *stand) gap(ctx context.Context, n int) (p percentiles, err error) {
	kind := newTimed(25 * time.Millisecond)
	err = s.with(ctx, 1, 4, kind, func(m *manager) error {
		kind.mu.Lock()
		kind.gaps, kind.ended = nil, map[string]time.Time{}
		kind.mu.Unlock()
		if err := submit(ctx, m.store, noop("gap", n)); err != nil {
			return err
		}
		return await(ctx, m.store, "gap")
	})
	return summary(kind.gaps), err
}
