// Command dispatch measures Fleetune's dispatch: no-op experiments through the
// full fenced circle (sampler, offer, claim, device lease, spool, report,
// commit) with results in PostgreSQL, beside River doing no-op jobs on the
// same server in the same run.
//
// The manager with its NATS server, the workers, and PostgreSQL are processes
// of their own, as on a real machine; PostgreSQL is as durable as the product
// runs it.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

// A report is what --json prints.
type report struct {
	ExperimentsPerSecond float64 `json:"experiments_per_second"`
	// RiverJobsPerSecond includes the inserting, as ours includes the
	// sampler's; RiverWorkingPerSecond counts from the client's start.
	RiverJobsPerSecond    float64 `json:"river_jobs_per_second"`
	RiverWorkingPerSecond float64 `json:"river_working_per_second"`
	// Ratio is of the first two, each the median of the rounds.
	Ratio         float64     `json:"ratio"`
	IdleStartedMS percentiles `json:"idle_started_ms"`
	DeviceGapMS   percentiles `json:"device_gap_ms"`
	Manager       usage       `json:"manager"`
	// CPU used for one experiment, and for one River job, in microseconds:
	// what bounds both on a small machine.
	CPU         costs     `json:"cpu_us"`
	Experiments int       `json:"experiments"`
	Rounds      int       `json:"rounds"`
	Workers     []scaling `json:"by_workers"`
	Sizes       []scaling `json:"by_experiments"`
}

type costs struct {
	Manager       float64 `json:"manager"`
	Workers       float64 `json:"workers"`
	Postgres      float64 `json:"postgres"`
	River         float64 `json:"river"`
	RiverPostgres float64 `json:"river_postgres"`
}

type percentiles struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	N   int     `json:"n"`
}

type usage struct {
	CPUSeconds float64 `json:"cpu_s"`
	RSSMB      float64 `json:"rss_mb"`
}

// A scaling row is one run of the full circle.
type scaling struct {
	Workers              int     `json:"workers"`
	Devices              int     `json:"devices"`
	Experiments          int     `json:"experiments"`
	ExperimentsPerSecond float64 `json:"experiments_per_second"`
	ManagerCPUSeconds    float64 `json:"manager_cpu_s"`
	ManagerRSSMB         float64 `json:"manager_rss_mb"`
	WorkersCPUSeconds    float64 `json:"workers_cpu_s"`
	PostgresCPUSeconds   float64 `json:"postgres_cpu_s"`
}

// mainDevices is how many devices the comparison's worker has: as many as
// River has workers, so that both have as much under way.
const mainDevices = riverWorkers

func main() {
	if len(os.Args) > 1 && os.Args[1] == managerRole {
		if err := serveManager(); err != nil {
			fmt.Fprintln(os.Stderr, "manager:", err)
			os.Exit(1)
		}
		return
	}
	asJSON := flag.Bool("json", false, "print one JSON object")
	experiments := flag.Int("experiments", 20_000, "experiments (and River jobs) in a round of the comparison")
	rounds := flag.Int("rounds", 3, "rounds of the comparison; the median counts")
	quick := flag.Bool("quick", false, "the comparison and latencies only, not how it grows")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := measure(ctx, *experiments, *rounds, !*quick)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench dispatch:", err)
		os.Exit(1)
	}
	if *asJSON {
		if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
			fmt.Fprintln(os.Stderr, "bench dispatch:", err)
			os.Exit(1)
		}
		return
	}
	r.print()
}

