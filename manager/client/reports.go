package client

import (
	"context"
	"io"
	"net/url"

	"github.com/fleetune/fleetune/manager/api/v1"
)

// Compare puts experiments side by side: TASK, which stands for its best,
// TASK#NUMBER or TASK#baseline, two to eight of them.
func (c *Client) Compare(ctx context.Context, of ...string) (v1.Comparison, error) {
	return get[v1.Comparison](ctx, c, path("compare"), url.Values{"of": of})
}

// Report opens a task's report, one HTML page. The caller closes it.
func (c *Client) Report(ctx context.Context, ref string) (io.ReadCloser, error) {
	return c.open(ctx, path("tasks", ref, "report"), nil)
}
