// Package feed fans the store's events, and the word that what workers do has
// changed, out to whoever watches. One goroutine
// follows the database, however many watch; the newest events stay in memory,
// and a watcher that comes back after a while reads what it missed from the
// database.
package feed

import (
	"context"
	"sync"
	"time"

	"github.com/fleetune/fleetune/manager/store"
	"github.com/rs/zerolog"
)

const (
	// kept is how many events stay in memory.
	kept = 4096
	// batch is how many are read at once.
	batch = 1000
	// poll bounds how late an event is seen whose notification was lost.
	poll = 2 * time.Second
	// pause before a lost connection is opened again.
	pause = time.Second
)

// A Feed follows the store's events. Its zero value is of no use; see New.
type Feed struct {
	store *store.Store
	log   zerolog.Logger

	mu sync.Mutex
	// base is the event that stands before recent[0]; valid once started.
	base    int64
	started bool
	recent  []store.Event
	// changed is closed, and replaced, when events arrive.
	changed chan struct{}
	// working is closed, and replaced, when what workers do has changed.
	working chan struct{}
}

// New makes a feed. It follows nothing until Run.
func New(s *store.Store, log zerolog.Logger) *Feed {
	return &Feed{store: s, log: log, changed: make(chan struct{}), working: make(chan struct{})}
}

// Run follows the store until ctx ends. Without it watchers see nothing new.
func (f *Feed) Run(ctx context.Context) {
	wake := make(chan struct{}, 1)
	var listener sync.WaitGroup
	listener.Go(func() { f.listen(ctx, wake) })
	defer listener.Wait()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		if err := f.read(ctx); err != nil && ctx.Err() == nil {
			f.log.Warn().Err(err).Msg("following events")
		}
		select {
		case <-wake:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// listen turns notifications into wake-ups, over a connection that it opens
// again whenever it is lost. What was announced meanwhile may be anything.
func (f *Feed) listen(ctx context.Context, wake chan<- struct{}) {
	heard := func(channel, _ string) {
		if channel == store.ChannelWork {
			f.worked()
			return
		}
		select {
		case wake <- struct{}{}:
		default:
		}
	}
	missed := func() {
		heard(store.ChannelEvents, "")
		heard(store.ChannelWork, "")
	}
	for {
		err := f.store.Listen(ctx, []string{store.ChannelEvents, store.ChannelWork}, missed, heard)
		if ctx.Err() != nil {
			return
		}
		f.log.Warn().Err(err).Msg("listening for events, trying again")
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// read takes what is new into memory.
func (f *Feed) read(ctx context.Context) error {
	last, started := f.last()
	if !started {
		id, err := f.store.LastEvent(ctx)
		if err != nil {
			return err
		}
		f.add(id, nil)
		last = id
	}
	for {
		events, err := f.store.Events(ctx, nil, last, batch)
		if err != nil {
			return err
		}
		if len(events) == 0 {
			return nil
		}
		last = events[len(events)-1].ID
		f.add(last, events)
	}
}

func (f *Feed) add(last int64, events []store.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.started {
		f.base, f.started = last, true
	}
	f.recent = append(f.recent, events...)
	if over := len(f.recent) - kept; over > 0 {
		f.base = f.recent[over-1].ID
		f.recent = append([]store.Event(nil), f.recent[over:]...)
	}
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *Feed) last() (id int64, started bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.recent); n > 0 {
		return f.recent[n-1].ID, f.started
	}
	return f.base, f.started
}

// recall returns what memory holds behind the event with id after; ok is false
// when that event is not in memory. changed is closed when there is more.
func (f *Feed) recall(after int64) (events []store.Event, changed <-chan struct{}, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.started {
		return nil, f.changed, false
	}
	if after == f.base {
		return f.recent[:len(f.recent):len(f.recent)], f.changed, true
	}
	for i := len(f.recent) - 1; i >= 0; i-- {
		if f.recent[i].ID == after {
			return f.recent[i+1 : len(f.recent) : len(f.recent)], f.changed, true
		}
	}
	return nil, f.changed, false
}

// Now is the position behind everything that has happened so far.
func (f *Feed) Now(ctx context.Context) (int64, error) {
	if id, started := f.last(); started {
		return id, nil
	}
	return f.store.LastEvent(ctx)
}

func (f *Feed) worked() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.working)
	f.working = make(chan struct{})
}

// Working returns a channel that is closed when it is worth looking again at
// what workers do.
func (f *Feed) Working() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.working
}

// After returns the events behind the one with id after. Without any it
// returns none and a channel that is closed when it is worth asking again.
func (f *Feed) After(ctx context.Context, after int64) ([]store.Event, <-chan struct{}, error) {
	events, changed, ok := f.recall(after)
	if ok {
		return events, changed, nil
	}
	events, err := f.store.Events(ctx, nil, after, batch)
	return events, changed, err
}
