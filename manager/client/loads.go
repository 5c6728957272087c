package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/fleetune/fleetune/manager/api/v1"
)

// OrderLoad orders a load from several workers; GatherLoad starts it.
func (c *Client) OrderLoad(ctx context.Context, o v1.LoadOrder) (v1.Submitted, error) {
	return send[v1.Submitted](ctx, c, http.MethodPost, path("loads"), o)
}

// GatherLoad starts a load and calls state and part for what happens to it,
// until every share has ended. The stream cannot be resumed: when it breaks,
// the shares stop by themselves.
func (c *Client) GatherLoad(ctx context.Context, ref string, state func(v1.LoadState) error, part func(v1.LoadPart) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	quiet := time.AfterFunc(quietTime, cancel) // the API tells of a load every second
	defer quiet.Stop()
	response, err := c.request(ctx, http.MethodGet, path("loads", ref, "gather"), nil, nil, nil)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }() // read to its end, or given up
	err = readMessages(response.Body, func() { quiet.Reset(quietTime) }, func(m message) error {
		switch m.name {
		case "state":
			return decoded(m, state)
		case "part":
			return decoded(m, part)
		case "end":
			return errStop
		}
		return nil
	})
	if errors.Is(err, errStop) {
		return nil
	}
	return fmt.Errorf("gathering the load: %w", err)
}

func decoded[T any](m message, f func(T) error) error {
	var v T
	if err := json.Unmarshal(m.data, &v); err != nil {
		return fmt.Errorf("reading an event %q: %w", m.name, err)
	}
	return f(v)
}
