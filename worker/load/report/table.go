package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/fleetune/fleetune/worker/load/telemetry"
)

// rows of the final table, in the order people look for them.
var rows = []string{
	metrics.TagTTFT, "time_to_second_token", metrics.TagITL, metrics.TagICL, metrics.TagLatency,
	metrics.TagEffectiveLatency, metrics.TagSendLag, "output_token_throughput_per_user",
	metrics.TagISL, metrics.TagOSL, "effective_concurrency",
}

var totals = []string{
	metrics.TagRequestCount, metrics.TagErrorCount, metrics.TagErrorRate, "unfinished_request_count", metrics.TagDuration,
	metrics.TagRequestThroughput, metrics.TagOutputThroughput, metrics.TagTotalThroughput,
	metrics.TagGoodCount, metrics.TagGoodput, "overall_usage_prompt_cache_read_pct", "theoretical_prefix_cache_hit",
	telemetry.TagUtilization, telemetry.TagPower, telemetry.TagMemory + "_max", telemetry.TagEnergy, "energy_per_output_token",
}

// WriteTable writes the figures for people.
func (d *Document) WriteTable(w io.Writer) error {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	line := func(cells ...string) { _, _ = fmt.Fprintln(t, strings.Join(cells, "\t")+"\t") } // into memory
	line("Metric", "avg", "min", "max", "p99", "p90", "p50", "std")
	for _, tag := range rows {
		m, ok := d.Metrics[tag]
		if !ok || m.Count == nil {
			continue
		}
		cells := []string{fmt.Sprintf("%s (%s)", metrics.Title(tag), m.Unit)}
		for _, col := range []string{"avg", "min", "max", "p99", "p90", "p50", "std"} {
			cells = append(cells, decimals(*m.column(col)))
		}
		line(cells...)
	}
	_ = t.Flush()
	b.WriteString("\n")
	t = tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, tag := range totals {
		if m, ok := d.Metrics[tag]; ok {
			line(fmt.Sprintf("%s (%s)", metrics.Title(tag), m.Unit), decimals(m.Avg))
		}
	}
	_ = t.Flush()
	for _, e := range d.Errors {
		fmt.Fprintf(&b, "\n%d × %s", e.Count, e.Class)
		if e.Code != 0 {
			fmt.Fprintf(&b, " (%d)", e.Code)
		}
		fmt.Fprintf(&b, ": %s\n", e.Message)
	}
	if s := d.Submission; s != nil {
		fmt.Fprintf(&b, "\nScenario %s: ", s.Scenario)
		if s.Valid {
			b.WriteString("the run counts\n")
		} else {
			fmt.Fprintf(&b, "the run does not count: %s\n", strings.Join(s.Reasons, "; "))
		}
	}
	for _, n := range d.Notes {
		fmt.Fprintf(&b, "\nNote: %s.\n", n)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("writing the table: %w", err)
	}
	return nil
}

// WritePoints writes the loads of a sweep or search.
func (d *Document) WritePoints(w io.Writer) error {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(t, "load\tmeets SLOs\treq/s\tgood req/s\tout tok/s\tTTFT p50 ms\tTTFT p99 ms\tITL p50 ms\terrors\t") // into memory
	for _, p := range d.Points {
		pick := func(tag, col string) string {
			if x := p.Metrics[tag].column(col); x != nil {
				return decimals(*x)
			}
			return "-"
		}
		_, _ = fmt.Fprintf(t, "%g\t%v\t%s\t%s\t%s\t%s\t%s\t%s\t%.0f\t\n", p.Load, p.Meets,
			pick(metrics.TagRequestThroughput, "avg"), pick(metrics.TagGoodput, "avg"), pick(metrics.TagOutputThroughput, "avg"),
			pick(metrics.TagTTFT, "p50"), pick(metrics.TagTTFT, "p99"), pick(metrics.TagITL, "p50"), p.Metrics[metrics.TagErrorCount].Avg)
	}
	_ = t.Flush()
	if d.Best != nil {
		fmt.Fprintf(&b, "\nHighest load that meets the SLOs: %g\n", *d.Best)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("writing the table: %w", err)
	}
	return nil
}
