// Command fleetune-worker runs a worker on a GPU node. It is the slim sibling
// of `fleetune worker`: it links neither the database driver nor the NATS
// server.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/fleetune/fleetune/worker/daemon"
	"github.com/spf13/cobra"
)

// version is set by the linker.
var version = "dev"

func main() {
	cmd := daemon.Command("fleetune-worker", version)
	cmd.Version = version
	cmd.SilenceErrors = true
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return mistake{err} })
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		if err := cmd.ValidateFlagGroups(); err != nil {
			return mistake{err}
		}
		return nil
	}
	if at, err := cmd.ExecuteContextC(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "fleetune-worker:", err)
		if errors.As(err, &mistake{}) {
			fmt.Fprintln(os.Stderr, "  next:", at.CommandPath(), "--help")
		}
		os.Exit(status(err))
	}
}

// A mistake is in what was typed.
type mistake struct{ error }

func (m mistake) Unwrap() error { return m.error }

// ExitStatus is what the program ends with.
func (mistake) ExitStatus() int { return 2 }

// status is what the program ends with: an error's own, or 1.
func status(err error) int {
	var ended interface{ ExitStatus() int }
	if errors.As(err, &ended) {
		return ended.ExitStatus()
	}
	return 1
}
