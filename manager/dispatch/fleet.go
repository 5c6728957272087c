package dispatch

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/google/uuid"
)

// fleet is what the leader knows of workers, their leases and the queues they
// may serve. It is the one place where a lease's time is kept.
type fleet struct {
	lease, every time.Duration

	mu      sync.Mutex
	workers map[string]*member
	leases  map[uuid.UUID]lease
	queues  []wire.Queue
	// hold asks a worker to keep devices for requests of at least so many.
	hold map[string]int
	// changed names workers whose rows must be written.
	changed map[string]bool
}

// A member is a worker as its last beat described it.
type member struct {
	store.Worker
	beatAt time.Time // by our own clock, which cannot jump
}

// A lease is an attempt in a worker's hands.
type lease struct {
	task    uuid.UUID
	epoch   int64
	worker  string
	session uuid.UUID
	until   time.Time
	cancel  bool
}

func newFleet(leaseTime, every time.Duration) *fleet {
	return &fleet{
		lease: leaseTime, every: every,
		workers: map[string]*member{}, leases: map[uuid.UUID]lease{}, hold: map[string]int{}, changed: map[string]bool{},
	}
}

// takeOver gives every running experiment, and every worker last seen online,
// one lease from now.
func (f *fleet) takeOver(now time.Time, workers []store.Worker, running []store.LiveExperiment) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range workers {
		f.workers[w.Name] = &member{Worker: w, beatAt: now}
	}
	for _, e := range running {
		f.leases[e.ID] = lease{task: e.Task, epoch: e.Epoch, worker: e.Worker, session: e.Session, until: now.Add(f.lease)}
	}
}

// beat takes in a worker's beat and says what it must know. changed says that
// the fleet can do more or less than before.
func (f *fleet) beat(now time.Time, b wire.Beat) (reply wire.BeatReply, changed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	reply = wire.BeatReply{Version: wire.Version, Lease: f.lease, Every: f.every}
	known := f.workers[b.Worker]
	if known != nil && known.Session != b.Session {
		if known.State != store.WorkerLeft && known.State != store.WorkerLost && b.Node.StartedAt.Before(known.Node.StartedAt) {
			reply.Superseded = true
			reply.Lost = b.Held
			return reply, false
		}
		f.dropSession(now, known.Session, b)
	}
	next := &member{Worker: store.Worker{
		Name: b.Worker, Session: b.Session, Node: b.Node, State: stateOf(b), Trouble: b.Trouble, Held: b.Held, LastBeatAt: time.Now(),
	}, beatAt: now}
	switch {
	case known == nil:
		next.Drain = b.Draining // a new leader has not read the wishes yet
	case known.Session == b.Session:
		next.Drain = known.Drain
	}
	changed = known == nil || known.Session != b.Session || known.State != next.State ||
		(known.Trouble == "") != (b.Trouble == "") || !slices.EqualFunc(known.Node.Devices, b.Node.Devices, sameDevice)
	f.workers[b.Worker] = next
	f.changed[b.Worker] = true

	reply.Drain = next.Drain
	for _, held := range b.Held {
		l, ok := f.leases[held.Experiment]
		if !ok || l.epoch != held.Epoch || l.worker != b.Worker {
			reply.Lost = append(reply.Lost, held)
			continue
		}
		l.session, l.until = b.Session, now.Add(f.lease)
		f.leases[held.Experiment] = l
		if l.cancel {
			reply.Cancel = append(reply.Cancel, held.Experiment)
		}
	}
	if next.State == store.WorkerOnline && !next.Drain {
		reply.Queues = f.servable(next)
		reply.Hold = f.hold[b.Worker]
	}
	return reply, changed
}

// dropSession ends the leases of a worker's earlier session but for what the
// new one still holds: results that wait in its spool.
func (f *fleet) dropSession(now time.Time, session uuid.UUID, b wire.Beat) {
	for id, l := range f.leases {
		if l.worker == b.Worker && l.session == session &&
			!slices.ContainsFunc(b.Held, func(h wire.Held) bool { return h.Experiment == id && h.Epoch == l.epoch }) {
			l.until = now
			f.leases[id] = l
		}
	}
}

func stateOf(b wire.Beat) store.WorkerState {
	switch {
	case b.Leaving:
		return store.WorkerLeft
	case b.Draining:
		return store.WorkerDraining
	default:
		return store.WorkerOnline
	}
}

func sameDevice(a, b node.Device) bool { return a.ID == b.ID && a.Health == b.Health }

// servable lists the queues that a worker fits, higher priorities first and
// within one the larger requests.
func (f *fleet) servable(w *member) []wire.Queue {
	var queues []wire.Queue
	for _, q := range f.queues {
		if node.Match(q.Requirements, w.Node) == nil {
			queues = append(queues, q)
		}
	}
	return queues
}

// setQueues replaces the queues that are in use.
func (f *fleet) setQueues(queues []wire.Queue) {
	rank := func(q wire.Queue) int { return slices.Index(task.Priorities(), task.Priority(q.Priority)) }
	slices.SortFunc(queues, func(a, b wire.Queue) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(b.Requirements.Devices, a.Requirements.Devices),
			cmp.Compare(a.Name, b.Name))
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queues = queues
}

// mayClaim says whether the session is the worker's current one.
func (f *fleet) mayClaim(worker string, session uuid.UUID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.workers[worker]
	return w != nil && w.Session == session && w.State != store.WorkerLost
}

// holds says whether a worker has that attempt.
func (f *fleet) holds(worker string, id uuid.UUID, epoch int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	l, ok := f.leases[id]
	return ok && l.worker == worker && l.epoch == epoch
}

