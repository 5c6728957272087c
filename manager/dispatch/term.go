package dispatch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
)

// A term is one leadership: everything that its parts share.
type term struct {
	*Dispatcher
	number int64
	fleet  *fleet
	mail   *mail
	claims chan *nats.Msg
	news   *news
	specs  specs
}

// newTerm takes over: every running experiment keeps its worker for one more
// lease, since nobody knows when its last beat was.
func newTerm(ctx context.Context, d *Dispatcher, number int64) (*term, error) {
	t := &term{
		Dispatcher: d,
		number:     number,
		fleet:      newFleet(d.Lease, d.Beat),
		mail:       newMail(),
		claims:     make(chan *nats.Msg, 4096),
		news:       newNews(),
		specs:      specs{store: d.Store, known: map[uuid.UUID]*task.Task{}},
	}
	workers, err := d.Store.Workers(ctx)
	if err != nil {
		return nil, err
	}
	running, err := d.Store.Running(ctx)
	if err != nil {
		return nil, err
	}
	t.fleet.takeOver(time.Now(), workers, running)
	return t, nil
}

// keepLease renews the leader lease and fails when it is lost, or when renewal
// has failed for so long that another manager may soon take it.
func (t *term) keepLease(ctx context.Context) error {
	deadline := time.Now().Add(leaderTTL * 4 / 5)
	for {
		if !pause(ctx, leaderTTL/5) {
			return ctx.Err()
		}
		asked := time.Now()
		if asked.After(deadline) {
			return fmt.Errorf("this manager stood still past its deadline: %w", store.ErrNotLeader)
		}
		renewal, cancel := context.WithDeadline(ctx, deadline)
		lead, err := t.Store.AcquireLeader(renewal, t.id, t.URL, leaderTTL)
		cancel()
		switch {
		case err == nil && lead.Term == t.number:
			deadline = asked.Add(leaderTTL * 4 / 5)
		case err == nil, errors.Is(err, store.ErrNotLeader), time.Now().After(deadline):
			return fmt.Errorf("term %d is over: %w", t.number, store.ErrNotLeader)
		}
	}
}

// listen tells the planner of tasks that the API changed.
func (t *term) listen(ctx context.Context) error {
	return t.Store.Listen(ctx, []string{store.ChannelTasks}, func() {}, func(_, id string) {
		if parsed, err := uuid.Parse(id); err == nil {
			t.mail.taskChanged(parsed)
		} else {
			t.mail.fleetChanged() // a drain wish
		}
	})
}

// specs remembers the tasks whose results arrive: a task never
// changes, save in how it is described.
type specs struct {
	store *store.Store
	mu    sync.Mutex
	known map[uuid.UUID]*task.Task
}

func (s *specs) put(id uuid.UUID, spec *task.Task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known[id] = spec
}

func (s *specs) drop(id uuid.UUID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, id)
}

// get returns the task, from the store if it is not known.
func (s *specs) get(ctx context.Context, id uuid.UUID) (*task.Task, error) {
	s.mu.Lock()
	spec := s.known[id]
	s.mu.Unlock()
	if spec != nil {
		return spec, nil
	}
	row, err := s.store.Task(ctx, id.String())
	if err != nil {
		return nil, err
	}
	return row.Spec, nil
}
