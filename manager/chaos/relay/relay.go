// Package relay is a TCP proxy that can be cut, for the chaos test: it stands
// between one program and the bus, and takes the connection away in the two
// ways in which networks do.
package relay

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
)

// A State of the wire.
type State int

// The states. A refused wire closes what is open and whatever comes; a silent
// one keeps connections and delivers nothing, until it is open again.
const (
	Open State = iota
	Refused
	Silent
)

// A Relay forwards connections to one address.
type Relay struct {
	listener net.Listener
	upstream string
	stop     context.CancelFunc
	done     sync.WaitGroup

	mu      sync.Mutex
	state   State
	changed chan struct{} // closed when state changes
	conns   map[net.Conn]struct{}
}

// Listen starts a relay on a free loopback port.
func Listen(ctx context.Context, upstream string) (*Relay, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for the relay: %w", err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	r := &Relay{
		listener: listener, upstream: upstream, stop: stop,
		changed: make(chan struct{}), conns: make(map[net.Conn]struct{}),
	}
	r.done.Go(func() { r.accept(ctx) })
	return r, nil
}

// Addr is where the relay listens.
func (r *Relay) Addr() string { return r.listener.Addr().String() }

// Set changes the state of the wire.
func (r *Relay) Set(s State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state == s {
		return
	}
	r.state = s
	close(r.changed)
	r.changed = make(chan struct{})
	if s == Refused {
		for c := range r.conns {
			_ = c.Close()
		}
	}
}

// Close cuts every connection and waits for the relay's end.
func (r *Relay) Close() {
	r.stop()
	_ = r.listener.Close()
	r.mu.Lock()
	for c := range r.conns {
		_ = c.Close()
	}
	r.mu.Unlock()
	r.done.Wait()
}

func (r *Relay) accept(ctx context.Context) {
	for {
		in, err := r.listener.Accept()
		if err != nil {
			return // closed
		}
		if !r.keep(ctx, in) {
			_ = in.Close()
			continue
		}
		r.done.Go(func() { r.serve(ctx, in) })
	}
}

// serve joins one connection with the upstream until either ends.
func (r *Relay) serve(ctx context.Context, in net.Conn) {
	defer r.drop(in)
	if r.await(ctx) != nil {
		return
	}
	out, err := new(net.Dialer).DialContext(ctx, "tcp", r.upstream)
	if err != nil {
		return // the client sees its connection closed and comes back
	}
	if !r.keep(ctx, out) {
		_ = out.Close()
		return
	}
	defer r.drop(out)
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(gate{ctx, r, in}, out)
		_ = in.Close()
	})
	_, _ = io.Copy(gate{ctx, r, out}, in)
	_ = out.Close()
	back.Wait()
}

// keep remembers an open connection so that Set and Close can end it. It says
// no when there may be none.
func (r *Relay) keep(ctx context.Context, c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state == Refused || ctx.Err() != nil {
		return false
	}
	r.conns[c] = struct{}{}
	return true
}

func (r *Relay) drop(c net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
	_ = c.Close()
}

// await returns once the wire is not silent.
func (r *Relay) await(ctx context.Context) error {
	for {
		r.mu.Lock()
		state, changed := r.state, r.changed
		r.mu.Unlock()
		if state != Silent {
			return ctx.Err()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// A gate holds writes back while the wire is silent.
type gate struct {
	ctx   context.Context
	relay *Relay
	to    io.Writer
}

func (g gate) Write(p []byte) (int, error) {
	if err := g.relay.await(g.ctx); err != nil {
		return 0, err
	}
	return g.to.Write(p)
}
