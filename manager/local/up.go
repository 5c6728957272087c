//go:build unix

package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/fleetune/fleetune/shared/filelock"
	"github.com/rs/zerolog"
)

// ErrRunning says that a Fleetune is up in the folder already.
var ErrRunning = errors.New("Fleetune is up here already") //nolint:staticcheck // begins with a name

// Ports that are taken when they are free and no others are asked for.
const (
	apiPort = 7420
	busPort = 7422
)

// Options say what `up` runs and where.
type Options struct {
	// Root is the state folder. Required; see DefaultRoot.
	Root string
	// Listen is where the API listens; by default 127.0.0.1:7420, or another
	// port when that one is taken. Port 0 picks a free one.
	Listen string
	// BusListen is where the embedded NATS server listens; by default on the
	// API's host, port 7422, or another when that one is taken.
	BusListen string
	// PostgresURL names a database to use instead of a private PostgreSQL.
	PostgresURL string
	// NATSURL names a bus to use instead of an embedded one.
	NATSURL string
	// Manager and Worker run those parts. Without a Worker none is run.
	Manager, Worker func(ctx context.Context, e Environment, ready func(), hurry <-chan struct{}) error
	// Out is where `up` tells what listens where, once all is up.
	Out io.Writer
	// ShowToken prints the join token itself in the command that joins a node, and
	// not only its file's name; for a person's terminal.
	ShowToken bool
	// Signals stop the house: the first gently, the second quickly. By
	// default SIGINT and SIGTERM of this process.
	Signals <-chan os.Signal
	Log     zerolog.Logger
}

// An Environment is what the manager and the worker live in.
type Environment struct {
	Paths Paths
	// Listener is the API's. The manager closes it.
	Listener net.Listener
	// URL of the API, for the same machine.
	URL string
	// Token guards the API; JoinToken lets workers ask for their credentials
	// and nothing else.
	Token, JoinToken string
	// DatabaseURL for pgx.
	DatabaseURL string
	// BusURL for the same machine, and the one that other nodes should use;
	// the same when the bus listens on loopback only.
	BusURL, PublicBusURL string
	// BusSecret is what the bus's passwords are derived from (natsd).
	BusSecret []byte
	// Private tells which servers are of our own making.
	PrivatePostgres, PrivateNATS bool
}

// A holder is the note in the lock file.
type holder struct {
	PID   int       `json:"pid"`
	Since time.Time `json:"since"`
	URL   string    `json:"url"`
}

// Up runs the whole house until ctx ends or a signal comes, and returns when
// nothing of it is left. ErrRunning says that another one is up in the folder.
func Up(ctx context.Context, o Options) (err error) {
	paths := Paths{Root: o.Root}
	if err := paths.prepare(); err != nil {
		return err
	}
	lock, err := takeLock(paths)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, removeURL(paths), lock.Release()) }()

	e, err := o.environment(ctx, paths)
	if err != nil {
		return err
	}
	// The manager closes it; should it not come to that, nothing listens on.
	defer e.Listener.Close()
	note, err := json.Marshal(holder{PID: os.Getpid(), Since: time.Now().UTC().Truncate(time.Second), URL: e.URL})
	if err != nil {
		return fmt.Errorf("writing the lock's note: %w", err)
	}
	if err := lock.Note(string(note)); err != nil {
		return err
	}
	ctx, hurry, done := o.watchSignals(ctx)
	defer done()
	h := &house{hurry: hurry, log: o.Log}
	return h.live(ctx, o.parts(e), func() error { return o.announce(e) })
}

// announce tells the command line tools and the person that the house is up.
func (o Options) announce(e *Environment) error {
	if err := writeWhole(e.Paths.URL(), e.URL+"\n"); err != nil {
		return fmt.Errorf("writing the API's URL: %w", err)
	}
	if o.Out == nil {
		return nil
	}
	if _, err := io.WriteString(o.Out, o.banner(e)); err != nil {
		return fmt.Errorf("telling what listens where: %w", err)
	}
	return nil
}

