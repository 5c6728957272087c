package report

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// aiperfSchema is the version of AIPerf's file layout that is written.
const aiperfSchema = "1.5"

// WriteAIPerf writes the files that AIPerf's tools read into a directory:
// profile_export_aiperf.json and .csv, and the time slices if there are any.
// The requests' own file, profile_export.jsonl, is written while they run.
func (d *Document) WriteAIPerf(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("writing the AIPerf layout: %w", err)
	}
	files := map[string]func(io.Writer) error{
		"profile_export_aiperf.json": d.writeAIPerfJSON,
		"profile_export_aiperf.csv":  d.WriteCSV,
	}
	if len(d.Slices) > 0 {
		files["profile_export_aiperf_timeslices.csv"] = d.WriteSlicesCSV
		files["profile_export_aiperf_timeslices.json"] = d.writeSlicesJSON
	}
	for name, write := range files {
		if err := WriteFile(filepath.Join(dir, name), write); err != nil {
			return err
		}
	}
	return nil
}

// writeAIPerfJSON writes every figure as a member of the document itself.
func (d *Document) writeAIPerfJSON(w io.Writer) error {
	type member struct {
		name  string
		value any
	}
	members := []member{{"schema_version", aiperfSchema}, {"aiperf_version", Schema}, {"benchmark_id", d.ID}}
	for _, tag := range tags(d.Metrics) {
		members = append(members, member{tag, d.Metrics[tag]})
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
	members = append(members, member{"error_summary", errs}, member{"start_time", d.Start}, member{"end_time", d.End}, member{"was_cancelled", d.Cancelled})
	if d.Config != nil {
		members = append(members, member{"input_config", d.Config})
	}
	if d.Warmup != nil {
		members = append(members, member{"warmup_metrics", d.Warmup})
	}
	if d.GPUs != nil {
		members = append(members, member{"telemetry_data", d.GPUs})
	}
	if d.Submission != nil {
		members = append(members, member{"metadata", d.Submission})
	}
	if d.Branches != nil {
		members = append(members, member{"branch_stats", d.Branches})
	}
	out := []byte("{")
	for i, m := range members {
		raw, err := json.Marshal(m.value)
		if err != nil {
			return fmt.Errorf("writing %s: %w", m.name, err)
		}
		if i > 0 {
			out = append(out, ',')
		}
		out = fmt.Appendf(out, "\n  %q: %s", m.name, raw)
	}
	out = append(out, "\n}\n"...)
	if _, err := w.Write(out); err != nil {
		return fmt.Errorf("writing the AIPerf report: %w", err)
	}
	return nil
}

func (d *Document) writeSlicesJSON(w io.Writer) error {
	if err := json.NewEncoder(w).Encode(map[string]any{"timeslices": d.Slices}); err != nil {
		return fmt.Errorf("writing the time slices: %w", err)
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
