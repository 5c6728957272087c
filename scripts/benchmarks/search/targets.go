package main

import (
	"fmt"
	"strings"

	"github.com/fleetune/fleetune/manager/search/replay"
)

// A target is a figure that is asked for, and whether it was met.
type target struct {
	Name  string  `json:"name"`
	Limit float64 `json:"limit"`
	Found float64 `json:"found"`
	Met   bool    `json:"met"`
}

func atMost(name string, limit, found float64) target {
	return target{name, limit, found, found <= limit}
}
func atLeast(name string, limit, found float64) target {
	return target{name, limit, found, found >= limit}
}

// never stands where a goal was not reached by half the seeds.
const never = 1e9

func median(r replay.Result, goal string) float64 {
	if m := r.EvaluationsTo[goal].Median; m != nil {
		return *m
	}
	return never
}

// targets are those of the GPU-kernel tables: the best row that other methods
// reached on each, the gates, and random search everywhere.
func targets(results, batched []replay.Result) []target {
	best := map[string][2]float64{"convolution_rtx3090": {21, 41}, "gemm_rtx3090": {80, 104}, "dedispersion_mi250x": {13, 34}}
	gateAt50 := map[string]float64{"convolution_rtx3090": 0.97, "gemm_rtx3090": 0.87, "dedispersion_mi250x": 0.98}
	gateTPE := map[string]float64{"convolution_rtx3090": 0.985, "gemm_rtx3090": 0.86, "dedispersion_mi250x": 0.94}
	gateBatch := map[string]float64{"convolution_rtx3090": 0.97, "gemm_rtx3090": 0.85, "dedispersion_mi250x": 0.98}
	random := map[string]replay.Result{}
	sequential := map[string]replay.Result{}
	for _, r := range results {
		switch r.Sampler {
		case "random":
			random[r.Table] = r
		case "bayesian":
			sequential[r.Table] = r
		}
	}
	var list []target
	wasted := 0
	for _, r := range results {
		wasted += r.Violations + r.Repeats
		if r.Sampler == "tpe" && gateTPE[r.Table] > 0 && r.Budget >= 100 {
			list = append(list, atLeast(r.Table+" tpe at 100", gateTPE[r.Table], r.BestAt["100"]))
		}
		if r.Sampler != "bayesian" || strings.HasSuffix(r.Table, levelled) {
			continue
		}
		if b, ok := best[r.Table]; ok {
			list = append(list, atMost(r.Table+" to 5 %", b[0], median(r, "5")), atMost(r.Table+" to 1 %", b[1], median(r, "1")))
			if r.Budget >= 50 {
				list = append(list, atLeast(r.Table+" at 50", gateAt50[r.Table], r.BestAt["50"]))
			}
		}
		if r.Table == "convolution_a100" && r.Budget >= 100 {
			list = append(list, atLeast(r.Table+" at 100", 0.74, r.BestAt["100"]))
		}
		for _, at := range []string{"20", "50", "100"} {
			if other, ok := random[r.Table]; ok && other.BestAt[at] > 0 {
				list = append(list, atLeast(fmt.Sprintf("%s against random at %s", r.Table, at), other.BestAt[at], r.BestAt[at]))
			}
		}
	}
	for _, r := range batched {
		wasted += r.Violations + r.Repeats
		one, ok := sequential[r.Table]
		if _, judged := best[r.Table]; !judged || !ok {
			continue
		}
		for _, goal := range []string{"5", "1"} {
			list = append(list, atMost(fmt.Sprintf("%s to %s %% in batches, times sequential", r.Table, goal), 1.25, median(r, goal)/median(one, goal)))
		}
		if r.Budget < 50 {
			continue
		}
		list = append(list, atLeast(r.Table+" at 50 in batches", gateBatch[r.Table], r.BestAt["50"]))
	}
	list = append(list, rough(results)...)
	return append(list, atMost("violations and repeats", 0, float64(wasted)))
}

// levelled ends the name of a table that was measured at levels.
const levelled = " levels"

// rough compares what it costs to come within 5 % with levels and without, as
// the mean over the tables that have them; a table on which half the seeds did
// not get there counts with the whole budget.
func rough(results []replay.Result) []target {
	total := map[string]float64{}
	tables := map[string]bool{}
	for _, r := range results {
		if strings.HasSuffix(r.Table, levelled) {
			total[r.Sampler] += min(median(r, "5"), float64(r.Budget))
			tables[r.Table] = true
		}
	}
	n := float64(len(tables))
	if n == 0 || total["bayesian"] == 0 {
		return nil
	}
	return []target{atMost("cost to 5 % with levels (asha), in full measurements; in full: bayesian", total["bayesian"]/n, total["asha"]/n)}
}