func takeLock(paths Paths) (*filelock.Lock, error) {
	lock, err := filelock.Take(paths.Lock(), "")
	if err == nil {
		// Left by a killed predecessor, it would send tools to nobody.
		if err := removeURL(paths); err != nil {
			return nil, errors.Join(err, lock.Release())
		}
		return lock, nil
	}
	if !errors.Is(err, filelock.ErrHeld) {
		return nil, err
	}
	var by holder
	if json.Unmarshal([]byte(filelock.Note(paths.Lock())), &by) != nil || by.PID == 0 {
		return nil, fmt.Errorf("%w (%s), and just starting or stopping", ErrRunning, paths.Root)
	}
	return nil, fmt.Errorf("%w (%s): process %d, since %s, at %s. Stop it with: kill %d",
		ErrRunning, paths.Root, by.PID, by.Since.Local().Format(time.DateTime), by.URL, by.PID)
}

func removeURL(paths Paths) error {
	if err := os.Remove(paths.URL()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the URL file: %w", err)
	}
	return nil
}

func (o Options) environment(ctx context.Context, paths Paths) (*Environment, error) {
	token, err := LoadSecret(paths.Token())
	if err != nil {
		return nil, err
	}
	join, err := LoadSecret(paths.JoinToken())
	if err != nil {
		return nil, err
	}
	secret, err := LoadSecret(paths.BusSecret())
	if err != nil {
		return nil, err
	}
	listener, err := listen(ctx, o.Listen, "127.0.0.1", apiPort)
	if err != nil {
		return nil, fmt.Errorf("opening the API's port: %w", err)
	}
	return &Environment{
		Paths:           paths,
		Listener:        listener,
		URL:             "http://" + dialable(listener.Addr().String()),
		Token:           token,
		JoinToken:       join,
		DatabaseURL:     o.PostgresURL,
		BusURL:          o.NATSURL,
		PublicBusURL:    o.NATSURL,
		BusSecret:       []byte(secret),
		PrivatePostgres: o.PostgresURL == "",
		PrivateNATS:     o.NATSURL == "",
	}, nil
}

// watchSignals derives a context that the first signal ends, and a channel
// that the second one closes.
func (o Options) watchSignals(ctx context.Context) (context.Context, <-chan struct{}, func()) {
	ctx, cancel := context.WithCancel(ctx)
	signals, unsubscribe := o.Signals, func() {}
	if signals == nil {
		own := make(chan os.Signal, 2)
		signal.Notify(own, os.Interrupt, syscall.SIGTERM)
		signals, unsubscribe = own, func() { signal.Stop(own) }
	}
	hurry, quit, left := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(left)
		for count := 0; ; {
			select {
			case s := <-signals:
				count++
				switch count {
				case 1:
					o.Log.Info().Stringer("signal", s).Msg("stopping; once more to hurry")
					cancel()
				case 2:
					o.Log.Info().Stringer("signal", s).Msg("hurrying")
					close(hurry)
				}
			case <-quit:
				return
			}
		}
	}()
	return ctx, hurry, func() {
		unsubscribe()
		close(quit)
		<-left
		cancel()
	}
}

// listen opens a TCP port: the one asked for, or else the usual one if it is
// free and any other if not.
func listen(ctx context.Context, address, host string, usual int) (net.Listener, error) {
	var config net.ListenConfig
	if address != "" {
		l, err := config.Listen(ctx, "tcp", address)
		if errors.Is(err, syscall.EADDRINUSE) {
			err = fmt.Errorf("%w: another program has the port; --listen takes another one, and with port 0 any that is free", err)
		}
		return l, err
	}
	l, err := config.Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(usual)))
	if errors.Is(err, syscall.EADDRINUSE) {
		return config.Listen(ctx, "tcp", net.JoinHostPort(host, "0"))
	}
	return l, err
}
