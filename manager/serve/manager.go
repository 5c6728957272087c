// Package serve holds Fleetune's long-running commands: manager, worker, nats,
// and up, which runs all of them on one machine.
package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/fleetune/fleetune/manager/api"
	v1 "github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/dispatch"
	"github.com/fleetune/fleetune/manager/records/keeper"
	"github.com/fleetune/fleetune/manager/retire"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/shared/bus"
	"github.com/fleetune/fleetune/shared/log"
	"github.com/fleetune/fleetune/shared/metrics"
	"github.com/fleetune/fleetune/shared/natsd"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"
)

// A Manager is what one manager process is made of.
type Manager struct {
	// Postgres is the database's URL.
	Postgres string
	Bus      bus.Options
	Listener net.Listener
	// Token guards the API; JoinToken lets workers ask for their credentials
	// and nothing else.
	Token, JoinToken string
	// Secret is the NATS server's, from which workers' passwords are derived;
	// without it workers get their credentials elsewhere.
	Secret []byte
	// WorkerBus is the bus's URL as workers reach it; Bus.URL by default.
	WorkerBus string
	Lease     time.Duration
	// KeepTasks is how long tasks are kept after their end; 0 keeps them for ever.
	KeepTasks time.Duration
	Version   string
	Log       zerolog.Logger
}

// Run serves the API, and dispatches whenever this manager leads, until ctx
// ends. ready is called once requests are answered.
func (m Manager) Run(ctx context.Context, ready func()) error {
	db, err := m.openDatabase(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := db.Migrate(ctx); err != nil {
		return err
	}
	b, err := bus.Connect(ctx, m.Bus)
	if err != nil {
		return err
	}
	defer b.Close()
	registry := metrics.New("manager", m.Version)
	served, err := api.New(api.Config{
		Store: db, JetStream: b.JetStream(), Token: m.Token, JoinToken: m.JoinToken, Credentials: m.credentials(),
		Metrics: metrics.Handler(registry), Version: m.Version, Log: m.Log,
	})
	if err != nil {
		return err
	}
	dispatcher := dispatch.New(dispatch.Config{
		Store: db, Bus: b, Log: m.Log, URL: "http://" + m.Listener.Addr().String(), Lease: m.Lease,
		Metrics: dispatch.NewMetrics(registry),
	})
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return ignoreEnd(ctx, dispatcher.Run(ctx)) })
	group.Go(func() error {
		served.Run(ctx)
		return nil
	})
	group.Go(func() error {
		keeper.Run(ctx, db, m.Log)
		return nil
	})
	if m.KeepTasks > 0 {
		group.Go(func() error {
			retire.Retirer{Store: db, JetStream: b.JetStream(), Log: m.Log}.Run(ctx, m.KeepTasks)
			return nil
		})
	}
	group.Go(func() error { return ignoreEnd(ctx, api.Serve(ctx, m.Listener, served.Handler(), m.Log)) })
	if ready != nil {
		ready()
	}
	return group.Wait()
}

// openDatabase waits for a database that is not up yet, as the bus does for its
// server: after a power cut they start in any order.
func (m Manager) openDatabase(ctx context.Context) (*store.Store, error) {
	for {
		db, err := store.Open(ctx, m.Postgres)
		if err == nil || !errors.Is(err, store.ErrUnreachable) {
			return db, err
		}
		m.Log.Warn().Err(err).Msg("waiting for the database")
		timer := time.NewTimer(databaseWait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, err
		case <-timer.C:
		}
	}
}

// databaseWait is the pause between two tries to reach the database.
const databaseWait = time.Second

// ignoreEnd drops the error of a part that ended because it was asked to.
func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// credentials derives a worker's password, where this manager can.
func (m Manager) credentials() func(context.Context, string) (v1.Credentials, error) {
	if m.Secret == nil {
		return nil
	}
	url := m.WorkerBus
	if url == "" {
		url = m.Bus.URL
	}
	return func(_ context.Context, worker string) (v1.Credentials, error) {
		return v1.Credentials{URL: url, User: worker, Password: natsd.WorkerPassword(m.Secret, worker)}, nil
	}
}

