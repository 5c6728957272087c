package serve

import (
	"context"
	"os"
	"time"

	"github.com/fleetune/fleetune/manager/local"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/shared/bus"
	"github.com/fleetune/fleetune/shared/log"
	"github.com/fleetune/fleetune/shared/natsd"
	"github.com/fleetune/fleetune/worker/daemon"
	"github.com/fleetune/fleetune/worker/process"
	"github.com/mattn/go-isatty"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
)

// upFlags are the flags of `fleetune up`.
type upFlags struct {
	local.Options
	name, level string
	secrets     string
	engines     daemon.Engines
	slots       int
	noWorker    bool
	lease       time.Duration
	keep        task.Duration
	version     string
}

// upCommand is `fleetune up`.
func upCommand(version string) *cobra.Command {
	f := upFlags{version: version}
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run it all here: manager, NATS, a private PostgreSQL and a worker",
		Long: `Run all of Fleetune on this machine, with nothing to configure.

Everything listens on this machine only unless --listen says otherwise; a token
in the state folder guards it. The first interrupt lets running experiments
finish, the second hands them back: they go on when Fleetune is up again.`,
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE:         func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context()) },
	}
	host, _ := os.Hostname() // without one, --name has no default
	flags := cmd.Flags()
	flags.StringVar(&f.Root, "data", "", "state folder (default: FLEETUNE_HOME, or the usual place)")
	flags.StringVar(&f.Listen, "listen", "", "address of the API (default: 127.0.0.1:7420, or a free port)")
	flags.StringVar(&f.BusListen, "nats-listen", "", "address of the embedded NATS server (default: the API's host, port 7422 or a free one)")
	flags.StringVar(&f.NATSURL, "nats", "", "use this NATS server instead of an embedded one")
	flags.StringVar(&f.PostgresURL, "postgres", os.Getenv("FLEETUNE_POSTGRES"), "use this database instead of a private one")
	flags.StringVar(&f.name, "name", daemon.Token(host), "name of the worker")
	flags.StringVar(&f.secrets, "secrets", "", "folder with one file per secret that tasks may name, for the worker")
	flags.IntVar(&f.slots, "slots", 0, "number of CPU slots where no GPU is (default: one per core but the first)")
	f.engines.Flags(flags)
	flags.BoolVar(&f.noWorker, "no-worker", false, "run no worker on this machine")
	flags.DurationVar(&f.lease, "lease", 30*time.Second, "how long an attempt survives without a sign of life from its worker")
	keepTasksFlag(flags, &f.keep)
	flags.StringVar(&f.level, "log-level", "info", "debug, info, warn or error")
	return cmd
}

func (f *upFlags) run(ctx context.Context) (err error) {
	if f.keep < 0 {
		return errNegativeKeep
	}
	if f.Log, err = log.New(os.Stderr, log.Options{Level: f.level}); err != nil {
		return err
	}
	if f.Root == "" {
		if f.Root, err = local.DefaultRoot(os.Getenv); err != nil {
			return err
		}
	}
	if err := process.BecomeSubreaper(); err != nil {
		return err
	}
	f.Out = os.Stdout
	f.ShowToken = isatty.IsTerminal(os.Stdout.Fd())
	f.Manager = f.manager
	if !f.noWorker {
		f.Worker = f.worker
	}
	return local.Up(ctx, f.Options)
}

// manager runs the manager's part of the house.
func (f *upFlags) manager(ctx context.Context, e local.Environment, ready func(), _ <-chan struct{}) error {
	m := Manager{
		Postgres: e.DatabaseURL, Listener: e.Listener, Token: e.Token, JoinToken: e.JoinToken, Secret: e.BusSecret, WorkerBus: e.PublicBusURL,
		Bus:   f.bus(e, natsd.ManagerUser, natsd.ManagerPassword(e.BusSecret)),
		Lease: f.lease, KeepTasks: time.Duration(f.keep), Version: f.version, Log: f.part("manager"),
	}
	// The manager stays until the worker, which stops first, has said goodbye.
	return m.Run(ctx, ready)
}

// worker runs the worker's part. The end of ctx drains it; hurry hands back.
func (f *upFlags) worker(ctx context.Context, e local.Environment, ready func(), hurry <-chan struct{}) error {
	c := daemon.Config{
		Name: f.name, Pool: node.DefaultPool, Dir: e.Paths.Worker(), Version: f.version, Log: f.part("worker"),
		Bus:     f.bus(e, f.name, natsd.WorkerPassword(e.BusSecret, f.name)),
		Secrets: f.secrets, Engines: f.engines,
		Fault: os.Getenv("FLEETUNE_FAULT"),
	}
	c.Devices.CPUSlots = f.slots
	drain := make(chan struct{}, 2)
	ended := make(chan struct{})
	told := make(chan struct{})
	go func() {
		defer close(told)
		for _, signal := range []<-chan struct{}{ctx.Done(), hurry} {
			select {
			case <-signal:
				drain <- struct{}{}
			case <-ended:
				return
			}
		}
	}()
	ready()
	err := daemon.Run(context.WithoutCancel(ctx), c, drain)
	close(ended)
	<-told
	return err
}

func (f *upFlags) bus(e local.Environment, user, password string) bus.Options {
	return bus.Options{URL: e.BusURL, Name: user, User: user, Password: password, RetryFirst: true, Log: f.Log}
}

func (f *upFlags) part(role string) zerolog.Logger {
	return f.Log.With().Str("role", role).Logger()
}
