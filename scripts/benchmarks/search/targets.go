package main

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"

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
		if r.Sampler == "tpe" && gateTPE[r.Table] > 0 {
			list = append(list, atLeast(r.Table+" tpe at 100", gateTPE[r.Table], r.BestAt["100"]))
		}
		if r.Sampler != "bayesian" {
			continue
		}
		if b, ok := best[r.Table]; ok {
			list = append(list, atMost(r.Table+" to 5 %", b[0], median(r, "5")), atMost(r.Table+" to 1 %", b[1], median(r, "1")),
				atLeast(r.Table+" at 50", gateAt50[r.Table], r.BestAt["50"]))
		}
		if r.Table == "convolution_a100" {
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
		list = append(list, atLeast(r.Table+" at 50 in batches", gateBatch[r.Table], r.BestAt["50"]))
	}
	return append(list, atMost("violations and repeats", 0, float64(wasted)))
}

func (r *report) print(out io.Writer) error {
	t := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "TABLE\tSAMPLER\tBATCH\t10 %\t5 %\t1 %\tAT 20\tAT 50\tAT 100\tASK P50 ms\tP99")
	for _, list := range [][]replay.Result{r.Results, r.Batched} {
		for _, x := range list {
			fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%s\t%.3f\t%.3f\t%.3f\t%.2f\t%.2f\n", x.Table, x.Sampler, x.Batch,
				count(median(x, "10")), count(median(x, "5")), count(median(x, "1")), x.BestAt["20"], x.BestAt["50"], x.BestAt["100"], x.Ask.P50, x.Ask.P99)
		}
	}
	for _, p := range r.Peers {
		if p.Failed != "" {
			fmt.Fprintf(t, "%s\t%s\t%s\n", p.Table, p.Name, p.Failed)
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t1\t%s\t%s\t%s\t%.3f\t%.3f\t%.3f\t%.2f\t%.2f\n", p.Table, p.Name, reached(p.To["10"]), reached(p.To["5"]), reached(p.To["1"]),
			p.BestAt["20"], p.BestAt["50"], p.BestAt["100"], p.Ask.P50, p.Ask.P99)
	}
	fmt.Fprintln(t, "\nSAMPLER\tRESULTS\tBATCH\tASK ms\tFIRST ASK ms\tMEMORY MB")
	for _, c := range r.Cost {
		fmt.Fprintf(t, "%s\t%d\t%d\t%.2f\t%.1f\t%.0f\n", c.Sampler, c.Results, c.Batch, c.Ask, c.First, c.Memory)
	}
	fmt.Fprintf(t, "\nopening a space of %.3g valid points: %.0f ms\n", r.Opening.Points, r.Opening.Milliseconds)
	fmt.Fprintln(t, "\nTARGET\tLIMIT\tFOUND\t")
	for _, x := range r.Targets {
		verdict := "missed"
		if x.Met {
			verdict = "met"
		}
		fmt.Fprintf(t, "%s\t%.4g\t%.4g\t%s\n", x.Name, x.Limit, x.Found, verdict)
	}
	return t.Flush()
}

func count(f float64) string {
	if f >= never {
		return "–"
	}
	return fmt.Sprint(f)
}

func reached(f *float64) string {
	if f == nil || math.IsNaN(*f) {
		return "–"
	}
	return fmt.Sprint(*f)
}
