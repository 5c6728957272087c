//go:build unix

// Package pgtest gives tests of the manager a real PostgreSQL: one server a
// test binary, started at first need, and one database a test, cloned from a
// migrated template. Only tests import it.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fleetune/fleetune/manager/postgres"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"
)

// Variable names the environment variable with the URL of a server to use
// instead of a private one. Its user must be allowed to create databases.
const Variable = "TEST_DATABASE_URL"

// dirPrefix begins the name of a private server's folder; the number of the
// process that owns it follows.
const dirPrefix = "fleetune-pgtest-"

// The server of this test binary. It is package state because a test binary
// has one life and TestMain is its only owner.
var shared server

type server struct {
	once     sync.Once
	err      error
	private  *postgres.Server
	dir      string
	admin    string
	template string
	count    atomic.Int64
}

// Main runs a binary's tests and takes the server down after them. Call it in
// TestMain. With leak options (at least goleak.IgnoreCurrent()) it also checks
// that no goroutine is left.
func Main(m *testing.M, leaks ...goleak.Option) { os.Exit(Run(m, leaks...)) }

// Run is Main for a TestMain that has more to do: it returns the exit code.
func Run(m interface{ Run() int }, leaks ...goleak.Option) int {
	code := m.Run()
	if err := shared.close(); err != nil {
		fmt.Fprintln(os.Stderr, "pgtest:", err)
		code = max(code, 1)
	}
	if code == 0 && len(leaks) > 0 {
		if err := goleak.Find(leaks...); err != nil {
			fmt.Fprintln(os.Stderr, "pgtest: goroutines are left:", err)
			code = 1
		}
	}
	return code
}

// URL makes a migrated database for a test and returns its URL. The database
// goes with the test. Without PostgreSQL on the machine the test is skipped,
// but fails where CI is set.
func URL(t testing.TB) string {
	t.Helper()
	shared.once.Do(func() { shared.err = shared.open() })
	if errors.Is(shared.err, postgres.ErrNotInstalled) && os.Getenv("CI") == "" {
		t.Skip(shared.err)
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	name := fmt.Sprintf("%s_%d", shared.template, shared.count.Add(1))
	if err := shared.exec("CREATE DATABASE " + name + " TEMPLATE " + shared.template); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := shared.exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Error(err)
		}
	})
	return withDatabase(shared.admin, name)
}

// New is a pool of connections to a test's own migrated database.
func New(t testing.TB) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(context.Background(), URL(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// Store is a store on a test's own migrated database.
func Store(t testing.TB) *store.Store {
	t.Helper()
	return store.New(New(t))
}

func (s *server) open() error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	s.admin = os.Getenv(Variable)
	if s.admin == "" {
		if err := s.start(); err != nil {
			return err
		}
	}
	s.template = "fleetune_test_" + strconv.Itoa(os.Getpid()) + "_" + strconv.FormatInt(time.Now().UnixNano(), 36)
	if err := s.exec("CREATE DATABASE " + s.template); err != nil {
		return err
	}
	migrated, err := store.Open(ctx, withDatabase(s.admin, s.template))
	if err != nil {
		return err
	}
	defer migrated.Close()
	return migrated.Migrate(ctx)
}

// start starts the private server. It lives as long as the binary does: on
// Linux it ends even when the binary is killed.
func (s *server) start() error {
	sweep()
	dir, err := os.MkdirTemp("", dirPrefix+strconv.Itoa(os.Getpid())+"-")
	if err != nil {
		return err
	}
	s.dir = dir
	s.private, err = postgres.Start(context.Background(), postgres.Options{Dir: dir, Volatile: true, MaxConnections: 200})
	if err != nil {
		return err
	}
	s.admin = s.private.URL()
	return nil
}

func (s *server) close() error {
	var errs []error
	if s.template != "" && s.private == nil {
		errs = append(errs, s.exec("DROP DATABASE IF EXISTS "+s.template+" WITH (FORCE)"))
	}
	if s.private != nil {
		errs = append(errs, s.private.Stop())
	}
	if s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}

// exec runs one statement on the server's own database.
func (s *server) exec(statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.admin)
	if err != nil {
		return fmt.Errorf("reaching the test server: %w", err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

// sweep removes the folders of test binaries that were killed.
func sweep() {
	folders, err := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*"))
	if err != nil {
		return // the pattern is ours and well formed
	}
	for _, folder := range folders {
		number, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(folder), dirPrefix), "-")
		pid, err := strconv.Atoi(number)
		if err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			_ = os.RemoveAll(folder) // another user's stays
		}
	}
}

// withDatabase is a server's URL with another database.
func withDatabase(server, database string) string {
	u, err := url.Parse(server)
	if err != nil {
		return server // Open tells what is wrong with it
	}
	u.Path = "/" + database
	return u.String()
}
