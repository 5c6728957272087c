// Command fleetune is the whole of Fleetune in one binary: the command line,
// the manager, the embedded parts and a worker.
package main

import (
	"os"

	"github.com/fleetune/fleetune/manager/cli"
	"github.com/fleetune/fleetune/manager/serve"
)

// version is set when a release is built.
var version = "dev"

func main() { os.Exit(cli.Main(version, serve.Commands(version)...)) }
