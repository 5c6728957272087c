package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/fleetune/fleetune/manager/api/v1"
)

const (
	// quietTime is how long a stream may be silent: the API sends a comment
	// every 15 s.
	quietTime = 45 * time.Second
	// Pauses between attempts to resume a stream grow from the first to the
	// last.
	firstPause = 250 * time.Millisecond
	lastPause  = 5 * time.Second
)

// A Watch follows what happens.
type Watch struct {
	// Task to watch; empty means all.
	Task string
	// After is the id of the last event seen; 0 starts now.
	After int64
	// Event is called for every event. Its error ends the watch.
	Event func(v1.Event) error
	// Reset is called when events were missed for good, or the stream starts:
	// the present state must be read again. May be nil.
	Reset func() error
	// Broken is called when the connection is lost, before it is tried again.
	// May be nil.
	Broken func(error)
}

// Watch follows events until ctx ends (nil), a callback fails (its error), or
// the API refuses.
func (c *Client) Watch(ctx context.Context, w Watch) error {
	at := path("events")
	if w.Task != "" {
		at = path("tasks", w.Task, "events")
	}
	cursor := ""
	if w.After > 0 {
		cursor = strconv.FormatInt(w.After, 10)
	}
	if w.Reset == nil {
		w.Reset = func() error { return nil }
	}
	return c.stream(ctx, at, cursor, w.Broken, w.Reset, func(m message) error {
		if m.name == "reset" {
			return w.Reset()
		}
		var e v1.Event
		if err := json.Unmarshal(m.data, &e); err != nil {
			return fmt.Errorf("reading an event: %w", err)
		}
		return w.Event(e)
	})
}

// FollowLogs calls f for every piece of an experiment's output as it comes,
// until the experiment has ended. Attempt 0 means all attempts.
func (c *Client) FollowLogs(ctx context.Context, ref string, number, attempt int, f func(v1.LogChunk) error) error {
	at := path("tasks", ref, "experiments", strconv.Itoa(number), "logs", "follow") + "?attempt=" + strconv.Itoa(attempt)
	err := c.stream(ctx, at, "", nil, func() error { return nil }, func(m message) error {
		if m.name == "end" {
			return errStop
		}
		var chunk v1.LogChunk
		if err := json.Unmarshal(m.data, &chunk); err != nil {
			return fmt.Errorf("reading output: %w", err)
		}
		return f(chunk)
	})
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

// stream reads messages and goes on behind the last one after every break.
// connected is called whenever a connection without a cursor stands: what
// happened before it is not told.
func (c *Client) stream(ctx context.Context, at, cursor string, broken func(error), connected func() error, f func(message) error) error {
	pause := firstPause
	for ctx.Err() == nil {
		err := c.streamOnce(ctx, at, cursor, connected, func(m message) error {
			pause = firstPause
			if err := f(m); err != nil {
				return &callbackError{err}
			}
			if m.id != "" {
				cursor = m.id
			}
			return nil
		})
		var own *callbackError
		var refused *v1.Problem
		switch {
		case errors.As(err, &own):
			return own.err
		case errors.As(err, &refused) && refused.Status < http.StatusInternalServerError:
			return refused
		}
		if ctx.Err() != nil {
			break
		}
		if broken != nil {
			broken(err)
		}
		wait(ctx, pause)
		pause = min(2*pause, lastPause)
	}
	return nil //nolint:nilerr // broken heard of it, and the caller ends it
}

// A callbackError is a callback's, not the stream's.
type callbackError struct{ err error }

func (e *callbackError) Error() string { return e.err.Error() }

func (c *Client) streamOnce(ctx context.Context, at, cursor string, connected func() error, f func(message) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	quiet := time.AfterFunc(quietTime, func() { cancel(fmt.Errorf("%w: silent for %s", ErrUnreachable, quietTime)) })
	defer quiet.Stop()
	header := http.Header{"Accept": {"text/event-stream"}}
	if cursor != "" {
		header.Set("Last-Event-ID", cursor)
	}
	response, err := c.request(ctx, http.MethodGet, at, nil, nil, header)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if !strings.HasPrefix(response.Header.Get("Content-Type"), "text/event-stream") {
		return fmt.Errorf("%w: %s answers, but not with events", ErrUnreachable, c.base)
	}
	if cursor == "" {
		if err := connected(); err != nil {
			return &callbackError{err}
		}
	}
	return readMessages(response.Body, func() { quiet.Reset(quietTime) }, f)
}

// wait waits, or less when ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
