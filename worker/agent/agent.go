// Package agent is one worker: it beats, fetches offers, claims experiments,
// holds their device leases while they run, and reports. It is the only
// package of the worker that knows the others.
//
// What it promises the fleet: an attempt whose lease may have run out is dead
// here before anyone else may start it; a device is free only when the
// attempt's processes are proven dead; a result is on disk before it is sent,
// and kept until the manager confirms it.
package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/fleetune/fleetune/shared/bus"
	"github.com/fleetune/fleetune/worker/device"
	"github.com/fleetune/fleetune/worker/spool"
	"github.com/google/uuid"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"
)

// ErrSuperseded says that another process works under this worker's name.
var ErrSuperseded = errors.New("a newer worker of the same name is at work; give each worker its own --name")

// Config of an Agent.
type Config struct {
	// Node is what the worker advertises; its devices come from Semaphore.
	Node node.Advertisement
	// Dir holds the spool and the attempts' folders.
	Dir       string
	Bus       *bus.Bus
	Semaphore *device.Semaphore
	Kinds     map[string]Kind
	// Models lists the models that are on the node now; nil means that Node
	// says it.
	Models func() []string
	// Staging is how many attempts may build or wait for their devices beside
	// those that have them; as many as there are devices by default.
	Staging int
	// BuildCores are the CPU cores that builds may use; all when empty.
	BuildCores []int
	// Fault names a point at which the process exits, for chaos tests.
	Fault string
	Log   zerolog.Logger
}

// attemptsFolder is where attempts have their folders, named by their tags.
const attemptsFolder = "attempts"

// killTime is kept of a lease for killing what it covers and proving it dead.
const killTime = 5 * time.Second

// An Agent is a running worker.
type Agent struct {
	Config
	session uuid.UUID
	fetcher *bus.Fetcher
	spool   *spool.Spool
	// attempted holds the attempts' folders.
	attempted string

	wake  chan struct{} // there may be work
	poke  chan struct{} // beat now
	slots chan struct{} // staging permits
	// sendable wakes the sender; it is closed when nothing more comes.
	sendable chan struct{}
	// batch is how many offers to fetch next, by queue; the work loop's alone.
	batch map[string]int

	mu       sync.Mutex
	attempts map[uuid.UUID]*attempt
	loads    map[uuid.UUID]bool // by task: a claim for a share of it is out
	reports  map[string]*report // not yet confirmed, by key
	outbox   []*report          // on their way out
	queues   []wire.Queue
	hold     int
	resting  map[string]time.Time // queues of loads that are left to others, until then
	// leaving is this process's own end, which nothing takes back; asked is the
	// manager's wish, which its next answer may.
	leaving bool
	asked   bool
	trouble string
	// renewed is when the last beat was sent that the manager answered; the
	// lease lasts from then on.
	renewed time.Time
	lease   time.Duration
	every   time.Duration

	running sync.WaitGroup // attempts and claims
}

// New prepares a worker. Results that an earlier session left in the spool are
// reported again.
func New(c Config) (*Agent, error) {
	if c.Staging <= 0 {
		c.Staging = max(1, len(c.Semaphore.Devices()))
	}
	kept, err := spool.Open(filepath.Join(c.Dir, "spool"), spool.Config{})
	if err != nil {
		return nil, err
	}
	a := &Agent{
		Config: c, session: uuid.New(), spool: kept, attempted: filepath.Join(c.Dir, attemptsFolder),
		wake: make(chan struct{}, 1), poke: make(chan struct{}, 1),
		slots:    make(chan struct{}, c.Staging),
		sendable: make(chan struct{}, 1), batch: map[string]int{},
		attempts: map[uuid.UUID]*attempt{}, loads: map[uuid.UUID]bool{}, resting: map[string]time.Time{}, reports: map[string]*report{},
		lease: 30 * time.Second, every: time.Second,
	}
	if err := a.loadSpool(); err != nil {
		return nil, errors.Join(err, kept.Close())
	}
	if err := os.MkdirAll(a.attempted, 0o700); err != nil {
		return nil, errors.Join(fmt.Errorf("making the attempts' folder: %w", err), kept.Close())
	}
	return a, nil
}

// LeftOver lists the tags of attempts whose folders a dead session left in dir.
// They must be swept before the agent runs.
func LeftOver(dir string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(dir, attemptsFolder))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("reading the attempts' folder: %w", err)
	}
	var tags []string
	for _, e := range entries {
		tags = append(tags, e.Name())
	}
	return tags, nil
}

// Run works until ctx ends, which hands back what runs, or until a drain is
// done. It returns nil then; ErrSuperseded when another worker took the name.
func (a *Agent) Run(ctx context.Context) (err error) {
	if a.fetcher, err = bus.NewFetcher(a.Bus); err != nil {
		return errors.Join(err, a.spool.Close())
	}
	subs, err := a.subscribe()
	if err != nil {
		return errors.Join(err, a.fetcher.Close(), a.spool.Close())
	}
	group, inner := errgroup.WithContext(ctx)
	group.Go(func() error { return a.beat(inner) })
	group.Go(func() error { return a.work(inner) })
	group.Go(func() error { return a.resend(inner) })
	sender := make(chan struct{})
	go func() {
		defer close(sender)
		a.sendReports()
	}()
	group.Go(func() error { return a.fence(inner) })
	err = group.Wait()

	// Whatever ended the loops, nothing of ours may live on.
	a.stopAll(errHandedBack)
	a.running.Wait()
	a.farewell()
	close(a.sendable)
	<-sender
	for _, sub := range subs {
		_ = sub.Unsubscribe() // the connection may be gone, and closes next anyway
	}
	closing := errors.Join(a.fetcher.Close(), a.spool.Close())
	if errors.Is(err, errLeft) || ctx.Err() != nil && !errors.Is(err, ErrSuperseded) {
		err = nil
	}
	return errors.Join(err, closing)
}

// Drain lets running attempts finish, takes no more, and ends Run after that.
func (a *Agent) Drain() {
	a.mu.Lock()
	a.leaving = true
	a.mu.Unlock()
	a.beatNow()
}

// HandBack stops running attempts now and gives them back.
func (a *Agent) HandBack() { a.stopAll(errHandedBack) }

// drainingLocked says that the worker takes no more.
func (a *Agent) drainingLocked() bool { return a.leaving || a.asked }

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // somebody nudged already
	}
}

func (a *Agent) beatNow()    { nudge(a.poke) }
func (a *Agent) lookAround() { nudge(a.wake) }
