//go:build unix

// Package postgres runs a private PostgreSQL from the binaries that are
// installed on the machine: its own data folder, a unix socket and no port.
// The manager does not know the difference between it and a server elsewhere;
// both are a URL.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/fleetune/fleetune/shared/filelock"
	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"
)

// Errors of a start.
var (
	// ErrNotInstalled says that no fitting PostgreSQL was found; the error
	// tells how to install one.
	ErrNotInstalled = errors.New("PostgreSQL is not installed")
	// ErrInUse says that another process runs a server in the folder.
	ErrInUse = errors.New("the folder is in use by another process")
)

const (
	// user owns the database; it is not a system account.
	user = "fleetune"
	// port names the socket file; nothing listens on TCP.
	port = 5432
	// startTime bounds a start. Recovery after a crash takes the longest.
	startTime = 2 * time.Minute
)

// Options say where the server keeps its data.
type Options struct {
	// Dir is the server's own folder. Required.
	Dir string
	// Bin is the folder of the binaries; found by itself when empty.
	Bin string
	// MaxConnections is 50 by default.
	MaxConnections int
	// Volatile gives durability up for speed. For tests only: a crash may
	// lose or damage the data.
	Volatile bool
	Log      zerolog.Logger
}

// A Server is a running PostgreSQL.
type Server struct {
	process *process
	lock    *filelock.Lock
	socket  string
	// outside says that the socket's folder is not within the server's.
	outside bool
	// Version of the server, such as "15.18".
	version string
	// stopped is closed when stop is through; stopErr is what it returned.
	stopped chan struct{}
	stopErr error
	unwatch func() bool
}

// Start starts a server, makes its data folder at the first time, and returns
// when it takes connections. A server that a killed owner left behind in the
// folder is stopped first. The server stops with Stop, with ctx, and, on
// Linux, with this process, however it ends.
func Start(ctx context.Context, o Options) (*Server, error) {
	s, err := start(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("starting PostgreSQL: %w", err)
	}
	return s, nil
}

func start(ctx context.Context, o Options) (_ *Server, err error) {
	dir, err := prepareDir(o.Dir)
	if err != nil {
		return nil, err
	}
	lock, err := filelock.Take(filepath.Join(dir, "owner.lock"), strconv.Itoa(os.Getpid()))
	if errors.Is(err, filelock.ErrHeld) {
		return nil, fmt.Errorf("%s: %w", dir, ErrInUse)
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, lock.Release())
		}
	}()
	h := &home{dir: dir, log: o.Log}
	if err := h.settle(o.Bin); err != nil {
		return nil, err
	}
	if err := h.heal(ctx); err != nil {
		return nil, err
	}
	if err := h.initialise(ctx, o.Volatile); err != nil {
		return nil, err
	}
	process, err := h.launch(ctx, o.settings(h.socket))
	if err != nil {
		return nil, err
	}
	s := &Server{
		process: process,
		lock:    lock,
		socket:  h.socket,
		outside: filepath.Dir(h.socket) != dir,
		version: h.install.version.String(),
		stopped: make(chan struct{}),
	}
	if err := s.createDatabase(ctx); err != nil {
		_ = process.stop() // the first error is the one to tell
		return nil, err
	}
	s.unwatch = context.AfterFunc(ctx, func() { _ = s.stop() })
	return s, nil
}

// URL of Fleetune's database, for pgx and libpq.
func (s *Server) URL() string { return databaseURL(s.socket, user) }

// Version of the server, such as "15.18".
func (s *Server) Version() string { return s.version }

// Ended is closed when the server has ended, by Stop or by itself.
func (s *Server) Ended() <-chan struct{} { return s.process.ended }

// Stop ends the server in an orderly way: connections are cut, what is
// committed is on disk. It waits for the end of every process of the server.
// Repeating it is harmless.
func (s *Server) Stop() error {
	if s.unwatch() {
		return s.stop()
	}
	// The context did it, or an earlier Stop: wait for that.
	<-s.stopped
	return s.stopErr
}

// stop is called once: context.AfterFunc hands the call to one caller.
func (s *Server) stop() error {
	defer close(s.stopped)
	err := s.process.stop()
	if s.outside {
		// The server has removed its socket; should the folder not be empty,
		// the next start uses it as it is.
		_ = os.Remove(s.socket)
	}
	if err = errors.Join(err, s.lock.Release()); err != nil {
		s.stopErr = fmt.Errorf("stopping PostgreSQL: %w", err)
	}
	return s.stopErr
}

func (s *Server) createDatabase(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, databaseURL(s.socket, "postgres"))
	if err != nil {
		return fmt.Errorf("reaching the new server: %w", err)
	}
	defer conn.Close(ctx)
	var there bool
	if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, user).Scan(&there); err != nil {
		return fmt.Errorf("looking for the database: %w", err)
	}
	if there {
		return nil
	}
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+user); err != nil {
		return fmt.Errorf("creating the database: %w", err)
	}
	return nil
}

func databaseURL(socket, database string) string {
	u := url.URL{
		Scheme: "postgres",
		User:   url.User(user),
		Path:   "/" + database,
		RawQuery: url.Values{
			"host":    {socket},
			"port":    {strconv.Itoa(port)},
			"sslmode": {"disable"},
		}.Encode(),
	}
	return u.String()
}

// settings are the server's, given on its command line so that they are
// always today's, not those of the day the folder was made. They suit a small
// machine that other work shares.
func (o Options) settings(socket string) map[string]string {
	connections := o.MaxConnections
	if connections <= 0 {
		connections = 50
	}
	settings := map[string]string{
		"listen_addresses":        "",
		"port":                    strconv.Itoa(port),
		"unix_socket_directories": socket,
		"unix_socket_permissions": "0700",
		"max_connections":         strconv.Itoa(connections),
		"shared_buffers":          "128MB",
		"wal_compression":         "on",
		"jit":                     "off",
		"fsync":                   "on",
		"synchronous_commit":      "on",
		"full_page_writes":        "on",
		// Rows of live experiments change often; dead versions must go soon.
		"autovacuum_naptime":   "15s",
		"timezone":             "UTC",
		"log_timezone":         "UTC",
		"log_destination":      "stderr",
		"logging_collector":    "off",
		"log_min_messages":     "warning",
		"log_line_prefix":      "",
		"lc_messages":          "C",
		"cluster_name":         "fleetune",
		"update_process_title": "on",
	}
	if o.Volatile {
		for _, name := range []string{"fsync", "synchronous_commit", "full_page_writes"} {
			settings[name] = "off"
		}
	}
	return settings
}

// prepareDir makes the folder and returns its one true path, without links.
func prepareDir(dir string) (string, error) {
	if dir == "" {
		return "", errors.New("PostgreSQL needs a folder for its data")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("finding the folder: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("making the folder: %w", err)
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return "", fmt.Errorf("finding the folder: %w", err)
	}
	return dir, nil
}
