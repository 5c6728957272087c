// Command accuracy measures the load generator itself: how late it sends, how
// exactly it stamps what arrives, and what a request costs it. Its oracle is a
// server in a process of its own, on the same machine and the same clock, that
// writes down the instant of every write. It prints one JSON object.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// A Report is everything that was measured. Times are in ms unless the name
// says otherwise.
type Report struct {
	Machine Machine `json:"machine"`
	// Control is how late the thread of a bare timer loop was woken, just
	// before the rest was measured.
	Control Error         `json:"machine_timer_lateness"`
	SendLag []SendLag     `json:"send_lag"`
	Oracle  []OracleError `json:"oracle"`
	Speed   []Speed       `json:"speed"`
	Took    float64       `json:"took_s"`
}

// Machine is where it ran.
type Machine struct {
	Cores  int    `json:"cores"`
	OS     string `json:"os"`
	Arch   string `json:"arch"`
	Go     string `json:"go"`
	Shared string `json:"shared"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "accuracy:", err)
		os.Exit(1)
	}
}

func run() error {
	serveMode := flag.Bool("serve", false, "run the oracle; used by the program itself")
	part := flag.Duration("time", 10*time.Second, "length of each measurement")
	streams := flag.Int("streams", 10000, "streams open at once in the last oracle measurement; 0 leaves it out")
	only := flag.String("only", "", "measure one part: lag, oracle or speed")
	flag.Bool("json", true, "print JSON, which it always does")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *serveMode {
		return serve(ctx)
	}
	begin := time.Now()
	oracle, err := startOracle(ctx)
	if err != nil {
		return err
	}
	defer oracle.close()
	r := &Report{Machine: Machine{runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version(), "the server runs on the same cores"}}
	if r.Control, err = control(min(*part, 3*time.Second)); err != nil {
		return fmt.Errorf("measuring the machine's timers: %w", err)
	}
	m := &measurer{oracle: oracle, length: *part, report: r}
	if err := m.all(ctx, *only, *streams); err != nil {
		return err
	}
	r.Took = time.Since(begin).Seconds()
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
