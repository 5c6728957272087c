//go:build unix

package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/fleetune/fleetune/manager/postgres"
	"github.com/fleetune/fleetune/shared/natsd"
)

// Restarts of a PostgreSQL that ends by itself: so many, within so long.
const (
	maxRestarts   = 5
	restartWindow = time.Minute
)

// parts are what runs, in the order of starting.
func (o Options) parts(e *Environment) []Part {
	var parts []Part
	if e.PrivatePostgres {
		parts = append(parts, Part{Name: "PostgreSQL", Run: func(ctx context.Context, ready func(), _ <-chan struct{}) error {
			return o.runPostgres(ctx, e, ready)
		}})
	}
	if e.PrivateNATS {
		parts = append(parts, Part{Name: "NATS server", Run: func(ctx context.Context, ready func(), _ <-chan struct{}) error {
			return o.runNATS(ctx, e, ready)
		}})
	}
	parts = append(parts, o.part("manager", e, o.Manager))
	if o.Worker != nil {
		parts = append(parts, o.part("worker", e, o.Worker))
	}
	return parts
}

func (o Options) part(name string, e *Environment, run func(context.Context, Environment, func(), <-chan struct{}) error) Part {
	return Part{Name: name, Run: func(ctx context.Context, ready func(), hurry <-chan struct{}) error {
		return run(ctx, *e, ready, hurry)
	}}
}

// runPostgres runs the private PostgreSQL, and starts it again when it ends
// by itself. Its URL stays the same.
func (o Options) runPostgres(ctx context.Context, e *Environment, ready func()) error {
	var restarts []time.Time
	for {
		server, err := postgres.Start(ctx, postgres.Options{Dir: e.Paths.Postgres(), Log: o.Log})
		if err != nil {
			return err
		}
		if len(restarts) == 0 {
			e.DatabaseURL = server.URL()
			ready()
		}
		select {
		case <-ctx.Done():
			return server.Stop()
		case <-server.Ended():
		}
		if err := server.Stop(); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it ended because it was told to
		}
		o.Log.Error().Msg("PostgreSQL ended by itself; starting it again")
		restarts = append(restarts, time.Now())
		if n := len(restarts); n > maxRestarts && restarts[n-1].Sub(restarts[n-1-maxRestarts]) < restartWindow {
			return errors.New("it ends again and again")
		}
	}
}

func (o Options) runNATS(ctx context.Context, e *Environment, ready func()) error {
	host, port, err := o.busAddress(ctx, e)
	if err != nil {
		return err
	}
	options := natsd.Options{Dir: e.Paths.NATS(), Host: host, Port: port, Secret: e.BusSecret, Log: o.Log}
	return natsd.Run(ctx, options, func(s *natsd.Server) {
		e.BusURL = natsURL(s.URL(), dialable)
		e.PublicBusURL = natsURL(s.URL(), public)
		ready()
	})
}

// busAddress is where the NATS server listens: as asked, else beside the API,
// on the usual port if that is free.
func (o Options) busAddress(ctx context.Context, e *Environment) (string, int, error) {
	host := "127.0.0.1"
	if tcp, ok := e.Listener.Addr().(*net.TCPAddr); ok {
		host = tcp.IP.String()
	}
	if o.BusListen == "" {
		// Asking for the port and then leaving it to the server is a race
		// that only a stranger can win, who then gets a clear error.
		l, err := listen(ctx, "", host, busPort)
		if err != nil {
			return "", 0, fmt.Errorf("looking for a free port: %w", err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		return host, port, l.Close()
	}
	host, text, err := net.SplitHostPort(o.BusListen)
	if err != nil {
		return "", 0, fmt.Errorf("reading the bus's address: %w", err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return "", 0, fmt.Errorf("reading the bus's address: %w", err)
	}
	return host, port, nil
}

// natsURL changes the address in a NATS URL.
func natsURL(text string, change func(string) string) string {
	u, err := url.Parse(text)
	if err != nil {
		return text
	}
	u.Host = change(u.Host)
	return u.String()
}

// dialable is the address at which this machine reaches a listener.
func dialable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// public is the address at which other machines reach a listener. One that
// listens everywhere is reached at the machine's first global address.
func public(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsUnspecified() {
		return address
	}
	if addresses, err := net.InterfaceAddrs(); err == nil {
		for _, a := range addresses {
			if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
				return net.JoinHostPort(n.IP.String(), port)
			}
		}
	}
	if name, err := os.Hostname(); err == nil {
		return net.JoinHostPort(name, port)
	}
	return address
}
