// Package cli is the command line of Fleetune: everything a person types to
// hand tasks in and see what becomes of them. It speaks to a manager through
// package client and knows no database and no bus.
package cli

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

	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/shared/terminal"
	"github.com/spf13/cobra"
)

// An Environment is what the command line sees of the world.
type Environment struct {
	Args   []string
	In     io.Reader
	Out    terminal.Screen
	Err    terminal.Screen
	Getenv func(string) string
	Now    func() time.Time
	// Version of the program.
	Version string
	// Commands of other rooms: up, manager, worker…
	Commands []*cobra.Command
}

// Main runs the command line of this process and returns its exit code.
func Main(version string, commands ...*cobra.Command) int {
	return Run(context.Background(), Environment{
		Args: os.Args[1:], In: os.Stdin, Out: terminal.Open(os.Stdout, os.Getenv), Err: terminal.Open(os.Stderr, os.Getenv),
		Getenv: os.Getenv, Now: time.Now, Version: version, Commands: commands,
	})
}

// Run runs one command and returns its exit code.
func Run(ctx context.Context, e Environment) int {
	a := &app{Environment: e, out: &watched{Writer: e.Out.Writer}}
	a.Out.Writer = a.out
	root := a.root()
	root.SetArgs(e.Args)
	root.SetIn(e.In)
	root.SetOut(e.Out.Writer)
	root.SetErr(e.Err.Writer)
	if e.Args == nil {
		root.SetArgs([]string{})
	}
	command, err := root.ExecuteContextC(ctx)
	if err == nil {
		return ExitOK
	}
	return a.explain(command, err)
}

// app is one run of the command line.
type app struct {
	Environment
	// url is --url; json is --json of the command that runs.
	url  string
	json bool
	out  *watched
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "fleetune",
		Short: "Tune LLM-inference servers and kernels on a fleet of GPU nodes",
		Long: `Fleetune tunes LLM-inference servers and kernels on a fleet of GPU nodes.

Start it on this machine with "fleetune up", hand a task in with
"fleetune submit FILE --watch", and put the winner to use with "fleetune apply".

The manager is the one that FLEETUNE_URL and FLEETUNE_TOKEN name, else the one
that "fleetune up" runs on this machine.`,
		SilenceErrors: true, SilenceUsage: true,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.PersistentFlags().StringVar(&a.url, "url", "", "URL of the manager (default: FLEETUNE_URL, or the one that is up here)")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usage(nearestFlag(cmd, err)) })
	root.AddGroup(&cobra.Group{ID: "tasks", Title: "Tasks:"}, &cobra.Group{ID: "look", Title: "Looking:"},
		&cobra.Group{ID: "fleet", Title: "Fleet:"}, &cobra.Group{ID: "run", Title: "Running Fleetune:"},
		&cobra.Group{ID: "measure", Title: "Measuring without a fleet:"})
	group := func(id string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = id
			root.AddCommand(c)
		}
	}
	group("tasks", a.submitCommand(), a.waitCommand(), a.pauseCommand(), a.resumeCommand(), a.cancelCommand(), a.retryCommand(), a.deleteCommand(), a.applyCommand(), a.presetsCommand(), a.convertCommand())
	group("look", a.tasksCommand(), a.showCommand(), a.experimentsCommand(), a.bestCommand(), a.watchCommand(), a.logsCommand(),
		a.insightCommand(), a.recordsCommand(), a.whyCommand(), a.compareCommand(), a.reportCommand(), a.exportCommand())
	group("fleet", a.workersCommand(), a.drainCommand())
	group("measure", a.samplersCommand(), a.enginesCommand())
	for _, c := range a.Commands {
		switch c.Name() {
		case "up", "manager", "worker", "nats":
			c.GroupID = "run"
		case "bench", "replay":
			c.GroupID = "measure"
		}
		root.AddCommand(c)
	}
	root.AddCommand(a.versionCommand(), exitCodesTopic())
	strict(root)
	fitHelp(root, a.Out.Width)
	return root
}

// strict makes arguments that a command does not take, and flags that it misses,
// mistakes in what was typed, in commands of other rooms too.
func strict(cmd *cobra.Command) {
	if cmd.PreRunE == nil {
		cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
			if err := errors.Join(cmd.ValidateRequiredFlags(), cmd.ValidateFlagGroups()); err != nil {
				return usage(err)
			}
			return nil
		}
	}
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usage(err)
			}
			return nil
		}
	}
	for _, c := range cmd.Commands() {
		strict(c)
	}
}

// interruptible makes a command whose context ends with Ctrl-C. Commands of
// other rooms have their own ways with signals, and are left alone.
func (a *app) interruptible(f func(ctx context.Context, cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		err := f(ctx, cmd, args)
		if ctx.Err() != nil && cmd.Context().Err() == nil && errors.Is(err, context.Canceled) {
			return errInterrupted
		}
		return err
	}
}

// jsonFlag gives a command --json.
func (a *app) jsonFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.json, "json", false, "print JSON with stable field names")
}

// printJSON prints a document.
func (a *app) printJSON(document any) error {
	encoder := json.NewEncoder(a.Out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(document); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}

func (a *app) printf(format string, args ...any) error {
	_, err := fmt.Fprintf(a.Out, format, args...)
	return err
}

// none takes no argument. What stands where a command would is told with the
// command that may have been meant.
func none(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if !cmd.HasAvailableSubCommands() {
		return fmt.Errorf("%s takes no argument, and there is %q", cmd.CommandPath(), args[0])
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	hint := ""
	if near := space.Nearest(args[0], names); near != "" {
		hint = fmt.Sprintf("; did you mean %q?", cmd.CommandPath()+" "+near)
	}
	return fmt.Errorf("there is no command %q%s", cmd.CommandPath()+" "+args[0], hint)
}

// one takes one argument and says what it is when it is not there.
func one(what string) cobra.PositionalArgs { return takes(1, 1, what) }

// upTo takes one to high arguments, or any number if high is negative.
func upTo(high int, what string) cobra.PositionalArgs { return takes(1, high, what) }

// takes is a check that there are low to high arguments.
func takes(low, high int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= low && (len(args) <= high || high < 0) {
			return nil
		}
		return fmt.Errorf("it takes %s: %s", what, cmd.UseLine())
	}
}

func (a *app) versionCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "version", Short: "Print the version", Args: none,
		RunE: func(*cobra.Command, []string) error {
			if a.json {
				return a.printJSON(map[string]string{"version": a.Version})
			}
			return a.printf("fleetune %s\n", a.Version)
		}}
	a.jsonFlag(cmd)
	return cmd
}
