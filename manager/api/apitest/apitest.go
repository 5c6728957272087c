// Package apitest is a stand for tests of what speaks to the API: a real
// database, a real bus and a real API server on loopback, with rows that the
// store's own functions have written. Only tests import it.
package apitest

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/fleetune/fleetune/manager/api"
	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/postgres/pgtest"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/shared/bus"
	"github.com/fleetune/fleetune/shared/natsd"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
)

// The tokens of every stand.
const (
	Token     = "correct-horse"
	JoinToken = "join-only"
)

// A Stand is a running API with everything it needs.
type Stand struct {
	URL   string
	Store *store.Store
	Pool  *pgxpool.Pool
	Bus   *bus.Bus
	API   *api.API
	// Log is what the API and its server have written.
	Log *Log
	// Stop ends the API server and waits for it; the end of the test does so too.
	Stop func()
}

// A Log keeps what is written to it.
type Log struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write adds to the log.
func (l *Log) Write(data []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(data)
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Start starts a stand that ends with the test.
func Start(t testing.TB) *Stand {
	t.Helper()
	s := &Stand{Pool: pgtest.New(t), Log: &Log{}}
	log := zerolog.New(s.Log)
	s.Store = store.New(s.Pool)
	s.Bus = connect(t)
	var err error
	s.API, err = api.New(api.Config{
		Store: s.Store, JetStream: s.Bus.JetStream(), Token: Token, JoinToken: JoinToken, Log: log,
		Credentials: func(_ context.Context, worker string) (v1.Credentials, error) {
			return v1.Credentials{URL: "nats://127.0.0.1:4222", User: worker, Password: "secret-of-" + worker}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.URL = "http://" + listener.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { s.API.Run(ctx) })
	running.Go(func() {
		if err := api.Serve(ctx, listener, s.API.Handler(), log); err != nil {
			t.Error(err)
		}
	})
	s.Stop = func() {
		cancel()
		running.Wait()
	}
	t.Cleanup(s.Stop)
	return s
}

func connect(t testing.TB) *bus.Bus {
	t.Helper()
	ctx := context.Background()
	secret := []byte("0123456789abcdef0123456789abcdef")
	server, err := natsd.Start(ctx, natsd.Options{Dir: t.TempDir(), Secret: secret, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	b, err := bus.Connect(ctx, bus.Options{URL: server.URL(), Name: "manager", User: "manager",
		Password: natsd.ManagerPassword(secret), Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	if err := bus.Ensure(ctx, b.JetStream(), bus.Limits{}); err != nil {
		t.Fatal(err)
	}
	return b
}
