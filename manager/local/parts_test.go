//go:build unix

package local

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// A diary notes what happens, in order.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) note(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
}

// part runs until its context ends.
func (d *diary) part(name string) Part {
	return Part{Name: name, Run: func(ctx context.Context, ready func(), _ <-chan struct{}) error {
		d.note(name + " up")
		ready()
		<-ctx.Done()
		d.note(name + " down")
		return ctx.Err()
	}}
}

func TestPartsRiseInOrderAndSettleInReverse(t *testing.T) {
	var d diary
	ctx, cancel := context.WithCancel(t.Context())
	err := (&house{}).live(ctx, []Part{d.part("a"), d.part("b"), d.part("c")}, func() error {
		d.note("ready")
		cancel()
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, []string{"a up", "b up", "c up", "ready", "c down", "b down", "a down"}, d.lines)
}

func TestPartThatFailsTakesTheHouseDown(t *testing.T) {
	broken := errors.New("broken")
	for name, fails := range map[string]func(ready func()) error{
		"before it is ready":         func(func()) error { return broken },
		"after it is ready":          func(ready func()) error { ready(); return broken },
		"ends by itself":             func(ready func()) error { ready(); return nil },
		"ends by itself, not ready:": func(func()) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			var d diary
			bad := Part{Name: "bad", Run: func(_ context.Context, ready func(), _ <-chan struct{}) error { return fails(ready) }}
			err := (&house{}).live(t.Context(), []Part{d.part("a"), bad}, func() error { return nil })
			require.ErrorContains(t, err, "the bad ")
			if fails(func() {}) != nil {
				require.ErrorIs(t, err, broken)
			}
			require.Equal(t, []string{"a up", "a down"}, d.lines)
		})
	}
}

func TestSignalWhileRisingStartsNothingMore(t *testing.T) {
	var d diary
	ctx, cancel := context.WithCancel(t.Context())
	slow := Part{Name: "slow", Run: func(own context.Context, _ func(), _ <-chan struct{}) error {
		cancel()
		<-own.Done()
		d.note("slow down")
		return own.Err()
	}}
	err := (&house{}).live(ctx, []Part{d.part("a"), slow, d.part("b")}, func() error { d.note("ready"); return nil })
	require.NoError(t, err)
	require.Equal(t, []string{"a up", "slow down", "a down"}, d.lines)
}

func TestErrorOfStoppingIsTold(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	stuck := Part{Name: "part", Run: func(own context.Context, ready func(), _ <-chan struct{}) error {
		ready()
		<-own.Done()
		return errors.New("it would not end")
	}}
	err := (&house{}).live(ctx, []Part{stuck}, func() error { cancel(); return nil })
	require.ErrorContains(t, err, "stopping the part: it would not end")
}

func TestErrorOfAnnouncingStopsTheHouse(t *testing.T) {
	var d diary
	err := (&house{}).live(t.Context(), []Part{d.part("a")}, func() error { return errors.New("nobody listens") })
	require.ErrorContains(t, err, "nobody listens")
	require.Equal(t, []string{"a up", "a down"}, d.lines)
}
