// Command chaos runs the chaos test against the built programs: see package
// chaos. It also is the program that the test's experiments run.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/fleetune/fleetune/manager/chaos"
	"github.com/fleetune/fleetune/manager/chaos/probe"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
)

// errHarm ends the program with 1 after the report has said what was found.
var errHarm = errors.New("harm was done")

func main() { os.Exit(runMain()) }

func runMain() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return 1
	}
	return 0
}

func command() *cobra.Command {
	var c chaos.Config
	var asJSON, verbose bool
	cmd := &cobra.Command{
		Use:           "chaos",
		Short:         "Kill, stop, cut and starve a running Fleetune, and audit what is left",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			level := zerolog.InfoLevel
			if verbose {
				level = zerolog.DebugLevel
			}
			c.Log = zerolog.New(zerolog.ConsoleWriter{Out: cmd.ErrOrStderr(), TimeFormat: time.TimeOnly}).
				Level(level).With().Timestamp().Logger()
			return run(cmd, c, asJSON)
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&c.Rounds, "rounds", 5, "rounds to run")
	flags.Uint64Var(&c.Seed, "seed", 1, "seed of the faults' choice and timing")
	flags.IntVar(&c.Workers, "workers", 3, "workers to start")
	flags.DurationVar(&c.Lease, "lease", 4*time.Second, "how long a silent worker keeps its work")
	flags.IntVar(&c.Points, "points", 16, "experiments of each of a round's two tasks")
	flags.StringVar(&c.Fleetune, "fleetune", "", "the fleetune program")
	flags.StringVar(&c.Worker, "worker", "", "the fleetune-worker program")
	flags.StringVar(&c.Dir, "dir", "", "folder for everything the test writes")
	flags.BoolVar(&asJSON, "json", false, "print the report as one object on standard output")
	flags.BoolVar(&verbose, "verbose", false, "say more on standard error")
	for _, name := range []string{"fleetune", "worker", "dir"} {
		_ = cmd.MarkFlagRequired(name) // it only fails for unknown flags
	}
	cmd.AddCommand(probeCommand())
	return cmd
}

func run(cmd *cobra.Command, c chaos.Config, asJSON bool) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding the probe: %w", err)
	}
	c.Probe = self
	report, err := chaos.Run(cmd.Context(), c)
	if printErr := show(cmd.OutOrStdout(), report, asJSON); printErr != nil {
		return errors.Join(err, printErr)
	}
	if err == nil && report.Harm() > 0 {
		return errHarm
	}
	return err
}

func show(w io.Writer, r chaos.Report, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(r)
	}
	_, err := fmt.Fprintf(w, `rounds               %d (seed %d)
experiments          %d
lost                 %d
duplicated           %d
stale accepted       %d
device clashes       %d
leftover processes   %d
longest recovery     %.1f s
attempts run again   %d
late results kept    %d
faults               %v
`, r.Rounds, r.Seed, r.Experiments, r.Lost, r.Duplicated, r.StaleAccepted, r.DeviceClashes,
		r.LeftoverProcesses, r.LongestRecovery, r.Reruns, r.Rejected, r.Faults)
	for _, skipped := range r.Skipped {
		if err == nil {
			_, err = fmt.Fprintln(w, "skipped:", skipped)
		}
	}
	return err
}

func probeCommand() *cobra.Command {
	var c probe.Config
	var lease time.Duration
	cmd := &cobra.Command{
		Use:    "probe",
		Short:  "What the test's experiments run",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c.Host, c.Hold = os.Getenv(chaos.HostVariable), chaos.Hold(c.Point, lease)
			return probe.Run(cmd.Context(), c)
		},
	}
	cmd.Flags().StringVar(&c.Dir, "dir", "", "folder of journal and locks")
	cmd.Flags().IntVar(&c.Point, "point", 0, "the experiment's parameter")
	cmd.Flags().DurationVar(&lease, "lease", 0, "the manager's lease")
	return cmd
}
