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
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/fleetune/fleetune/manager/search"
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
	paths     []string
	only      *regexp.Regexp
	samplers  []string
	peers     []peer
	seeds     int
	peerSeeds int
	budget    int
	batch     int
	jobs      int
	// costOnly and tablesOnly leave the other half out.
	costOnly, tablesOnly bool
	list, every          bool
	json                 bool
}

// A report is what --json prints.
type report struct {
	Seeds  int `json:"seeds"`
	Budget int `json:"budget"`
	Batch  int `json:"batch"`
	Jobs   int `json:"jobs"`
	// LeftOut says which tables, or parts of them, were not searched, and why.
	LeftOut []string `json:"left_out"`
	// Results of ours, and of peers by the same protocol.
	Results []replay.Result `json:"results"`
	Batched []replay.Result `json:"batched"`
	Peers   []replay.Result `json:"peers"`
	// Failed peers have no figures.
	Failed  []failure `json:"failed"`
	Targets []target  `json:"targets"`
	Cost    []cost    `json:"cost"`
	Opening opening   `json:"opening"`
}

func run(ctx context.Context, args []string, out io.Writer) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	r := report{Seeds: o.seeds, Budget: o.budget, Batch: o.batch, Jobs: o.jobs}
	var tables []*replay.Table
	for _, path := range o.paths {
		list, left, err := tablesOf(path, o.only, o.every)
		if err != nil {
			return err
		}
		tables, r.LeftOut = append(tables, list...), append(r.LeftOut, left...)
	}
	if o.list {
		return listTables(out, tables, r.LeftOut)
	}
	if !o.costOnly {
		if len(tables) == 0 {
			return errors.New("no table is left to search; --list shows what there is")
		}
		for i, t := range tables {
			say("%d of %d: %s, %d rows", i+1, len(tables), t.Name, len(t.Rows))
			if err := r.search(ctx, t, o); err != nil {
				return err
			}
		}
		r.Targets = targets(r.Results, r.Batched)
	}
	if err := r.costs(ctx, o); err != nil {
		return err
	}
	if o.json {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	return r.print(out)
}

func parse(args []string) (options, error) {
	var o options
	var samplers, peers, only string
	var quick bool
	f := flag.NewFlagSet("search", flag.ContinueOnError)
	f.Usage = func() {
		fmt.Fprintln(f.Output(), "Usage: bench search [FLAG...] TABLE...\nTables are what fleetune replay takes, or folders of such; FLEETUNE_TUNING names a folder instead.")
		f.PrintDefaults()
	}
	f.StringVar(&samplers, "samplers", "bayesian,tpe,gp,random", "ours to run; on tables with levels asha and hyperband too")
	f.StringVar(&peers, "peers", usualPeers, "methods of optuna and kernel_tuner to run beside them, as TOOL:METHOD; optuna:GP takes long and gigabytes to install")
	f.StringVar(&only, "tables", "", "only tables whose names this regular expression fits")
	f.IntVar(&o.seeds, "seeds", 30, "runs of each")
	f.IntVar(&o.peerSeeds, "peer-seeds", 0, "runs of each peer; as many as ours when 0")
	f.IntVar(&o.budget, "budget", 110, "evaluations of each run")
	f.IntVar(&o.batch, "batch", 8, "the size of batches beside sequential runs; 1 for none")
	f.IntVar(&o.jobs, "jobs", 1, "runs at a time; more than 1 makes the times of asking worthless")
	f.BoolVar(&quick, "quick", false, "3 seeds, bayesian and random, no batches")
	f.BoolVar(&o.costOnly, "cost", false, "only what asking costs")
	f.BoolVar(&o.tablesOnly, "no-cost", false, "only the tables")
	f.BoolVar(&o.every, "every", false, "every part of a file that has many alike")
	f.BoolVar(&o.list, "list", false, "only list the tables")
	f.BoolVar(&o.json, "json", false, "print one object")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if quick {
		o.seeds, samplers, o.batch = 3, "bayesian,random", 1
	}
	if o.peerSeeds == 0 {
		o.peerSeeds = o.seeds
	}
	if o.seeds < 1 || o.budget < 1 || o.batch < 1 || o.peerSeeds < 1 {
		return o, errors.New("--seeds, --peer-seeds, --budget and --batch must be at least 1")
	}
	var err error
	if o.peers, err = parsePeers(peers); err != nil {
		return o, err
	}
	if only != "" {
		if o.only, err = regexp.Compile(only); err != nil {
			return o, fmt.Errorf("--tables: %w", err)
		}
	}
	o.samplers, o.paths = strings.Split(samplers, ","), f.Args()
	if folder := os.Getenv("FLEETUNE_TUNING"); len(o.paths) == 0 && folder != "" {
		o.paths = []string{folder}
	}
	if len(o.paths) == 0 && !o.costOnly {
		return o, errors.New("no tables: name them, or a folder in FLEETUNE_TUNING; --cost needs none")
	}
	return o, nil
}

func listTables(out io.Writer, tables []*replay.Table, left []string) error {
	for _, t := range tables {
		var aims []string
		for _, objective := range t.Objectives {
			aims = append(aims, string(objective.Direction)+" "+objective.Metric)
		}
		if _, err := fmt.Fprintf(out, "%s: %d rows, %s\n", t.Name, len(t.Rows), strings.Join(aims, ", ")); err != nil {
			return err
		}
	}
	for _, why := range left {
		if _, err := fmt.Fprintln(out, "left out:", why); err != nil {
			return err
		}
	}
	return nil
}

// search runs ours and the peers on one table.
func (r *report) search(ctx context.Context, t *replay.Table, o options) error {
	s := replay.Settings{Samplers: o.samplers, Seeds: o.seeds, Budget: o.budget, Batch: 1, Jobs: o.jobs}
	if t.Fidelity != nil {
		s.Samplers = slices.Concat([]string{"asha", "hyperband"}, s.Samplers)
	}
	list, err := replay.Compare(ctx, t, s)
	if err != nil {
		return err
	}
	r.Results = append(r.Results, list...)
	if o.batch > 1 {
		s.Samplers, s.Batch = []string{"bayesian"}, o.batch
		if list, err = replay.Compare(ctx, t, s); err != nil {
			return err
		}
		r.Batched = append(r.Batched, list...)
	}
	if t.Fidelity != nil {
		return nil // the drivers know no levels
	}
	for _, p := range o.peers {
		if !p.takes(len(t.Objectives)) {
			continue
		}
		result, err := p.run(ctx, t, o)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			r.Failed = append(r.Failed, failure{p.String(), t.Name, err.Error()})
			continue
		}
		r.Peers = append(r.Peers, result)
	}
	return nil
}

// costs measures what asking takes, on one core.
func (r *report) costs(ctx context.Context, o options) (err error) {
	if o.tablesOnly {
		return nil
	}
	say("measuring what asking costs, on one core")
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	if r.Cost, err = costs(ctx, slices.DeleteFunc(slices.Clone(o.samplers), needsLevels)); err != nil {
		return err
	}
	if r.Opening, err = open(); err != nil {
		return err
	}
	r.Targets = append(r.Targets, costTargets(r.Cost, r.Opening)...)
	return nil
}

func needsLevels(name string) bool {
	return slices.ContainsFunc(search.Strategies(), func(s search.Strategy) bool { return s.Name == name && s.Levels })
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
