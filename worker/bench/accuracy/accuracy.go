// Package accuracy measures the load generator itself: how late it sends, how
// exactly it stamps what arrives, and what a request costs it. Its oracle is a
// server in a process of its own, on the same machine and the same clock, that
// writes down the instant of every write. The load benchmark is its command.
package accuracy

import (
	"context"
	"fmt"
	"runtime"
	"time"
)

// Options of a measurement.
type Options struct {
	// Length of each part.
	Length time.Duration
	// Streams open at once in the last oracle part; 0 leaves it out.
	Streams int
	// Only names one part: lag, oracle, knee or speed; empty measures all.
	Only string
	// ServeArgs are the arguments with which this program, started again, calls
	// Serve.
	ServeArgs []string
	// Peers are measured beside us; Missing tells why others are not.
	Peers   []Peer
	Missing map[string]string
}

// A Report is everything that was measured. Times are in ms unless the name
// says otherwise.
type Report struct {
	Machine Machine `json:"machine"`
	// Control is how late the thread of a bare timer loop was woken, just
	// before the rest was measured.
	Control Error         `json:"machine_timer_lateness"`
	SendLag []SendLag     `json:"send_lag"`
	Oracle  []OracleError `json:"oracle"`
	Knees   []Knee        `json:"highest_rate_before_lag_grows"`
	Speed   []Speed       `json:"speed"`
	// Missing are the peers that could not be had, and why.
	Missing map[string]string `json:"peers_missing,omitempty"`
	Took    float64           `json:"took_s"`
}

// Machine is where it ran.
type Machine struct {
	Cores  int    `json:"cores"`
	OS     string `json:"os"`
	Arch   string `json:"arch"`
	Go     string `json:"go"`
	Shared string `json:"shared"`
}

// Measure measures what the options ask for.
func Measure(ctx context.Context, opt Options) (*Report, error) {
	begin := time.Now()
	oracle, err := startOracle(ctx, opt.ServeArgs)
	if err != nil {
		return nil, err
	}
	defer oracle.close()
	r := &Report{Machine: Machine{runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version(), "the server runs on the same cores"}, Missing: opt.Missing}
	if r.Control, err = control(min(opt.Length, 3*time.Second)); err != nil {
		return nil, fmt.Errorf("measuring the machine's timers: %w", err)
	}
	m := &measurer{oracle: oracle, length: opt.Length, report: r, peers: opt.Peers}
	if err := m.all(ctx, opt.Only, opt.Streams); err != nil {
		return nil, err
	}
	r.Took = time.Since(begin).Seconds()
	return r, nil
}
