// Command load measures the load generator: how late it sends, how exactly it
// stamps replies, and what requests cost it, with peers beside it. It prints
// one JSON object.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/fleetune/fleetune/worker/bench/accuracy"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run() error {
	oracle := flag.Bool("serve", false, "be the server that is measured against; the benchmark starts it itself")
	length := flag.Duration("time", 8*time.Second, "length of each part")
	streams := flag.Int("streams", 10000, "streams open at once; 0 leaves that part out")
	quick := flag.Bool("quick", false, "a second for each part and 500 streams: shows that all of it works, not how fast it is")
	only := flag.String("only", "", "measure one part: lag, oracle, knee or speed")
	peers := flag.String("peers", os.Getenv("FLEETUNE_PEERS"), "folder with the peers' programs, as scripts/bench makes it; empty for vegeta alone")
	flag.Bool("json", true, "print JSON, which it always does")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *oracle {
		return accuracy.Serve(ctx)
	}
	if *quick {
		*length, *streams = time.Second, min(*streams, 500)
	}
	found, missing := find(*peers)
	r, err := accuracy.Measure(ctx, accuracy.Options{Length: *length, Streams: *streams, Only: *only,
		ServeArgs: []string{"-serve"}, Peers: found, Missing: missing})
	if err != nil {
		return err
	}
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	if err := e.Encode(r); err != nil {
		return fmt.Errorf("printing the report: %w", err)
	}
	return nil
}
