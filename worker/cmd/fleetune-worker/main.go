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
)

// version is set by the linker.
var version = "dev"

func main() {
	cmd := daemon.Command("fleetune-worker", version)
	cmd.Version = version
	cmd.SilenceErrors = true
	if err := cmd.ExecuteContext(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "fleetune-worker:", err)
		os.Exit(status(err))
	}
}

// status is what the program ends with: an error's own, or 1.
func status(err error) int {
	var ended interface{ ExitStatus() int }
	if errors.As(err, &ended) {
		return ended.ExitStatus()
	}
	return 1
}
