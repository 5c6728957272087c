// Package daemon is the worker process: it finds the node's devices, sweeps
// what a dead session left, joins the fleet and runs the agent.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/fleetune/fleetune/shared/bus"
	"github.com/fleetune/fleetune/worker/agent"
	"github.com/fleetune/fleetune/worker/bench"
	"github.com/fleetune/fleetune/worker/command"
	"github.com/fleetune/fleetune/worker/device"
	"github.com/fleetune/fleetune/worker/load/share"
	"github.com/fleetune/fleetune/worker/process"
	"github.com/google/uuid"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"
)

// Config of a worker process.
type Config struct {
	// Name of the worker, one token of a subject; the host's name by default.
	Name   string
	Pool   string
	Labels map[string]string
	// Dir holds the spool, the attempts' folders and the cache of bundles.
	Dir string
	// LockFolder holds the devices' lock files; all workers of a host share it.
	LockFolder string
	// Secrets is a folder with one file per secret.
	Secrets string
	Devices device.Search
	Engines Engines
	Bus     bus.Options
	Version string
	// Fault is handed to the agent.
	Fault string
	Log   zerolog.Logger
}

const watchEvery = device.DefaultWatchInterval

// Run works until ctx ends, which hands back what runs. The first message on
// drain lets running attempts finish first; the second hands them back.
func Run(ctx context.Context, c Config, drain <-chan struct{}) (err error) {
	runner := process.New(process.Config{})
	if err := sweep(ctx, runner, c.Dir); err != nil {
		return err
	}
	shop, err := c.openWorkshop(ctx, runner)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, shop.close()) }()
	discoverer, devices, err := device.Detect(ctx, c.Devices)
	if err != nil {
		return err
	}
	semaphore, err := device.NewSemaphore(devices, device.Config{
		LockFolder: c.LockFolder, Owner: c.Name, Sweep: runner.Sweep, Tagged: process.Tagged,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, semaphore.Close()) }()
	b, err := bus.Connect(ctx, c.Bus)
	if err != nil {
		return err
	}
	defer b.Close()
	a, err := agent.New(agent.Config{
		Node: c.advertisement(shop), Models: shop.hub.Models, Dir: c.Dir, Bus: b, Semaphore: semaphore, Fault: c.Fault, Log: c.Log,
		BuildCores: device.SpareCores(devices),
		Kinds: map[string]agent.Kind{
			task.KindCommand: agent.Command{Runner: command.New(runner, command.Options{Secret: c.secret})},
			task.KindServing: agent.Serving{Kind: shop.kind(c, semaphore)},
			task.KindNoop:    agent.Noop{},
			task.KindLoad:    agent.Load{Runner: c.shares(b)},
		},
	})
	if err != nil {
		return err
	}
	for _, d := range devices {
		c.Log.Info().Str("id", d.ID).Str("model", d.Model).Ints("cores", d.Cores).Msg("device")
	}
	group, inner := errgroup.WithContext(ctx)
	inner, stop := context.WithCancel(inner)
	defer stop()
	group.Go(func() error {
		defer stop()
		return a.Run(inner)
	})
	group.Go(func() error {
		semaphore.Watch(inner, discoverer, watchEvery)
		return nil
	})
	group.Go(func() error {
		shop.watch(inner)
		return nil
	})
	group.Go(func() error {
		obey(inner, a, drain, c.Log)
		return nil
	})
	return group.Wait()
}

// shares runs this worker's shares of loads.
func (c Config) shares(b *bus.Bus) *share.Runner {
	return &share.Runner{
		Worker: c.Name, Plan: bench.SharePlan, Secret: c.secret,
		Call: func(ctx context.Context, load uuid.UUID, call wire.LoadCall) (wire.LoadReply, error) {
			return bus.Request[wire.LoadReply](ctx, b, wire.LoadSubject(load, c.Name), call)
		},
	}
}

// obey passes on drain wishes.
func obey(ctx context.Context, a *agent.Agent, drain <-chan struct{}, log zerolog.Logger) {
	for wishes := 0; ; wishes++ {
		select {
		case <-ctx.Done():
			return
		case <-drain:
		}
		if wishes == 0 {
			log.Info().Msg("draining: what runs may finish; interrupt again to hand it back")
			a.Drain()
		} else {
			log.Info().Msg("handing back what runs")
			a.HandBack()
		}
	}
}

// sweep kills what attempts of a dead session left running, before a device
// is offered to anyone.
func sweep(ctx context.Context, runner *process.Runner, dir string) error {
	tags, err := agent.LeftOver(dir)
	if err != nil || len(tags) == 0 {
		return err
	}
	if err := runner.Sweep(ctx, tags...); err != nil {
		return fmt.Errorf("processes of an earlier session are still alive: %w", err)
	}
	for _, tag := range tags {
		if err := os.RemoveAll(filepath.Join(dir, "attempts", tag)); err != nil {
			return fmt.Errorf("removing what an earlier session left: %w", err)
		}
	}
	return nil
}

func (c Config) advertisement(shop *workshop) node.Advertisement {
	host, err := os.Hostname()
	if err != nil {
		host = c.Name
	}
	return node.Advertisement{
		Worker: c.Name, Host: host, Pool: c.Pool, Labels: c.labels(), Kinds: []string{task.KindCommand, task.KindServing, task.KindNoop, task.KindLoad},
		Launchers: shop.launcherNames(), Engines: shop.versions(), Secrets: c.secretNames(), Version: c.Version, StartedAt: time.Now(),
	}
}

// labels adds what every node can say of itself.
func (c Config) labels() map[string]string {
	labels := map[string]string{"os": runtime.GOOS, "arch": runtime.GOARCH}
	for name, value := range c.Labels {
		labels[name] = value
	}
	return labels
}

// secretNames lists the secrets that tasks may name.
func (c Config) secretNames() []string {
	if c.Secrets == "" {
		return nil
	}
	entries, err := os.ReadDir(c.Secrets)
	if err != nil {
		c.Log.Error().Err(err).Msg("the secrets cannot be read; tasks that name one go elsewhere")
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

// secret reads a secret by its name from the folder of secrets.
func (c Config) secret(name string) (string, error) {
	if c.Secrets == "" {
		return "", fmt.Errorf("secret %q: this worker was started without --secrets", name)
	}
	root, err := os.OpenRoot(c.Secrets)
	if err != nil {
		return "", fmt.Errorf("opening the secrets: %w", err)
	}
	defer root.Close()
	data, err := root.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("reading secret %q: %w", name, err)
	}
	// Most editors, and echo, end a file with a line's end that nobody means.
	return strings.TrimRight(string(data), "\r\n"), nil
}