// granted starts the leases of claims that were granted.
func (f *fleet) granted(now time.Time, grants map[uuid.UUID]store.Granted, claims []store.Claim) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range claims {
		if g, ok := grants[c.ID]; ok {
			f.leases[g.Experiment] = lease{task: g.Task, epoch: g.Epoch, worker: c.Worker, session: c.Session, until: now.Add(f.lease)}
		}
	}
}

// elsewhere says that another worker has a model which the claiming one would
// have to fetch, and is free to serve the queue now.
func (f *fleet) elsewhere(worker, queue, model string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.queues, func(q wire.Queue) bool { return q.Name == queue })
	if me := f.workers[worker]; i < 0 || me == nil || me.Node.HasModel(model) {
		return false
	}
	need := f.queues[i].Requirements
	for _, w := range f.workers {
		if w.Name == worker || !w.takesWork() || !w.Node.HasModel(model) || node.Match(need, w.Node) != nil {
			continue
		}
		if (f.attempts(w.Name)+1)*max(need.Devices, 1) <= healthy(w.Node.Devices) {
			return true
		}
	}
	return false
}

// attempts counts a worker's.
func (f *fleet) attempts(worker string) (n int) {
	for _, l := range f.leases {
		if l.worker == worker {
			n++
		}
	}
	return n
}

// ended drops the leases of attempts that were reported.
func (f *fleet) ended(id uuid.UUID, epoch int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if l, ok := f.leases[id]; ok && l.epoch == epoch {
		delete(f.leases, id)
	}
}

// cancelTask marks a task's attempts and returns them by worker.
func (f *fleet) cancelTask(id uuid.UUID) map[string][]uuid.UUID {
	f.mu.Lock()
	defer f.mu.Unlock()
	holders := map[string][]uuid.UUID{}
	for experiment, l := range f.leases {
		if l.task == id {
			l.cancel = true
			f.leases[experiment] = l
			holders[l.worker] = append(holders[l.worker], experiment)
		}
	}
	return holders
}

// leasedTasks returns the tasks that have attempts in workers' hands.
func (f *fleet) leasedTasks() []uuid.UUID {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := map[uuid.UUID]bool{}
	var tasks []uuid.UUID
	for _, l := range f.leases {
		if !seen[l.task] {
			seen[l.task] = true
			tasks = append(tasks, l.task)
		}
	}
	return tasks
}

// expired returns the attempts whose lease has run out, and marks the workers
// that fell silent. silent says that there were any of those.
func (f *fleet) expired(now time.Time) (lost []store.Lost, silent bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, l := range f.leases {
		if now.After(l.until) {
			lost = append(lost, store.Lost{Experiment: id, Epoch: l.epoch, Reason: "worker " + l.worker + " fell silent or gave the attempt up"})
		}
	}
	for name, w := range f.workers {
		if (w.State == store.WorkerOnline || w.State == store.WorkerDraining) && now.After(w.beatAt.Add(f.lease)) {
			w.State = store.WorkerLost
			f.changed[name] = true
			silent = true
		}
	}
	return lost, silent
}

// extend gives every lease and worker the time back in which this manager
// itself stood still and could not hear them.
func (f *fleet) extend(by time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, l := range f.leases {
		l.until = l.until.Add(by)
		f.leases[id] = l
	}
	for _, w := range f.workers {
		w.beatAt = w.beatAt.Add(by)
	}
}

// setDrains takes over the operators' wishes and returns the workers whose
// wish has changed.
func (f *fleet) setDrains(rows []store.Worker) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var changed []string
	for _, row := range rows {
		if w := f.workers[row.Name]; w != nil && w.Session == row.Session && w.Drain != row.Drain {
			w.Drain = row.Drain
			changed = append(changed, row.Name)
		}
	}
	return changed
}

// takeChanged returns the workers whose rows must be written.
func (f *fleet) takeChanged() []store.Worker {
	f.mu.Lock()
	defer f.mu.Unlock()
	var workers []store.Worker
	for name := range f.changed {
		workers = append(workers, f.workers[name].Worker)
	}
	clear(f.changed)
	return workers
}

// capacity is how many experiments of this need the fleet can run at once.
func (f *fleet) capacity(need node.Requirements) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	total := 0
	for _, w := range f.workers {
		if w.takesWork() && node.Match(need, w.Node) == nil {
			total += healthy(w.Node.Devices) / max(need.Devices, 1)
		}
	}
	return total
}

func (w *member) takesWork() bool {
	return w.State == store.WorkerOnline && !w.Drain && w.Trouble == ""
}

func healthy(devices []node.Device) int {
	n := 0
	for _, d := range devices {
		if d.Health == node.Healthy {
			n++
		}
	}
	return n
}

// size counts workers online and their healthy devices.
func (f *fleet) size() (workers, devices int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.workers {
		if w.State == store.WorkerOnline || w.State == store.WorkerDraining {
			workers++
		}
		if w.takesWork() {
			devices += healthy(w.Node.Devices)
		}
	}
	return workers, devices
}

// setHolds decides which workers keep devices back: for each starving need one
// worker that could serve it, the one with most devices.
func (f *fleet) setHolds(starving []node.Requirements) {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.hold)
	for _, need := range starving {
		var best *member
		for _, w := range f.workers {
			if !w.takesWork() || f.hold[w.Name] > 0 || node.Match(need, w.Node) != nil {
				continue
			}
			if best == nil || len(w.Node.Devices) > len(best.Node.Devices) ||
				len(w.Node.Devices) == len(best.Node.Devices) && w.Name < best.Name {
				best = w
			}
		}
		if best != nil {
			f.hold[best.Name] = need.Devices
		}
	}
}
