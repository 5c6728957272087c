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
}

func newNews() *news { return &news{numbers: map[uuid.UUID][]int{}} }

func (n *news) add(task uuid.UUID, number int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.numbers[task] = append(n.numbers[task], number)
}

func (n *news) take() map[uuid.UUID][]int {
	n.mu.Lock()
	defer n.mu.Unlock()
	taken := n.numbers
	n.numbers = map[uuid.UUID][]int{}
	return taken
}

// announce tells watchers of finished experiments, a few times a second.
func (t *term) announce(ctx context.Context) error {
	for pause(ctx, newsEvery) {
		if numbers := t.news.take(); len(numbers) > 0 {
			if err := t.Store.AnnounceProgress(ctx, numbers); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}
