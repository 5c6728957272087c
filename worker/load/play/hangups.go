package play

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/fleetune/fleetune/worker/load/conversation"
)

// Hangups draws which requests are hung up on, as users do who do not wait. A
// nil one hangs up on none. It is safe for concurrent use.
type Hangups struct {
	share float64
	delay time.Duration
	mu    sync.Mutex
	rng   *rand.Rand
}

// NewHangups hangs up on so many per cent of requests, a delay after their body
// was sent.
func NewHangups(percent float64, delay time.Duration, seed int64) *Hangups {
	if percent <= 0 {
		return nil
	}
	return &Hangups{share: percent / 100, delay: delay, rng: conversation.Rand(conversation.Seed(seed, "cancellation"))}
}

// Draw says how long after its body the next request is hung up on; nil is
// never.
func (h *Hangups) Draw() *time.Duration {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.rng.Float64() >= h.share {
		return nil
	}
	delay := h.delay
	return &delay
}