// managerCommand is `fleetune manager`.
func managerCommand(version string) *cobra.Command {
	var nats, workerNats, postgres, listen, tokenFile, joinFile, secretFile, credsFile, level string
	var lease time.Duration
	var keep task.Duration
	cmd := &cobra.Command{
		Use:   "manager",
		Short: "Run a manager against a NATS server and a PostgreSQL of your own",
		Long: `Run a manager against a NATS server and a PostgreSQL of your own.

Several managers may run against the same two: all serve the API, one
dispatches. The database's URL is read from FLEETUNE_POSTGRES unless --postgres
is given, so that its password need not stand in the process list.`,
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			logger, err := log.New(os.Stderr, log.Options{Level: level, Role: "manager"})
			if err != nil {
				return err
			}
			if keep < 0 {
				return errNegativeKeep
			}
			m := Manager{KeepTasks: time.Duration(keep), Postgres: postgres, WorkerBus: workerNats, Lease: lease, Version: version, Log: logger}
			if m.Postgres == "" {
				m.Postgres = os.Getenv("FLEETUNE_POSTGRES")
			}
			if m.Postgres == "" {
				return mistake{errors.New("which database? set FLEETUNE_POSTGRES or --postgres, such as postgres://user@host/fleetune")}
			}
			if m.Token, err = readSecret("--token-file", tokenFile); err != nil {
				return err
			}
			if joinFile != "" {
				if m.JoinToken, err = readSecret("--join-token-file", joinFile); err != nil {
					return err
				}
			}
			m.Bus = bus.Options{URL: nats, Name: natsd.ManagerUser, CredsFile: credsFile, RetryFirst: true, Log: logger}
			if secretFile != "" {
				secret, err := readSecret("--secret-file", secretFile)
				if err != nil {
					return err
				}
				m.Secret = []byte(secret)
				m.Bus.User, m.Bus.Password = natsd.ManagerUser, natsd.ManagerPassword(m.Secret)
			}
			if m.Listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", listen); err != nil {
				return fmt.Errorf("--listen: %w", err)
			}
			return m.Run(ctx, func() {
				logger.Info().Str("url", "http://"+m.Listener.Addr().String()).Msg("manager ready")
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&nats, "nats", "nats://127.0.0.1:7422", "URL of the NATS server")
	flags.StringVar(&workerNats, "worker-nats", "", "URL of the NATS server as workers reach it, if another")
	flags.StringVar(&postgres, "postgres", "", "URL of the database (better: FLEETUNE_POSTGRES)")
	flags.StringVar(&listen, "listen", "127.0.0.1:7420", "address to serve the API on")
	flags.StringVar(&tokenFile, "token-file", "", "file with the token that guards the API")
	flags.StringVar(&joinFile, "join-token-file", "", "file with the token that lets workers join")
	flags.StringVar(&secretFile, "secret-file", "", "file with the secret of a server run by fleetune nats")
	flags.StringVar(&credsFile, "creds", "", "NATS credentials file, for a server of your own")
	flags.DurationVar(&lease, "lease", 30*time.Second, "how long an attempt survives without a sign of life from its worker")
	keepTasksFlag(flags, &keep)
	flags.StringVar(&level, "log-level", "info", "debug, info, warn or error")
	if err := cmd.MarkFlagRequired("token-file"); err != nil {
		panic(err) // the flag is declared above
	}
	return cmd
}

// errNegativeKeep refuses what would delete tasks before their end.
var errNegativeKeep = errors.New("--keep-tasks takes a time such as 90d")

func keepTasksFlag(flags *pflag.FlagSet, keep *task.Duration) {
	flags.Var(keep, "keep-tasks", "delete tasks that ended longer ago, such as 90d; tuning records stay (default: keep all)")
	flags.Lookup("keep-tasks").DefValue = "" // said in words
}

// readSecret reads a one-line secret from a file that others cannot read.
func readSecret(flag, path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", flag, err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("%s: others can read %s; run chmod 600 %s", flag, path, path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", flag, err)
	}
	secret := strings.TrimSpace(string(data))
	if len(secret) < 16 {
		return "", fmt.Errorf("%s: %s holds fewer than 16 characters; make one with: openssl rand -hex 32", flag, path)
	}
	return secret, nil
}
