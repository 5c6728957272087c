//go:build unix

package local

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// A Part is something that runs between two others.
type Part struct {
	Name string
	// Run runs the part until ctx ends, and returns once nothing of it is
	// left. It calls ready when others may rely on it. When hurry is
	// closed, an end that was begun must come quicker: a worker hands back
	// what it would have finished.
	Run func(ctx context.Context, ready func(), hurry <-chan struct{}) error
}

// A running part.
type running struct {
	name   string
	cancel context.CancelFunc
	// ended is closed when Run has returned; err is what it returned.
	ended chan struct{}
	err   error
}

// A house runs parts.
type house struct {
	hurry <-chan struct{}
	log   zerolog.Logger
	up    []*running
}

// live starts the parts one after another, each when the one before is ready,
// calls ready when all are, waits until ctx ends or a part does, and stops
// them in reverse, each when the one after has ended. It returns the first
// error.
func (h *house) live(ctx context.Context, parts []Part, ready func() error) error {
	// Each has room, so that no watcher waits for a reader.
	fallen := make(chan *running, len(parts))
	err := h.rise(ctx, parts, fallen)
	if err == nil && ctx.Err() == nil {
		err = ready()
	}
	if err == nil {
		select {
		case <-ctx.Done():
		case r := <-fallen:
			err = r.fall()
		}
	}
	return errors.Join(err, h.settle())
}

func (h *house) rise(ctx context.Context, parts []Part, fallen chan<- *running) error {
	for _, part := range parts {
		begun := time.Now()
		r, ready := h.begin(ctx, part, fallen)
		h.up = append(h.up, r)
		select {
		case <-ready:
			h.log.Debug().Str("part", part.Name).Dur("took", time.Since(begun)).Msg("up")
		case <-r.ended:
			if ctx.Err() != nil {
				return nil //nolint:nilerr // it ended because it was told to
			}
			return r.fall()
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

func (h *house) begin(ctx context.Context, part Part, fallen chan<- *running) (*running, <-chan struct{}) {
	// A part ends when its turn comes, not with the house's context.
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &running{name: part.Name, cancel: cancel, ended: make(chan struct{})}
	ready := make(chan struct{})
	go func() {
		var once sync.Once
		r.err = part.Run(own, func() { once.Do(func() { close(ready) }) }, h.hurry)
		close(r.ended)
		fallen <- r
	}()
	return r, ready
}

// settle stops what is up, last first.
func (h *house) settle() error {
	var errs []error
	for i := len(h.up) - 1; i >= 0; i-- {
		r := h.up[i]
		select {
		case <-r.ended:
			r.cancel()
			continue // it ended before its turn, and live has told why
		default:
		}
		h.log.Debug().Str("part", r.name).Msg("stopping")
		r.cancel()
		<-r.ended
		if r.err != nil && !errors.Is(r.err, context.Canceled) {
			errs = append(errs, fmt.Errorf("stopping the %s: %w", r.name, r.err))
		}
	}
	return errors.Join(errs...)
}

// fall tells why a part ended before its turn.
func (r *running) fall() error {
	if r.err == nil {
		return fmt.Errorf("the %s ended by itself", r.name)
	}
	return fmt.Errorf("the %s failed: %w", r.name, r.err)
}
