// Command search measures the samplers: on recorded tables, beside random
// search and what Python packages can be had, and by what asking costs.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/fleetune/fleetune/manager/search/replay"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench search:", err)
		os.Exit(1)
	}
}

// options of a run.
type options struct {
	tables   []string
	samplers []string
	seeds    int
	budget   int
	batch    int
	costOnly bool
	json     bool
}

// A report is what --json prints.
type report struct {
	Seeds  int `json:"seeds"`
	Budget int `json:"budget"`
	Batch  int `json:"batch"`
	// Results of ours, and of peers by the same protocol.
	Results []replay.Result `json:"results"`
	Batched []replay.Result `json:"batched,omitempty"`
	Peers   []peer          `json:"peers"`
	Targets []target        `json:"targets"`
	Cost    []cost          `json:"cost"`
	Opening opening         `json:"opening"`
}

func run(ctx context.Context, args []string, out io.Writer) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	r := report{Seeds: o.seeds, Budget: o.budget, Batch: o.batch}
	if !o.costOnly {
		if err := r.replay(ctx, o); err != nil {
			return err
		}
	}
	say("measuring what asking costs, on one core")
	before := runtime.GOMAXPROCS(1)
	if r.Cost, err = costs(ctx, o.samplers); err != nil {
		return err
	}
	if r.Opening, err = open(); err != nil {
		return err
	}
	runtime.GOMAXPROCS(before)
	r.Targets = append(r.Targets, costTargets(r.Cost, r.Opening)...)
	if o.json {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	return r.print(out)
}

func parse(args []string) (options, error) {
	var o options
	var samplers string
	var quick bool
	f := flag.NewFlagSet("search", flag.ContinueOnError)
	f.Usage = func() {
		fmt.Fprintln(f.Output(), "Usage: bench search [FLAG...] TABLE...\nTables are what fleetune replay takes; FLEETUNE_TUNING names a folder instead.")
		f.PrintDefaults()
	}
	f.StringVar(&samplers, "samplers", "bayesian,tpe,gp,random", "ours to run")
	f.IntVar(&o.seeds, "seeds", 30, "runs of each")
	f.IntVar(&o.budget, "budget", 110, "evaluations of each run")
	f.IntVar(&o.batch, "batch", 8, "the size of batches beside sequential runs; 1 for none")
	f.BoolVar(&quick, "quick", false, "3 seeds, bayesian and random, no batches")
	f.BoolVar(&o.costOnly, "cost", false, "only what asking costs")
	f.BoolVar(&o.json, "json", false, "print one object")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if quick {
		o.seeds, samplers, o.batch = 3, "bayesian,random", 1
	}
	o.samplers, o.tables = strings.Split(samplers, ","), f.Args()
	if folder := os.Getenv("FLEETUNE_TUNING"); len(o.tables) == 0 && folder != "" {
		o.tables = []string{folder}
	}
	if len(o.tables) == 0 && !o.costOnly {
		return o, errors.New("no tables: name them, or a folder in FLEETUNE_TUNING; --cost needs none")
	}
	return o, nil
}

// replay runs ours and the peers on every table.
func (r *report) replay(ctx context.Context, o options) error {
	for _, path := range o.tables {
		tables, err := replay.Load(path, replay.Columns{})
		if err != nil {
			return err
		}
		for _, t := range tables {
			say("%s: %s, %d seeds", t.Name, strings.Join(o.samplers, ", "), o.seeds)
			list, err := replay.Compare(ctx, t, replay.Settings{Samplers: o.samplers, Seeds: o.seeds, Budget: o.budget, Batch: 1})
			if err != nil {
				return err
			}
			r.Results = append(r.Results, list...)
			if o.batch > 1 {
				if list, err = replay.Compare(ctx, t, replay.Settings{Samplers: []string{"bayesian"}, Seeds: o.seeds, Budget: o.budget, Batch: o.batch}); err != nil {
					return err
				}
				r.Batched = append(r.Batched, list...)
			}
			if index := filepath.Join(path, "index.json"); fileExists(index) {
				r.Peers = append(r.Peers, optuna(ctx, index, t.Name, o)...)
			}
		}
	}
	r.Targets = targets(r.Results, r.Batched)
	return nil
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
