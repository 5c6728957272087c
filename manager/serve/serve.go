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
