package main

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fleetune/fleetune/manager/search/replay"
	"github.com/fleetune/fleetune/proto/space"
)

// Peers are samplers of others. Each runs through a driver, by the protocol that
// ours are held to, save that static violations and repeats cost it nothing;
// what it evaluated is judged as ours is.
//
//go:embed peers
var drivers embed.FS

// A peer is a method of a Python package, as in optuna:TPE.
type peer struct {
	tool, method string
}

func (p peer) String() string { return p.tool + ":" + p.method }

// usualPeers are those that install quickly and run in seconds. Kernel Tuner's
// are the strategies that did best on some table; on tables with several objectives
// those run that take several.
const usualPeers = "optuna:TPE,kernel_tuner:simulated_annealing,kernel_tuner:genetic_algorithm,kernel_tuner:adaptive_tabu_greywolf,kernel_tuner:hybrid_vndx,kernel_tuner:pso,kernel_tuner:diff_evo,optuna:NSGAII,kernel_tuner:nsga2"

// takes says whether the method is meant for so many objectives: Kernel Tuner's
// strategies take one, genetic algorithms that sort by fronts are for several.
func (p peer) takes(objectives int) bool {
	fronts := strings.HasPrefix(strings.ToLower(p.method), "nsga")
	if objectives > 1 {
		return fronts || p.tool == "optuna"
	}
	return !fronts
}

func parsePeers(text string) ([]peer, error) {
	var list []peer
	for name := range strings.SplitSeq(text, ",") {
		if name == "" {
			continue
		}
		tool, method, ok := strings.Cut(name, ":")
		if !ok || !slices.Contains([]string{"optuna", "kernel_tuner"}, tool) {
			return nil, fmt.Errorf("--peers: %q is no method of optuna or kernel_tuner; write it as in optuna:TPE", name)
		}
		list = append(list, peer{tool, method})
	}
	return list, nil
}

// failure says why a peer has no figures.
type failure struct {
	Peer   string `json:"peer"`
	Table  string `json:"table"`
	Reason string `json:"reason"`
}

// job is what a driver is given.
type job struct {
	Method     string      `json:"method"`
	Parameters []parameter `json:"parameters"`
	Directions []string    `json:"directions"`
	Rows       []jobRow    `json:"rows"`
	Seeds      int         `json:"seeds"`
	Budget     int         `json:"budget"`
}

type parameter struct {
	Name   string `json:"name"`
	Values []any  `json:"values"`
}

// jobRow is a row of the table by the ranks of its values; Values are null where
// it failed.
type jobRow struct {
	Ranks  []int     `json:"ranks"`
	Values []float64 `json:"values"`
}

func jobOf(t *replay.Table, method string, seeds, budget int) (job, error) {
	j := job{Method: method, Seeds: seeds, Budget: budget}
	compiled, err := space.Compile(t.Space)
	if err != nil {
		return j, err
	}
	for _, p := range t.Space.Parameters {
		j.Parameters = append(j.Parameters, parameter{p.Name, p.Values})
	}
	for _, o := range t.Objectives {
		j.Directions = append(j.Directions, string(o.Direction))
	}
	for _, r := range t.Rows {
		_, ranks, err := compiled.Coords(r.Point)
		if err != nil {
			return j, err
		}
		row := jobRow{Values: r.Values, Ranks: make([]int, len(ranks))}
		for i, rank := range ranks {
			row.Ranks[i] = int(rank)
		}
		j.Rows = append(j.Rows, row)
	}
	return j, nil
}

// answer is what a driver prints.
type answer struct {
	Version string `json:"version"`
	Courses []struct {
		Rows       []int     `json:"rows"`
		Asks       []float64 `json:"asks"`
		Violations int       `json:"violations"`
		Repeats    int       `json:"repeats"`
	} `json:"courses"`
}

// run runs a peer where FLEETUNE_PEERS holds a Python with its package.
func (p peer) run(ctx context.Context, t *replay.Table, o options) (replay.Result, error) {
	folder := os.Getenv("FLEETUNE_PEERS")
	python := filepath.Join(folder, p.tool, "bin", "python")
	if folder == "" || !fileExists(python) {
		return replay.Result{}, fmt.Errorf("not installed: %s", reason(folder, p.tool))
	}
	j, err := jobOf(t, p.method, o.peerSeeds, o.budget)
	if err != nil {
		return replay.Result{}, err
	}
	begin := time.Now()
	a, err := drive(ctx, python, p.tool, j)
	if err != nil {
		return replay.Result{}, err
	}
	courses := make([]replay.Course, len(a.Courses))
	for i, c := range a.Courses {
		courses[i] = replay.Course{Asks: c.Asks, Violations: c.Violations, Repeats: c.Repeats}
		for _, row := range c.Rows {
			courses[i].Evaluations = append(courses[i].Evaluations, replay.Evaluation{Row: row})
		}
	}
	r := t.Judge(p.tool+" "+a.Version+" "+p.method, replay.Settings{Budget: o.budget, Batch: 1}, courses)
	r.Seconds = time.Since(begin).Seconds()
	return r, nil
}

// drive hands a job to a driver. What it says last is its error.
func drive(ctx context.Context, python, tool string, j job) (a answer, err error) {
	folder, err := os.MkdirTemp("", "bench-search-")
	if err != nil {
		return a, err
	}
	defer os.RemoveAll(folder)
	data, err := json.Marshal(j)
	if err != nil {
		return a, err
	}
	table := filepath.Join(folder, "table.json")
	if err := os.WriteFile(table, data, 0o600); err != nil {
		return a, err
	}
	driver, err := drivers.ReadFile("peers/" + tool + "_replay.py")
	if err != nil {
		return a, err
	}
	cmd := exec.CommandContext(ctx, python, "-", table)
	cmd.Stdin = bytes.NewReader(driver)
	cmd.Env = append(os.Environ(), "OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1", "TMPDIR="+folder)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
		return a, fmt.Errorf("%w: %s", err, lines[len(lines)-1])
	}
	if err := json.Unmarshal(out, &a); err != nil {
		return a, fmt.Errorf("reading what it printed: %w", err)
	}
	return a, nil
}

func reason(folder, tool string) string {
	data, err := os.ReadFile(filepath.Join(folder, tool+".failed"))
	if err != nil {
		return "FLEETUNE_PEERS names no folder with it"
	}
	return strings.TrimSpace(string(data))
}
