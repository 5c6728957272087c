package client

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/records"
)

// A RecordListing says which records to answer. Empty fields do not narrow it.
type RecordListing struct {
	Operation string
	Task      string
	Key       string
	After     string
	Limit     int
}

func (l RecordListing) query() url.Values {
	q := url.Values{}
	for key, value := range map[string]string{"operation": l.Operation, "task": l.Task, "key": l.Key, "after": l.After} {
		if value != "" {
			q.Set(key, value)
		}
	}
	if l.Limit > 0 {
		q.Set("limit", strconv.Itoa(l.Limit))
	}
	return q
}

// Records returns a page of records, in the order they were added.
func (c *Client) Records(ctx context.Context, l RecordListing) (v1.Page[v1.Record], error) {
	return get[v1.Page[v1.Record]](ctx, c, path("records"), l.query())
}

// Record returns one record.
func (c *Client) Record(ctx context.Context, number int64) (v1.Record, error) {
	return get[v1.Record](ctx, c, path("records", strconv.FormatInt(number, 10)), nil)
}

// Winner asks for the record that serves a question.
func (c *Client) Winner(ctx context.Context, q records.Question) (v1.Winner, error) {
	values := url.Values{"operation": {q.Operation}}
	for key, value := range map[string]string{"version": q.Version, "runner": q.Runner, "objective": q.Objective} {
		if value != "" {
			values.Set(key, value)
		}
	}
	for key, facts := range map[string]records.Facts{"extras": q.Extras, "workload": q.Workload, "environment": q.Environment} {
		if len(facts) == 0 {
			continue
		}
		data, err := facts.MarshalJSON()
		if err != nil {
			return v1.Winner{}, err
		}
		values.Set(key, string(data))
	}
	if q.Nearest {
		values.Set("nearest", "true")
	}
	return get[v1.Winner](ctx, c, path("records", "winner"), values)
}

// PinRecord lets a record serve its key before every winner.
func (c *Client) PinRecord(ctx context.Context, number int64, note string) (v1.Record, error) {
	return send[v1.Record](ctx, c, http.MethodPost, path("records", strconv.FormatInt(number, 10), "pin"), v1.Pin{Note: note})
}

// UnpinRecord takes a pin back.
func (c *Client) UnpinRecord(ctx context.Context, number int64) (v1.Record, error) {
	return send[v1.Record](ctx, c, http.MethodDelete, path("records", strconv.FormatInt(number, 10), "pin"), nil)
}

// ExportRecords opens records as a file. The caller closes it.
func (c *Client) ExportRecords(ctx context.Context, l RecordListing) (io.ReadCloser, error) {
	response, err := c.request(ctx, http.MethodGet, path("records", "export"), l.query(), nil, nil)
	if err != nil {
		return nil, err
	}
	return response.Body, nil
}

// ImportRecords adds the records of a file's text.
func (c *Client) ImportRecords(ctx context.Context, file string) (v1.Import, error) {
	return send[v1.Import](ctx, c, http.MethodPost, path("records", "import"), v1.RecordFile{File: file})
}
