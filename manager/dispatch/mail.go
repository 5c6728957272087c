package dispatch

import (
	"sync"

	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/google/uuid"
)

// mail is what the planner has yet to read. Writers never wait; whatever
// gathers while the planner works is read at once.
type mail struct {
	mu       sync.Mutex
	wake     chan struct{}
	finished []finished
	queued   []requeued
	claimed  []claimed
	tasks    map[uuid.UUID]bool
	stale    map[uuid.UUID]bool // tasks whose rows must be read anew
	fleet    bool
	wiped    bool // the bus has lost its store
	// progress is the latest of each running experiment.
	progress map[uuid.UUID]wire.Progress
}

// finished is an experiment that ended, as the planner needs it.
type finished struct {
	store.Committed
	scores  []float64
	metrics map[string]store.Summary
}

// requeued is an experiment that must be offered again.
type requeued struct {
	task, experiment uuid.UUID
	number           int
}

// claimed is an experiment that has left the queue.
type claimed struct{ task, experiment uuid.UUID }

func newMail() *mail {
	return &mail{wake: make(chan struct{}, 1), tasks: map[uuid.UUID]bool{}, stale: map[uuid.UUID]bool{},
		progress: map[uuid.UUID]wire.Progress{}}
}

func (m *mail) post(f func()) {
	m.mu.Lock()
	f()
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default: // it is awake already, or about to be
	}
}

func (m *mail) taskChanged(id uuid.UUID) { m.post(func() { m.tasks[id] = true }) }
func (m *mail) rowsChanged(id uuid.UUID) { m.post(func() { m.stale[id] = true }) }
func (m *mail) storeWiped()              { m.post(func() { m.wiped = true }) }
func (m *mail) hasProgress(p wire.Progress) {
	m.post(func() { m.progress[p.Experiment] = p })
}
func (m *mail) fleetChanged() { m.post(func() { m.fleet = true }) }
func (m *mail) haveFinished(list []finished) {
	m.post(func() { m.finished = append(m.finished, list...) })
}
func (m *mail) haveRequeued(list []requeued) { m.post(func() { m.queued = append(m.queued, list...) }) }
func (m *mail) haveBeenClaimed(list []claimed) {
	m.post(func() { m.claimed = append(m.claimed, list...) })
}

// read empties the mail.
func (m *mail) read() *mail {
	m.mu.Lock()
	defer m.mu.Unlock()
	got := &mail{
		finished: m.finished, queued: m.queued, claimed: m.claimed,
		tasks: m.tasks, stale: m.stale, fleet: m.fleet, wiped: m.wiped,
		progress: m.progress,
	}
	m.finished, m.queued, m.claimed = nil, nil, nil
	m.tasks, m.stale = map[uuid.UUID]bool{}, map[uuid.UUID]bool{}
	m.progress = map[uuid.UUID]wire.Progress{}
	m.fleet, m.wiped = false, false
	return got
}
