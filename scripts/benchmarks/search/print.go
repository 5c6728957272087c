package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/fleetune/fleetune/manager/search/replay"
)

// print writes the report for a person.
func (r *report) print(out io.Writer) error {
	t := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	if len(r.Results) > 0 {
		r.printTables(t)
	}
	if len(r.Cost) > 0 {
		fmt.Fprintln(t, "\nSAMPLER\tRESULTS\tBATCH\tASK ms\tMOST ms\tFIRST ASK ms\tMEMORY MB")
		for _, c := range r.Cost {
			fmt.Fprintf(t, "%s\t%d\t%d\t%.3f\t%.2f\t%.1f\t%.0f\n", c.Sampler, c.Results, c.Batch, c.Ask, c.Most, c.First, c.Memory)
		}
		fmt.Fprintf(t, "\nopening a space of %.3g valid points: %.0f ms\n", r.Opening.Points, r.Opening.Milliseconds)
	}
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

// printTables writes a line a table and sampler. Shares are of the optimum, or
// of the hypervolume of the table's front.
func (r *report) printTables(out io.Writer) {
	fmt.Fprintln(out, "TABLE\tSAMPLER\tBATCH\t10 %\t5 %\t1 %\tAT 20\tAT 50\tAT 100\tASK P50 ms\tP99")
	for _, list := range [][]replay.Result{r.Results, r.Batched, r.Peers} {
		for _, x := range list {
			fmt.Fprintf(out, "%s\t%s\t%d", x.Table, x.Sampler, x.Batch)
			for _, goal := range []string{"10", "5", "1"} {
				fmt.Fprintf(out, "\t%s (%.0f %%)", count(median(x, goal)), 100*x.EvaluationsTo[goal].Share)
			}
			for _, at := range []string{"20", "50", "100"} {
				fmt.Fprintf(out, "\t%s", share(x, at))
			}
			fmt.Fprintf(out, "\t%.2f\t%.2f\n", x.Ask.P50, x.Ask.P99)
		}
	}
	for _, f := range r.Failed {
		fmt.Fprintf(out, "%s\t%s\tfailed: %s\n", f.Table, f.Peer, f.Reason)
	}
	for _, why := range r.LeftOut {
		fmt.Fprintf(out, "left out: %s\n", why)
	}
}

// share is what was found after so many evaluations, if the budget goes so far.
func share(r replay.Result, at string) string {
	if s, ok := r.BestAt[at]; ok {
		return fmt.Sprintf("%.3f", s)
	}
	return "–"
}

func count(f float64) string {
	if f >= never {
		return "–"
	}
	return fmt.Sprintf("%.4g", f)
}
