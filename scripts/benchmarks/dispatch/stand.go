package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/fleetune/fleetune/manager/dispatch"
	"github.com/fleetune/fleetune/manager/postgres"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/shared/bus"
	"github.com/fleetune/fleetune/shared/natsd"
	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"
)

// managerRole is the first argument of the manager's process.
const managerRole = "manager-role"

var secret = []byte("only for the time of a benchmark")

// A stand is a PostgreSQL server; managers and workers come and go.
type stand struct {
	dir   string
	pg    *postgres.Server
	count int
	// postmaster is PostgreSQL's first process, parent of all others.
	postmaster int
}

func newStand(ctx context.Context) (*stand, error) {
	dir, err := os.MkdirTemp("", "fleetune-bench-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // PostgreSQL's account must reach its folder
		return nil, err
	}
	pg, err := postgres.Start(ctx, postgres.Options{Dir: filepath.Join(dir, "postgres"), Log: zerolog.Nop()})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	s := &stand{dir: dir, pg: pg}
	if s.postmaster, err = postmaster(filepath.Join(dir, "postgres")); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// postmaster finds the server's first process.
func postmaster(dir string) (int, error) {
	var pid int
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "postmaster.pid" {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		pid, err = strconv.Atoi(strings.TrimSpace(strings.SplitN(string(data), "\n", 2)[0]))
		return err
	})
	if err == nil && pid == 0 {
		err = errors.New("the PostgreSQL server has no postmaster.pid")
	}
	return pid, err
}

func (s *stand) close() {
	if err := errors.Join(s.pg.Stop(), os.RemoveAll(s.dir)); err != nil {
		say("cleaning up: %v", err)
	}
}

// database makes an empty database and returns its URL.
func (s *stand) database(ctx context.Context) (string, error) {
	conn, err := pgx.Connect(ctx, s.pg.URL())
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	s.count++
	name := fmt.Sprintf("bench%d", s.count)
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		return "", err
	}
	// What the one before wrote must not be flushed at this one's cost.
	if _, err := conn.Exec(ctx, "CHECKPOINT"); err != nil {
		return "", err
	}
	target, err := url.Parse(s.pg.URL())
	if err != nil {
		return "", err
	}
	target.Path = "/" + name
	return target.String(), nil
}

func (s *stand) river(ctx context.Context, jobs int) (riverResult, error) {
	target, err := s.database(ctx)
	if err != nil {
		return riverResult{}, err
	}
	return runRiver(ctx, target, jobs)
}

// A manager is a manager's process.
type manager struct {
	store *store.Store
	bus   string // its URL
	cmd   *exec.Cmd
	stdin io.Closer
}

// manager starts a manager with its NATS server on an empty database.
func (s *stand) manager(ctx context.Context) (*manager, error) {
	target, err := s.database(ctx)
	if err != nil {
		return nil, err
	}
	db, err := store.Open(ctx, target)
	if err != nil {
		return nil, err
	}
	if err := db.Migrate(ctx); err != nil {
		return nil, err
	}
	cmd := exec.Command(os.Args[0], managerRole, filepath.Join(s.dir, fmt.Sprintf("nats%d", s.count)))
	cmd.Env = append(os.Environ(), "BENCH_DATABASE="+target)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("the manager did not start: %w", err)
	}
	return &manager{store: db, bus: strings.TrimSpace(line), cmd: cmd, stdin: stdin}, nil
}

// usage is what the manager's process has used so far.
func (m *manager) usage() usage {
	pid := strconv.Itoa(m.cmd.Process.Pid)
	var u usage
	cpu, _ := cpuOf(m.cmd.Process.Pid)
	u.CPUSeconds = cpu.Seconds()
	if status, err := os.ReadFile("/proc/" + pid + "/status"); err == nil {
		for line := range strings.Lines(string(status)) {
			if kb, ok := strings.CutPrefix(line, "VmRSS:"); ok {
				n, _ := strconv.ParseFloat(strings.Fields(kb)[0], 64)
				u.RSSMB = n / 1024
			}
		}
	}
	return u
}

func (m *manager) close() error {
	m.store.Close()
	return errors.Join(m.stdin.Close(), m.cmd.Wait())
}

// serveManager is the manager's process: NATS and the dispatcher, until its
// standard input ends.
func serveManager() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	log := zerolog.New(os.Stderr).Level(zerolog.WarnLevel)
	nats, err := natsd.Start(ctx, natsd.Options{Dir: os.Args[2], Secret: secret, Log: log})
	if err != nil {
		return err
	}
	defer nats.Shutdown()
	db, err := store.Open(ctx, os.Getenv("BENCH_DATABASE"))
	if err != nil {
		return err
	}
	defer db.Close()
	b, err := bus.Connect(ctx, bus.Options{
		URL: nats.URL(), Name: natsd.ManagerUser, User: natsd.ManagerUser, Password: natsd.ManagerPassword(secret), Log: log,
	})
	if err != nil {
		return err
	}
	defer b.Close()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // its end is the sign to stop
		cancel()
	}()
	fmt.Println(nats.URL())
	return dispatch.New(dispatch.Config{Store: db, Bus: b, Log: log, Lease: 30 * time.Second}).Run(ctx)
}
