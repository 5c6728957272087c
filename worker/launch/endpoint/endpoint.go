// Package endpoint is the launcher of a server that runs already: it starts
// nothing and stops nothing. Only the load can vary over such a server, which
// the manager sees to.
package endpoint

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/fleetune/fleetune/worker/launch"
)

// Name of the launcher.
const Name = "endpoint"

// A Launcher hands out servers that run already.
type Launcher struct{}

var _ launch.Launcher = Launcher{}

// Name is endpoint.
func (Launcher) Name() string { return Name }

// Available is always true: the server's own answer says more.
func (Launcher) Available(context.Context) error { return nil }

// Sweep has nothing to do.
func (Launcher) Sweep(context.Context) error { return nil }

// Launch checks the server's URL.
func (Launcher) Launch(_ context.Context, s launch.Spec) (launch.Server, error) {
	if s.Endpoint == nil {
		return nil, fmt.Errorf("%w: the task names no endpoint", launch.ErrPlace)
	}
	u, err := url.Parse(s.Endpoint.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%w: %q is no URL of a server", launch.ErrPlace, s.Endpoint.URL)
	}
	// The API's own paths begin with /v1: people name the server with it or
	// without.
	base := strings.TrimSuffix(strings.TrimSuffix(u.String(), "/"), "/v1")
	return &server{url: base, done: make(chan struct{})}, nil
}

type server struct {
	url  string
	once sync.Once
	done chan struct{}
}

func (v *server) URL() string           { return v.url }
func (v *server) Facts() launch.Facts   { return launch.Facts{} }
func (v *server) Done() <-chan struct{} { return v.done }
func (v *server) End() launch.End       { return launch.End{Code: -1, Stopped: true} }
func (v *server) Log() string           { return "" }

// Stop leaves the server alone.
func (v *server) Stop(context.Context, time.Duration) error {
	v.once.Do(func() { close(v.done) })
	return nil
}
