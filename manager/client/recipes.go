package client

import (
	"context"
	"net/url"
	"strconv"

	"github.com/fleetune/fleetune/manager/api/v1"
)

// A RecipeWish says which configuration of a task is wanted, and how.
type RecipeWish struct {
	Format string
	// Experiment by its number; 0 is the task's best.
	Experiment int
	// Port that the engine will serve on; 0 is the usual one.
	Port int
	// Image of the engine; empty is the one that is known.
	Image string
}

// Recipe returns a configuration in a form in which it will be run.
func (c *Client) Recipe(ctx context.Context, ref string, w RecipeWish) (v1.Recipe, error) {
	q := url.Values{"format": {w.Format}}
	if w.Experiment > 0 {
		q.Set("experiment", strconv.Itoa(w.Experiment))
	}
	if w.Port > 0 {
		q.Set("port", strconv.Itoa(w.Port))
	}
	if w.Image != "" {
		q.Set("image", w.Image)
	}
	return get[v1.Recipe](ctx, c, path("tasks", ref, "recipe"), q)
}
