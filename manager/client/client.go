// Package client speaks to a manager's API. Errors that the API answers are
// *v1.Problem, which say what to do next; a manager that cannot be reached is
// ErrUnreachable. Streams of events resume by themselves.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/fleetune/fleetune/manager/api/v1"
)

// ErrUnreachable says that no answer came from the manager.
var ErrUnreachable = errors.New("the manager cannot be reached")

const (
	// callTime bounds a call that is not a stream.
	callTime = 60 * time.Second
	// maxProblem bounds what is read of an answer that is an error.
	maxProblem = 4 << 20
)

// A Client speaks to one manager. It is safe for concurrent use.
type Client struct {
	base  string
	token string
	http  *http.Client
}

// New makes a client of the manager at base, such as http://127.0.0.1:8080.
func New(base, token string) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("reading the manager's URL: %w", err)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("%q is no URL of a manager; it looks like http://127.0.0.1:8080", base)
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment}
	if standard, ok := http.DefaultTransport.(*http.Transport); ok {
		transport = standard.Clone()
	}
	return &Client{base: strings.TrimRight(base, "/"), token: token, http: &http.Client{Transport: transport}}, nil
}

// Close lets go of idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// path joins parts of a path under /api/v1, escaped.
func path(parts ...string) string {
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return v1.Base + "/" + strings.Join(parts, "/")
}

// request sends one request. The answer's status is below 400.
func (c *Client) request(ctx context.Context, method, path string, query url.Values, body any, header http.Header) (*http.Response, error) {
	target := c.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	var reader io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encoding a request: %w", err)
		}
		reader = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, target, reader)
	if err != nil {
		return nil, fmt.Errorf("making a request: %w", err)
	}
	for key, values := range header {
		req.Header[key] = values
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	response, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%w at %s: %w", ErrUnreachable, c.base, err)
	}
	if response.StatusCode >= http.StatusBadRequest {
		return nil, readProblem(response)
	}
	return response, nil
}

// readProblem reads the answer that refuses a request.
func readProblem(response *http.Response) error {
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxProblem))
	if err != nil {
		return fmt.Errorf("%w: reading its answer: %w", ErrUnreachable, err)
	}
	var p v1.Problem
	if json.Unmarshal(data, &p) != nil || p.Status == 0 {
		p = v1.Problem{Status: response.StatusCode, Title: response.Status,
			Detail: "the answer was " + response.Status + " and no problem document",
			Next:   "check that the URL is a Fleetune manager's"}
	}
	return &p
}

// call sends a request and decodes its answer into out.
func (c *Client) call(ctx context.Context, method, path string, query url.Values, body, out any) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	response, err := c.request(ctx, method, path, query, body, nil)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if !strings.HasPrefix(response.Header.Get("Content-Type"), "application/json") {
		return fmt.Errorf("%w: %s answers, but not as a Fleetune manager", ErrUnreachable, c.base)
	}
	if err := json.NewDecoder(response.Body).Decode(out); err != nil {
		return fmt.Errorf("reading the manager's answer: %w", err)
	}
	return nil
}

func get[T any](ctx context.Context, c *Client, path string, query url.Values) (T, error) {
	var out T
	err := c.call(ctx, http.MethodGet, path, query, nil, &out)
	return out, err
}

func send[T any](ctx context.Context, c *Client, method, path string, body any) (T, error) {
	var out T
	err := c.call(ctx, method, path, nil, body, &out)
	return out, err
}
