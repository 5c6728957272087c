//go:build unix

package local

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/fleetune/fleetune/manager/postgres"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/fleetune/fleetune/shared/bus"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// state is a state folder that PostgreSQL's account can pass through.
func state(t *testing.T) Paths {
	t.Helper()
	dir, err := os.MkdirTemp("", "fleetune-local-test-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o711))
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return Paths{Root: filepath.Join(dir, "state")}
}

// manager is the least that a manager does: it reaches the database and the
// bus, and serves.
func manager(ctx context.Context, e Environment, ready func(), _ <-chan struct{}) error {
	conn, err := pgx.Connect(ctx, e.DatabaseURL)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	b, err := bus.Connect(ctx, bus.Options{URL: e.BusURL, Name: wire.ManagerName, User: wire.ManagerName, Password: bus.ManagerPassword(e.BusSecret)})
	if err != nil {
		return err
	}
	defer b.Close()
	if err := bus.Ensure(ctx, b.JetStream(), bus.Limits{}); err != nil {
		return err
	}
	server := &http.Server{Handler: http.NotFoundHandler()}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(e.Listener) }()
	ready()
	<-ctx.Done()
	if err := server.Close(); err != nil {
		return err
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// worker is the least that a worker does: it reaches the bus under its name.
func worker(ctx context.Context, e Environment, ready func(), _ <-chan struct{}) error {
	b, err := bus.Connect(ctx, bus.Options{URL: e.BusURL, Name: "w1", User: "w1", Password: bus.WorkerPassword(e.BusSecret, "w1")})
	if err != nil {
		return err
	}
	defer b.Close()
	ready()
	<-ctx.Done()
	return nil
}

// A spoken is a writer that tells when it is written to.
type spoken struct {
	mu   sync.Mutex
	text bytes.Buffer
	once sync.Once
	ch   chan struct{}
}

func (s *spoken) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.once.Do(func() { close(s.ch) })
	return s.text.Write(p)
}

// up starts a house and returns, when it is up, what it said, how to signal
// it, and its end.
func up(t *testing.T, o Options) (string, chan os.Signal, <-chan error) {
	t.Helper()
	out := &spoken{ch: make(chan struct{})}
	signals := make(chan os.Signal, 2)
	o.Out, o.Signals = out, signals
	if o.Manager == nil {
		o.Manager = manager
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if o.BusListen == "" {
		o.BusListen = "127.0.0.1:0"
	}
	ended := make(chan error, 1)
	go func() { ended <- Up(t.Context(), o) }()
	select {
	case <-out.ch:
	case err := <-ended:
		if errors.Is(err, postgres.ErrNotInstalled) && os.Getenv("CI") == "" {
			t.Skip(err)
		}
		require.NoError(t, err)
		t.Fatal("the house ended at once")
	}
	out.mu.Lock()
	defer out.mu.Unlock()
	return out.text.String(), signals, ended
}

func TestUp(t *testing.T) {
	paths := state(t)
	said, signals, ended := up(t, Options{Root: paths.Root, Worker: worker})
	url, token, err := paths.Reach()
	require.NoError(t, err)
	require.Contains(t, said, url)
	require.Contains(t, said, paths.Root)
	require.Contains(t, said, paths.Token())
	require.NotContains(t, said, token, "no secrets")
	for _, secret := range []string{paths.Token(), paths.JoinToken(), paths.BusSecret()} {
		info, err := os.Stat(secret)
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
	}

	err = Up(t.Context(), Options{Root: paths.Root, Manager: manager, Listen: "127.0.0.1:0"})
	require.ErrorIs(t, err, ErrRunning)
	require.ErrorContains(t, err, "kill ")
	require.ErrorContains(t, err, url)
	_, _, err = paths.Reach()
	require.NoError(t, err, "the first is not disturbed")

	signals <- syscall.SIGTERM
	require.NoError(t, <-ended)
	_, _, err = paths.Reach()
	require.ErrorIs(t, err, ErrNotRunning)
	requireNothingLeft(t, paths, said)

	_, signals, ended = up(t, Options{Root: paths.Root})
	_, again, err := paths.Reach()
	require.NoError(t, err)
	require.Equal(t, token, again, "secrets stay")
	signals <- syscall.SIGINT
	require.NoError(t, <-ended)
}

// requireNothingLeft looks for locks and ports. That no process is left is
// proven by postgres's own tests: it waits for them.
func requireNothingLeft(t *testing.T, paths Paths, said string) {
	t.Helper()
	for _, lock := range []string{paths.Lock(), filepath.Join(paths.Postgres(), "owner.lock"), filepath.Join(paths.Postgres(), "data", "postmaster.pid")} {
		_, err := os.Stat(lock)
		require.ErrorIs(t, err, fs.ErrNotExist)
	}
	ports := 0
	for _, word := range strings.Fields(said) {
		_, address, found := strings.Cut(word, "://127.0.0.1:")
		if !found {
			continue
		}
		ports++
		l, err := net.Listen("tcp", "127.0.0.1:"+address)
		require.NoError(t, err, "the port is free again")
		require.NoError(t, l.Close())
	}
	require.Equal(t, 2, ports)
}

func TestSecondSignalHurries(t *testing.T) {
	began := make(chan struct{})
	dawdler := func(ctx context.Context, _ Environment, ready func(), hurry <-chan struct{}) error {
		ready()
		<-ctx.Done()
		close(began)
		<-hurry
		return nil
	}
	_, signals, ended := up(t, Options{Root: state(t).Root, Worker: dawdler})
	signals <- syscall.SIGINT
	<-began
	signals <- syscall.SIGINT
	require.NoError(t, <-ended)
}

func TestPostgresIsStartedAgain(t *testing.T) {
	paths := state(t)
	restarted := make(chan error, 1)
	watcher := func(ctx context.Context, e Environment, ready func(), _ <-chan struct{}) error {
		ready()
		restarted <- killPostgres(ctx, e)
		<-ctx.Done()
		return nil
	}
	_, signals, ended := up(t, Options{Root: paths.Root, Manager: watcher})
	require.NoError(t, <-restarted)
	signals <- syscall.SIGINT
	require.NoError(t, <-ended)
}

// killPostgres kills the server and waits for the next one.
func killPostgres(ctx context.Context, e Environment) error {
	text, err := os.ReadFile(filepath.Join(e.Paths.Postgres(), "data", "postmaster.pid"))
	if err != nil {
		return err
	}
	pid := 0
	for _, digit := range strings.SplitN(string(text), "\n", 2)[0] {
		pid = pid*10 + int(digit-'0')
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return err
	}
	for ctx.Err() == nil {
		conn, err := pgx.Connect(ctx, e.DatabaseURL)
		if err == nil {
			return conn.Close(ctx)
		}
	}
	return ctx.Err()
}

func TestServersElsewhereAreUsed(t *testing.T) {
	seen := make(chan Environment, 1)
	look := func(ctx context.Context, e Environment, ready func(), _ <-chan struct{}) error {
		seen <- e
		ready()
		<-ctx.Done()
		return nil
	}
	paths := state(t)
	said, signals, ended := up(t, Options{
		Root: paths.Root, Manager: look,
		PostgresURL: "postgres://u:hidden@db/f", NATSURL: "nats://n:4222",
	})
	e := <-seen
	require.Equal(t, "postgres://u:hidden@db/f", e.DatabaseURL)
	require.Equal(t, "nats://n:4222", e.PublicBusURL)
	require.NotContains(t, said, "hidden")
	signals <- syscall.SIGINT
	require.NoError(t, <-ended)
	for _, dir := range []string{paths.Postgres(), paths.NATS()} {
		_, err := os.Stat(dir)
		require.ErrorIs(t, err, fs.ErrNotExist, "nothing private was started")
	}
}

func TestTakenPortIsToldBeforeAnythingStarts(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	paths := state(t)
	err = Up(t.Context(), Options{Root: paths.Root, Manager: manager, Listen: l.Addr().String()})
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	require.ErrorContains(t, err, "--listen takes another one")
	_, err = os.Stat(paths.Postgres())
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = os.Stat(paths.Lock())
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestSecrets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	first, err := LoadSecret(path)
	require.NoError(t, err)
	require.Len(t, first, 43, "256 bits in base64url")
	second, err := LoadSecret(path)
	require.NoError(t, err)
	require.Equal(t, first, second)
	require.NoError(t, os.Chmod(path, 0o644))
	_, err = LoadSecret(path)
	require.ErrorContains(t, err, "may be read by others (mode 0644)")
	require.NoError(t, os.Chmod(path, 0o600))
	require.NoError(t, os.WriteFile(path, []byte("\n"), 0o600))
	_, err = LoadSecret(path)
	require.ErrorContains(t, err, "too short")
}

func TestDefaultRoot(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		uid  int
		want string
	}{
		{nil, 0, "/var/lib/fleetune"},
		{map[string]string{"HOME": "/home/a"}, 1000, "/home/a/.local/state/fleetune"},
		{map[string]string{"HOME": "/home/a", "XDG_STATE_HOME": "/state"}, 1000, "/state/fleetune"},
		{map[string]string{"HOME": "/home/a", "XDG_STATE_HOME": "state"}, 1000, "/home/a/.local/state/fleetune"},
		{map[string]string{HomeVariable: "/x", "XDG_STATE_HOME": "/state"}, 1000, "/x"},
		{map[string]string{HomeVariable: "/x"}, 0, "/x"},
	} {
		got, err := defaultRoot(func(name string) string { return c.env[name] }, c.uid)
		require.NoError(t, err)
		require.Equal(t, c.want, got)
	}
	_, err := defaultRoot(func(string) string { return "" }, 1000)
	require.ErrorContains(t, err, HomeVariable)
}

func TestBannerTellsHowToJoin(t *testing.T) {
	l, err := net.Listen("tcp", "0.0.0.0:0")
	require.NoError(t, err)
	defer l.Close()
	e := &Environment{Paths: Paths{Root: "/state"}, Listener: l, JoinToken: "secret-token", Token: "the keys to the house"}
	shown := Options{ShowToken: true}.banner(e)
	require.NotContains(t, shown, e.Token, "a node needs no more than the join token")
	require.Contains(t, shown, "FLEETUNE_TOKEN=secret-token fleetune-worker --join http://")
	hidden := Options{}.banner(e)
	require.NotContains(t, hidden, "secret-token")
	require.Contains(t, hidden, "cat /state/join.token")
	for _, text := range []string{shown, hidden} {
		require.NotContains(t, text, "0.0.0.0", "another node cannot dial that")
	}
}

func TestPublicAndDialable(t *testing.T) {
	require.Equal(t, "127.0.0.1:7", dialable("0.0.0.0:7"))
	require.Equal(t, "127.0.0.1:7", dialable("[::]:7"))
	require.Equal(t, "10.1.2.3:7", dialable("10.1.2.3:7"))
	require.Equal(t, "10.1.2.3:7", public("10.1.2.3:7"))
	require.NotContains(t, public("0.0.0.0:7"), "0.0.0.0")
	require.Equal(t, "nats://127.0.0.1:7", natsURL("nats://0.0.0.0:7", dialable))
}
