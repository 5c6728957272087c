package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/fleetune/fleetune/manager/postgres"
	"github.com/rs/zerolog"
)

// A database is the stand's PostgreSQL: a server of its own, started the way
// that fleetune up starts it.
type database struct {
	dir    string
	log    zerolog.Logger
	server *postgres.Server
}

// start starts the server, which then lives until stop, not with ctx.
func (d *database) start(ctx context.Context) error {
	server, err := postgres.Start(context.WithoutCancel(ctx), postgres.Options{Dir: d.dir, Log: d.log})
	if err != nil {
		return fmt.Errorf("starting PostgreSQL: %w", err)
	}
	d.server = server
	return nil
}

func (d *database) url() string { return d.server.URL() }

func (d *database) stop() error {
	if d.server == nil {
		return nil
	}
	return d.server.Stop()
}

// processes of the server, the first of them the one that started the others.
func (d *database) processes() ([]int, error) {
	files, err := filepath.Glob(filepath.Join(d.dir, "*", "postmaster.pid"))
	if err != nil || len(files) != 1 {
		return nil, errors.Join(fmt.Errorf("%d postmaster.pid files below %s", len(files), d.dir), err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		return nil, fmt.Errorf("reading the postmaster's id: %w", err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	postmaster, err := strconv.Atoi(first)
	if err != nil {
		return nil, fmt.Errorf("reading the postmaster's id: %w", err)
	}
	return append([]int{postmaster}, children(postmaster)...), nil
}

// children of a process, by the kernel's own list.
func children(pid int) []int {
	name := strconv.Itoa(pid)
	text, err := os.ReadFile(filepath.Join("/proc", name, "task", name, "children"))
	if err != nil {
		return nil
	}
	var list []int
	for _, word := range strings.Fields(string(text)) {
		if child, err := strconv.Atoi(word); err == nil {
			list = append(list, child)
		}
	}
	return list
}

// killPostgres takes the whole server away, as a power cut does.
func (s *stand) killPostgres(ctx context.Context) (func() error, error) {
	if err := s.postgres.signal(syscall.SIGKILL); err != nil {
		return nil, err
	}
	heal := func() error {
		// What is left of the dead server is the next one's business.
		_ = s.postgres.stop()
		return s.postgres.start(ctx)
	}
	return heal, nil
}

// stopPostgres freezes the server with its connections open.
func (s *stand) stopPostgres(context.Context) (func() error, error) {
	heal := func() error { return s.postgres.signal(syscall.SIGCONT) }
	return heal, s.postgres.signal(syscall.SIGSTOP)
}

func (d *database) signal(sig syscall.Signal) error {
	pids, err := d.processes()
	if err != nil {
		return err
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("signalling PostgreSQL: %w", err)
		}
	}
	return nil
}
