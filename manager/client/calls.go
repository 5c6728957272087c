package client

import (
	"context"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"

	"github.com/fleetune/fleetune/manager/api/v1"
)

// A Listing says which part of a list to answer. Empty fields do not narrow it.
type Listing struct {
	Status  string
	Outcome string // experiments only
	Purpose string // experiments only
	After   string
	Limit   int
}

func (l Listing) query() url.Values {
	q := url.Values{}
	for key, value := range map[string]string{"status": l.Status, "outcome": l.Outcome, "purpose": l.Purpose, "after": l.After} {
		if value != "" {
			q.Set(key, value)
		}
	}
	if l.Limit > 0 {
		q.Set("limit", strconv.Itoa(l.Limit))
	}
	return q
}

// Submit hands a task in.
func (c *Client) Submit(ctx context.Context, s v1.Submission) (v1.Submitted, error) {
	return send[v1.Submitted](ctx, c, http.MethodPost, path("tasks"), s)
}

// Tasks returns a page of tasks, newest first.
func (c *Client) Tasks(ctx context.Context, l Listing) (v1.Page[v1.Task], error) {
	return get[v1.Page[v1.Task]](ctx, c, path("tasks"), l.query())
}

// Task returns a task by name or id.
func (c *Client) Task(ctx context.Context, ref string) (v1.Task, error) {
	return get[v1.Task](ctx, c, path("tasks", ref), nil)
}

// Source returns a task's file and what the manager made of it.
func (c *Client) Source(ctx context.Context, ref string) (v1.Source, error) {
	return get[v1.Source](ctx, c, path("tasks", ref, "source"), nil)
}

// Best returns a task's best experiment.
func (c *Client) Best(ctx context.Context, ref string) (v1.Best, error) {
	return get[v1.Best](ctx, c, path("tasks", ref, "best"), nil)
}

// Pause holds a task back.
func (c *Client) Pause(ctx context.Context, ref string) (v1.Task, error) {
	return send[v1.Task](ctx, c, http.MethodPost, path("tasks", ref, "pause"), nil)
}

// Resume lets a paused task go on.
func (c *Client) Resume(ctx context.Context, ref string) (v1.Task, error) {
	return send[v1.Task](ctx, c, http.MethodPost, path("tasks", ref, "resume"), nil)
}

// Cancel ends a task.
func (c *Client) Cancel(ctx context.Context, ref, cause string) (v1.Task, error) {
	return send[v1.Task](ctx, c, http.MethodPost, path("tasks", ref, "cancel"), v1.Change{Cause: cause})
}

// Delete deletes a task that has ended; a dry run tells what would go.
func (c *Client) Delete(ctx context.Context, ref string, dry bool) (v1.Deletion, error) {
	var d v1.Deletion
	q := url.Values{}
	if dry {
		q.Set("dry_run", "true")
	}
	err := c.call(ctx, http.MethodDelete, path("tasks", ref), q, nil, &d)
	return d, err
}

// Retry hands a task's file in again, under another name.
func (c *Client) Retry(ctx context.Context, ref string, how v1.Retry) (v1.Task, error) {
	return send[v1.Task](ctx, c, http.MethodPost, path("tasks", ref, "retry"), how)
}

// Experiments returns a page of a task's experiments, by number.
func (c *Client) Experiments(ctx context.Context, ref string, l Listing) (v1.Page[v1.Experiment], error) {
	return get[v1.Page[v1.Experiment]](ctx, c, path("tasks", ref, "experiments"), l.query())
}

// AllExperiments returns a task's experiments page by page.
func (c *Client) AllExperiments(ctx context.Context, ref string, l Listing) iter.Seq2[v1.Experiment, error] {
	return func(yield func(v1.Experiment, error) bool) {
		for {
			page, err := c.Experiments(ctx, ref, l)
			if err != nil {
				yield(v1.Experiment{}, err)
				return
			}
			for _, e := range page.Items {
				if !yield(e, nil) {
					return
				}
			}
			if page.Next == "" {
				return
			}
			l.After = page.Next
		}
	}
}

// Experiment returns an experiment with its attempts.
func (c *Client) Experiment(ctx context.Context, ref string, number int) (v1.Detailed, error) {
	return get[v1.Detailed](ctx, c, path("tasks", ref, "experiments", strconv.Itoa(number)), nil)
}

// Why says what an experiment waits for; number 0 means the task's next one.
func (c *Client) Why(ctx context.Context, ref string, number int) (v1.Why, error) {
	if number == 0 {
		return get[v1.Why](ctx, c, path("tasks", ref, "why"), nil)
	}
	return get[v1.Why](ctx, c, path("tasks", ref, "experiments", strconv.Itoa(number), "why"), nil)
}

// Insight says which of a task's parameters matter and how its search went;
// an empty objective means the first one.
func (c *Client) Insight(ctx context.Context, ref, objective string) (v1.Insight, error) {
	q := url.Values{}
	if objective != "" {
		q.Set("objective", objective)
	}
	return get[v1.Insight](ctx, c, path("tasks", ref, "insight"), q)
}

// Logs returns a page of what an experiment's programs wrote; attempt 0 means
// all attempts.
func (c *Client) Logs(ctx context.Context, ref string, number, attempt int, after string) (v1.Page[v1.LogChunk], error) {
	q := url.Values{"attempt": {strconv.Itoa(attempt)}}
	if after != "" {
		q.Set("after", after)
	}
	return get[v1.Page[v1.LogChunk]](ctx, c, path("tasks", ref, "experiments", strconv.Itoa(number), "logs"), q)
}

// Export opens a task's experiments as a file. The caller closes it; an error
// while reading means that the file is not whole.
func (c *Client) Export(ctx context.Context, ref, format string, l Listing) (io.ReadCloser, error) {
	q := l.query()
	q.Set("format", format)
	return c.open(ctx, path("tasks", ref, "export"), q)
}

// ExportCells is Export with a row for each cell of each experiment; serving
// tasks only.
func (c *Client) ExportCells(ctx context.Context, ref, format string, l Listing) (io.ReadCloser, error) {
	q := l.query()
	q.Set("format", format)
	q.Set("cells", "true")
	return c.open(ctx, path("tasks", ref, "export"), q)
}

// open asks for a file that is no JSON document.
func (c *Client) open(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	response, err := c.request(ctx, http.MethodGet, path, query, nil, nil)
	if err != nil {
		return nil, err
	}
	return response.Body, nil
}

// Workers returns every worker ever seen, by name.
func (c *Client) Workers(ctx context.Context) ([]v1.Worker, error) {
	page, err := get[v1.Page[v1.Worker]](ctx, c, path("workers"), nil)
	return page.Items, err
}

// Drain asks a worker to finish what it runs and leave, or takes the wish back.
func (c *Client) Drain(ctx context.Context, worker string, drain bool) (v1.Worker, error) {
	method := http.MethodPost
	if !drain {
		method = http.MethodDelete
	}
	return send[v1.Worker](ctx, c, method, path("workers", worker, "drain"), nil)
}
