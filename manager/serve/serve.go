package serve

import (
	"github.com/fleetune/fleetune/worker/daemon"
	"github.com/spf13/cobra"
)

// Commands returns the long-running commands.
func Commands(version string) []*cobra.Command {
	worker := daemon.Command("worker", version)
	return []*cobra.Command{upCommand(version), managerCommand(version), worker, natsCommand()}
}

// A mistake is in what was typed.
type mistake struct{ error }

func (m mistake) Unwrap() error { return m.error }

// ExitStatus is what the command line ends with.
func (mistake) ExitStatus() int { return 2 }
