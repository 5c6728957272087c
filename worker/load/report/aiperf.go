package report

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/fleetune/fleetune/worker/load/telemetry"
)

// aiperfSchema is the version of AIPerf's file layout that is written.
const aiperfSchema = "1.5"

// WriteAIPerf writes the files of the layout that hold figures: all of them,
// the time slices if there are any, and the statistics over repeated runs. The
// requests' own files are written while they run. AIPerf reads no settings but
// its own; ours are in fleetune_bench.json, the whole report.
func (d *Document) WriteAIPerf(l Layout) error {
	files := map[string]func(io.Writer) error{
		l.Summary(".json"):                          d.writeAIPerfJSON,
		l.Summary(".csv"):                           d.WriteCSV,
		filepath.Join(l.Dir, "fleetune_bench.json"): d.WriteJSON,
	}
	if len(d.Slices) > 0 {
		files[l.Slices(".csv")] = d.WriteSlicesCSV
		files[l.Slices(".json")] = d.writeSlicesJSON
	}
	if len(d.Runs) > 0 {
		aggregate := filepath.Join(l.Dir, "aggregate", "profile_export_aiperf_aggregate")
		files[aggregate+".json"] = d.writeAggregateJSON
		files[aggregate+".csv"] = d.writeAggregateCSV
	}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("writing the AIPerf layout: %w", err)
		}
		if err := WriteFile(path, files[path]); err != nil {
			return err
		}
	}
	return nil
}

// members writes an object whose members keep their order.
func members(w io.Writer, list []member) error {
	out := []byte("{")
	for i, m := range list {
		raw, err := json.Marshal(m.value)
		if err != nil {
			return fmt.Errorf("writing %s: %w", m.name, err)
		}
		if i > 0 {
			out = append(out, ',')
		}
		out = fmt.Appendf(out, "\n  %q: %s", m.name, raw)
	}
	if _, err := w.Write(append(out, "\n}\n"...)); err != nil {
		return fmt.Errorf("writing the AIPerf report: %w", err)
	}
	return nil
}

type member struct {
	name  string
	value any
}

// writeAIPerfJSON writes every figure as a member of the document itself.
func (d *Document) writeAIPerfJSON(w io.Writer) error {
	list := []member{{"schema_version", aiperfSchema}, {"aiperf_version", Schema}, {"benchmark_id", d.ID}}
	for _, tag := range tags(d.Metrics) {
		list = append(list, member{tag, d.Metrics[tag]})
	}
	type details struct {
		Code    int    `json:"code,omitempty"`
		Type    string `json:"type"`
		Message string `json:"message"`
	}
	type count struct {
		Details details `json:"error_details"`
		Count   int     `json:"count"`
	}
	errs := []count{}
	for _, e := range d.Errors {
		errs = append(errs, count{details{e.Code, string(e.Class), e.Message}, e.Count})
	}
	list = append(list, member{"error_summary", errs}, member{"start_time", d.Start}, member{"end_time", d.End}, member{"was_cancelled", d.Cancelled})
	if d.Warmup != nil {
		list = append(list, member{"warmup_metrics", d.Warmup})
	}
	if d.GPUs != nil {
		list = append(list, member{"telemetry_data", d.aiperfTelemetry()})
	}
	if d.Submission != nil {
		list = append(list, member{"metadata", d.Submission})
	}
	if b := d.Branches; b != nil {
		list = append(list, member{"branch_stats", map[string]int{
			"children_spawned": b.Spawned, "children_completed": b.Completed, "children_errored": b.Errored, "children_truncated": b.Truncated,
			"parents_suspended": b.Suspended, "parents_resumed": b.Resumed,
			"parents_failed_due_to_child_error": 0, // a child's failure is an answer to its parent
			"joins_suppressed":                  b.Background,
		}})
	}
	return members(w, list)
}

// aiperfTelemetry are the GPUs as AIPerf has them: by the place they were read
// at, and there by number.
func (d *Document) aiperfTelemetry() any {
	type gpu struct {
		Index    int               `json:"gpu_index"`
		Name     string            `json:"gpu_name"`
		UUID     string            `json:"gpu_uuid"`
		Platform string            `json:"platform"`
		Host     *string           `json:"hostname"`
		Metrics  map[string]Metric `json:"metrics"`
	}
	type endpoint struct {
		GPUs map[string]gpu `json:"gpus"`
	}
	where := text(d.settings(), "gpu_telemetry")
	gpus := map[string]gpu{}
	for i, g := range d.GPUs {
		one := gpu{Index: i, Name: g.Name, UUID: g.ID, Platform: "nvidia", Metrics: map[string]Metric{}}
		for tag, stats := range g.Figures {
			one.Metrics[tag] = metric(metrics.Metric{Tag: tag, Unit: telemetry.Unit(tag), Stats: stats})
		}
		gpus[fmt.Sprintf("gpu_%d", i)] = one
	}
	return map[string]any{
		"summary":   map[string]any{"endpoints_configured": []string{where}, "endpoints_successful": []string{where}, "start_time": d.Start, "end_time": d.End},
		"endpoints": map[string]endpoint{where: {gpus}},
	}
}

func (d *Document) writeSlicesJSON(w io.Writer) error {
	list := []map[string]any{}
	for _, s := range d.Slices {
		one := map[string]any{"timeslice_index": s.Index, "start_ns": max(s.Start, 0), "end_ns": max(s.End, 0)}
		for tag, m := range s.Metrics {
			one[tag] = m
		}
		list = append(list, one)
	}
	return members(w, []member{{"timeslices", list}})
}

// aggregateFields are the statistics over runs, in their order.
var aggregateFields = []string{"mean", "std", "min", "max", "cv", "se", "ci_low", "ci_high"}

func (r Repeat) field(name string) float64 {
	return map[string]float64{"mean": r.Mean, "std": r.Std, "min": r.Min, "max": r.Max, "cv": r.CV, "se": r.SE, "ci_low": r.Low, "ci_high": r.High}[name]
}

func (d *Document) writeAggregateJSON(w io.Writer) error {
	runs, confidence := 0, 0.0
	figures := map[string]map[string]any{}
	for tag, r := range d.Runs {
		runs, confidence = len(r.Values), r.Confidence
		one := map[string]any{"unit": r.Unit}
		for _, f := range aggregateFields {
			one[f] = r.field(f)
		}
		figures[tag+"_avg"] = one
	}
	return members(w, []member{{"schema_version", aiperfSchema}, {"aiperf_version", Schema},
		{"metadata", map[string]any{"aggregation_type": "confidence", "num_profile_runs": runs, "num_successful_runs": runs, "failed_runs": []any{}, "confidence_level": confidence}},
		{"metrics", figures}})
}

func (d *Document) writeAggregateCSV(w io.Writer) error {
	out := [][]string{append(append([]string{"metric"}, aggregateFields...), "unit")}
	for _, tag := range slices.Sorted(maps.Keys(d.Runs)) {
		line := []string{tag + "_avg"}
		for _, f := range aggregateFields {
			line = append(line, strconv.FormatFloat(d.Runs[tag].field(f), 'f', 4, 64))
		}
		out = append(out, append(line, d.Runs[tag].Unit))
	}
	if err := csv.NewWriter(w).WriteAll(out); err != nil {
		return fmt.Errorf("writing the statistics over runs: %w", err)
	}
	return nil
}

// WriteFile writes a file by a writer, and closes it before it counts.
func WriteFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("creating a report: %w", err)
	}
	if err := write(f); err != nil {
		_ = f.Close() // the write's error is the one to tell
		return err
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("closing a report: %w", err)
	}
	return nil
}