func measure(ctx context.Context, experiments, rounds int, growth bool) (report, error) {
	s, err := newStand(ctx)
	if err != nil {
		return report{}, err
	}
	defer s.close()
	r := report{Experiments: experiments, Rounds: rounds}

	say("idle: submit to started")
	if r.IdleStartedMS, err = s.idle(ctx, 200); err != nil {
		return report{}, err
	}
	say("the gap on a device between two experiments")
	if r.DeviceGapMS, err = s.gap(ctx, 400); err != nil {
		return report{}, err
	}
	var ours, working, whole []float64
	for round := range rounds {
		say("round %d of %d: %d experiments, %d River jobs", round+1, rounds, experiments, experiments)
		row, err := s.circle(ctx, 1, mainDevices, experiments)
		if err != nil {
			return report{}, err
		}
		ours = append(ours, row.ExperimentsPerSecond)
		r.Manager = usage{CPUSeconds: row.ManagerCPUSeconds, RSSMB: row.ManagerRSSMB}
		postgres := treeCPU(s.postmaster)
		river, err := s.river(ctx, experiments)
		if err != nil {
			return report{}, err
		}
		each := 1e6 / float64(experiments)
		r.CPU = costs{
			Manager: row.ManagerCPUSeconds * each, Workers: row.WorkersCPUSeconds * each, Postgres: row.PostgresCPUSeconds * each,
			River: river.CPU.Seconds() * each, RiverPostgres: (treeCPU(s.postmaster) - postgres).Seconds() * each,
		}
		a, b := river.perSecond()
		working, whole = append(working, a), append(whole, b)
	}
	r.ExperimentsPerSecond, r.RiverJobsPerSecond, r.RiverWorkingPerSecond = median(ours), median(whole), median(working)
	r.Ratio = r.ExperimentsPerSecond / r.RiverJobsPerSecond
	if !growth {
		return r, nil
	}
	for _, workers := range []int{1, 10, 100} {
		say("%d workers", workers)
		row, err := s.circle(ctx, workers, max(256/workers, 4), experiments/2)
		if err != nil {
			return report{}, err
		}
		r.Workers = append(r.Workers, row)
	}
	for _, n := range []int{1_000, 10_000, 100_000} {
		say("%d experiments", n)
		row, err := s.circle(ctx, 1, 256, n)
		if err != nil {
			return report{}, err
		}
		r.Sizes = append(r.Sizes, row)
	}
	return r, nil
}

func (r report) print() {
	fmt.Printf("experiments/s        %8.0f\nRiver jobs/s         %8.0f (working only %.0f)\nratio                %8.2f\n",
		r.ExperimentsPerSecond, r.RiverJobsPerSecond, r.RiverWorkingPerSecond, r.Ratio)
	fmt.Printf("submit to started    %8.1f ms p50 %8.1f ms p99\n", r.IdleStartedMS.P50, r.IdleStartedMS.P99)
	fmt.Printf("gap on a device      %8.1f ms p50 %8.1f ms p99\n", r.DeviceGapMS.P50, r.DeviceGapMS.P99)
	fmt.Printf("manager              %8.2f s CPU  %8.0f MB (per %d experiments)\n", r.Manager.CPUSeconds, r.Manager.RSSMB, r.Experiments)
	fmt.Printf("CPU per experiment   %8.0f µs (manager %.0f, workers %.0f, PostgreSQL %.0f)\n",
		r.CPU.Manager+r.CPU.Workers+r.CPU.Postgres, r.CPU.Manager, r.CPU.Workers, r.CPU.Postgres)
	fmt.Printf("CPU per River job    %8.0f µs (River %.0f, PostgreSQL %.0f)\n",
		r.CPU.River+r.CPU.RiverPostgres, r.CPU.River, r.CPU.RiverPostgres)
	for _, row := range slices.Concat(r.Workers, r.Sizes) {
		fmt.Printf("%4d workers %4d devices %7d experiments  %6.0f/s  manager %6.2f s CPU %5.0f MB\n",
			row.Workers, row.Devices, row.Experiments, row.ExperimentsPerSecond, row.ManagerCPUSeconds, row.ManagerRSSMB)
	}
}

func median(values []float64) float64 { return quantile(values, 0.5) }

func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func summary(times []time.Duration) percentiles {
	ms := make([]float64, len(times))
	for i, d := range times {
		ms[i] = float64(d) / float64(time.Millisecond)
	}
	return percentiles{P50: quantile(ms, 0.5), P99: quantile(ms, 0.99), N: len(ms)}
}

func say(format string, values ...any) { fmt.Fprintf(os.Stderr, format+"\n", values...) }
