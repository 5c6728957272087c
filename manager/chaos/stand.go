package chaos

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/fleetune/fleetune/manager/chaos/relay"
	"github.com/fleetune/fleetune/shared/bus"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

const (
	// markVariable marks every process of the stand, experiments included.
	markVariable = "FLEETUNE_CHAOS"
	// HostVariable tells a worker's experiments which host they are on.
	HostVariable = "FLEETUNE_CHAOS_HOST"
	// faultVariable makes a worker kill itself at a point of the circle.
	faultVariable = "FLEETUNE_FAULT"
	// startPatience bounds the start of the stand.
	startPatience = time.Minute
	// smallDisk is the size of the disk that gets full, in bytes.
	smallDisk = 1 << 20
)

// A stand is one running Fleetune in parts.
type stand struct {
	cfg   Config
	log   zerolog.Logger
	mark  string
	url   string // of the API
	token string

	postgres *database
	nats     *part
	manager  *part
	workers  []*part
	// wires to the bus by the name of the part that uses them.
	wires map[string]*relay.Relay
	pool  *pgxpool.Pool
	// small is the folder of the disk that gets full; empty when there is none.
	small   string
	skipped []string
}

func (s *stand) natsDir() string              { return filepath.Join(s.cfg.Dir, "nats") }
func (s *stand) probeDir() string             { return filepath.Join(s.cfg.Dir, "probe") }
func (s *stand) workerDir(n string) string    { return filepath.Join(s.cfg.Dir, n) }
func (s *stand) lockDir(h string) string      { return filepath.Join(s.cfg.Dir, "locks-"+h) }
func (s *stand) secretFile() string           { return filepath.Join(s.cfg.Dir, "secret") }
func (s *stand) passwordFile(n string) string { return filepath.Join(s.cfg.Dir, n+".password") }
func (s *stand) tokenFile() string            { return filepath.Join(s.cfg.Dir, "token") }
func (s *stand) wire(name string) string      { return "nats://" + s.wires[name].Addr() }

// host puts two workers each on one host, where they compete for devices. All
// is one machine, so a host is a folder of lock files.
func host(worker int) string { return strconv.Itoa(worker/2 + 1) }

func workerName(i int) string { return "worker-" + strconv.Itoa(i+1) }
func (s *stand) part(name string) *part {
	return &part{name: name, dir: s.cfg.Dir, env: []string{markVariable + "=" + s.mark}}
}
func (s *stand) program(a ...string) []string { return append([]string{s.cfg.Fleetune}, a...) }

// newStand prepares folders, secrets and wires; start starts the parts.
func newStand(ctx context.Context, c Config) (*stand, error) {
	s := &stand{cfg: c, log: c.Log, mark: randomHex(), token: randomHex(), wires: map[string]*relay.Relay{}}
	for _, dir := range []string{c.Dir, s.probeDir()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("making the stand's folder: %w", err)
		}
	}
	if err := s.writeSecrets(); err != nil {
		return nil, err
	}
	bus, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	api, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	s.url = "http://" + api
	names := []string{"manager"}
	for i := range c.Workers {
		names = append(names, workerName(i))
	}
	for _, name := range names {
		if s.wires[name], err = relay.Listen(ctx, bus); err != nil {
			return nil, err
		}
	}
	s.nats = s.part("nats")
	s.nats.argv = s.program("nats", "--dir", s.natsDir(), "--listen", bus, "--secret-file", s.secretFile())
	s.manager = s.part("manager")
	s.prepareWorkers()
	s.prepareSmallDisk()
	s.postgres = &database{dir: filepath.Join(c.Dir, "postgres"), log: c.Log}
	s.manager.argv = s.program("manager", "--nats", s.wire("manager"), "--listen", api,
		"--token-file", s.tokenFile(), "--secret-file", s.secretFile(), "--lease", c.Lease.String())
	return s, nil
}

// writeSecrets writes the API's token, the bus's secret and each worker's own
// password, which is all that a worker is given.
func (s *stand) writeSecrets() error {
	secret := randomHex()
	files := map[string]string{s.tokenFile(): s.token, s.secretFile(): secret}
	for i := range s.cfg.Workers {
		files[s.passwordFile(workerName(i))] = bus.WorkerPassword([]byte(secret), workerName(i))
	}
	for path, text := range files {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return fmt.Errorf("writing a secret: %w", err)
		}
	}
	return nil
}

