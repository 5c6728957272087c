package client

import (
	"context"
	"net/url"
	"strconv"

	"github.com/fleetune/fleetune/manager/api/v1"
)

// Recipe returns a configuration in a form in which it will be run. Experiment
// 0 is the task's best, port 0 the usual one, and so is no image.
func (c *Client) Recipe(ctx context.Context, ref, format string, experiment, port int, image string) (v1.Recipe, error) {
	q := url.Values{"format": {format}}
	if image != "" {
		q.Set("image", image)
	}
	if experiment > 0 {
		q.Set("experiment", strconv.Itoa(experiment))
	}
	if port > 0 {
		q.Set("port", strconv.Itoa(port))
	}
	return get[v1.Recipe](ctx, c, path("tasks", ref, "recipe"), q)
}
