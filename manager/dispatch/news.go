package dispatch

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"
)

// newsEvery is how often watchers hear of finished experiments: a fast task
// must not cost an event for each.
const newsEvery = 200 * time.Millisecond

// news gathers what watchers are to be told.
type news struct {
	mu      sync.Mutex
	numbers map[uuid.UUID][]int
	// work says that experiments were claimed, or taken back.
	work bool
}

func newNews() *news { return &news{numbers: map[uuid.UUID][]int{}} }

func (n *news) add(task uuid.UUID, number int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.numbers[task] = append(n.numbers[task], number)
}

// worked notes that what workers do has changed.
func (n *news) worked() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.work = true
}

func (n *news) take() (numbers map[uuid.UUID][]int, work bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	numbers, work = n.numbers, n.work
	n.numbers, n.work = map[uuid.UUID][]int{}, false
	return numbers, work
}

// announce tells watchers of finished experiments, and that others were
// claimed, a few times a second.
func (t *term) announce(ctx context.Context) error {
	for pause(ctx, newsEvery) {
		numbers, work := t.news.take()
		if len(numbers) > 0 {
			if err := t.Store.AnnounceProgress(ctx, numbers); err != nil {
				return err
			}
		}
		if work {
			if err := t.Store.AnnounceWork(ctx); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}
