// Command load measures the load generator: how late it sends, how exactly it
// stamps replies, and what requests cost it, with a peer beside it. It prints
// one JSON object.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

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
	length := flag.Duration("time", 10*time.Second, "length of each part")
	streams := flag.Int("streams", 10000, "streams open at once; 0 leaves that part out")
	only := flag.String("only", "", "measure one part: lag, oracle or speed")
	flag.Bool("json", true, "print JSON, which it always does")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *oracle {
		return accuracy.Serve(ctx)
	}
	r, err := accuracy.Measure(ctx, accuracy.Options{Length: *length, Streams: *streams, Only: *only,
		ServeArgs: []string{"-serve"}, Peers: []accuracy.Peer{vegetaPeer{}}})
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

// vegetaPeer is the vegeta library, which sends plain HTTP requests.
type vegetaPeer struct{}

func (vegetaPeer) Name() string { return "vegeta 12.13.0" }

// Attack sends as fast as the workers go. Every result is summed up, as
// vegeta's own command does.
func (vegetaPeer) Attack(ctx context.Context, url string, body []byte, concurrency int, length time.Duration) (done, failed int, err error) {
	target := vegeta.NewStaticTargeter(vegeta.Target{Method: http.MethodPost, URL: url, Body: body, Header: http.Header{"Content-Type": {"application/json"}}})
	n := uint64(concurrency)
	attacker := vegeta.NewAttacker(vegeta.KeepAlive(true), vegeta.Connections(concurrency), vegeta.Workers(n), vegeta.MaxWorkers(n))
	defer context.AfterFunc(ctx, func() { attacker.Stop() })()
	var sum vegeta.Metrics
	for r := range attacker.Attack(target, vegeta.Rate{Freq: 0, Per: time.Second}, length, "peer") {
		sum.Add(r)
		if r.Code != http.StatusOK {
			failed++
		}
	}
	sum.Close()
	return int(sum.Requests), failed, ctx.Err()
}