func (s *stand) prepareWorkers() {
	for i := range s.cfg.Workers {
		p := s.part(workerName(i))
		p.argv = []string{
			s.cfg.Worker, "--nats", s.wire(p.name), "--password-file", s.passwordFile(p.name),
			"--name", p.name, "--dir", s.workerDir(p.name), "--lock-dir", s.lockDir(host(i)),
			"--slots", strconv.Itoa(s.cfg.Slots),
		}
		p.env = append(p.env, HostVariable+"="+host(i))
		s.workers = append(s.workers, p)
	}
}

// prepareSmallDisk puts the first worker's spool on a disk that can be filled
// without harm to anybody else; only root can.
func (s *stand) prepareSmallDisk() {
	dir := filepath.Join(s.workerDir(workerName(0)), "spool")
	err := os.MkdirAll(dir, 0o755)
	if err == nil {
		err = unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755,size="+strconv.Itoa(smallDisk))
	}
	if err != nil {
		s.skipped = append(s.skipped, fmt.Sprintf("disk full: mounting a small disk: %v", err))
		return
	}
	s.small = dir
}

// start starts every part and returns once the workers can work.
func (s *stand) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	if err := s.postgres.start(ctx); err != nil {
		return err
	}
	s.manager.argv = append(s.manager.argv, "--postgres", s.postgres.url())
	var err error
	if s.pool, err = pgxpool.New(ctx, s.postgres.url()); err != nil {
		return fmt.Errorf("opening the database: %w", err)
	}
	if err := s.nats.start(); err != nil {
		return err
	}
	if err := s.manager.start(); err != nil {
		return err
	}
	if err := s.await(ctx, "the manager", s.managerReady); err != nil {
		return err
	}
	for _, w := range s.workers {
		if err := w.start(); err != nil {
			return err
		}
	}
	return s.await(ctx, "the workers", s.workersReady)
}

// parts in the order of their start, PostgreSQL left out.
func (s *stand) parts() []*part { return append([]*part{s.nats, s.manager}, s.workers...) }

// await asks until ready says yes. A part that ends by itself is an error.
func (s *stand) await(ctx context.Context, what string, ready func(context.Context) bool) error {
	for !ready(ctx) {
		for _, p := range s.parts() {
			if p.cmd != nil && !p.alive() {
				return fmt.Errorf("%s ended by itself; see %s", p.name, filepath.Join(s.cfg.Dir, p.name+".log"))
			}
		}
		if err := pause(ctx, look); err != nil {
			return fmt.Errorf("waiting for %s: %w", what, err)
		}
	}
	return nil
}

func (s *stand) managerReady(ctx context.Context) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/readyz", nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

func (s *stand) workersReady(ctx context.Context) bool {
	var online int
	err := s.pool.QueryRow(ctx, `SELECT count(*) FROM workers WHERE state = 'online'`).Scan(&online)
	return err == nil && online == len(s.workers)
}

// stop ends every part and counts the processes that are left. Those are
// killed, so that a failed run leaves none either.
func (s *stand) stop() (left int, err error) {
	for _, p := range slices.Backward(s.parts()) {
		err = errors.Join(err, p.stop())
	}
	if s.pool != nil {
		s.pool.Close()
	}
	err = errors.Join(err, s.postgres.stop())
	for _, w := range s.wires {
		w.Close()
	}
	left, sweepErr := s.sweep()
	if s.small != "" {
		err = errors.Join(err, unix.Unmount(s.small, unix.MNT_DETACH))
	}
	return left, errors.Join(err, sweepErr)
}

func randomHex() string {
	secret := make([]byte, 24)
	_, _ = rand.Read(secret) // it never fails
	return hex.EncodeToString(secret)
}

// freeAddress picks a loopback port that is free now.
func freeAddress(ctx context.Context) (string, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("looking for a free port: %w", err)
	}
	return listener.Addr().String(), listener.Close()
}
