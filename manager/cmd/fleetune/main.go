// Command fleetune is the whole of Fleetune in one binary: the command line,
// the manager, the embedded parts and a worker.
package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/fleetune/fleetune/manager/cli"
	"github.com/fleetune/fleetune/manager/search/replay"
	"github.com/fleetune/fleetune/manager/serve"
	"github.com/fleetune/fleetune/worker/bench"
)

// version is set when a release is built.
var version = "dev"

func main() { os.Exit(cli.Main(version, commands()...)) }

// commands are those of other rooms than the command line's own.
func commands() []*cobra.Command {
	return append(serve.Commands(version), replay.Command(), bench.Command(serve.Fleet{Getenv: os.Getenv}))
}
