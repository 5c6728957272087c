package bench

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/spf13/pflag"

	"github.com/fleetune/fleetune/worker/load"
	"github.com/fleetune/fleetune/worker/load/conversation"
	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/fleetune/fleetune/worker/load/report"
	"github.com/fleetune/fleetune/worker/load/scrape"
	"github.com/fleetune/fleetune/worker/load/transport"
)

// exportOptions say which files are written, those of AIPerf's layout and ours.
type exportOptions struct {
	JSON   string `json:"-"`
	CSV    string `json:"-"`
	Lines  string `json:"-"`
	HTML   string `json:"-"`
	AIPerf string `json:"-"`
	Prefix string `json:"-"`
	Level  string `json:"-"`
}

func (o *exportOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.JSON, "json", "", "write the report, or what --dry-run and --preview show, as JSON to a file, - for standard output")
	f.StringVar(&o.CSV, "csv", "", "write the figures as CSV to a file")
	f.StringVar(&o.Lines, "requests", "", "write every request as a line of JSON to a file")
	f.StringVar(&o.HTML, "html", "", "write a page with charts to a file")
	f.StringVar(&o.AIPerf, "aiperf-dir", "", "write AIPerf's files to a directory")
	f.StringVar(&o.Level, "export-level", levelRecords, "files of that layout: summary, records (a line for every request) or raw (all that was sent and received, too)")
	f.StringVar(&o.Prefix, "profile-export-prefix", "", "beginning of those files' names, instead of the usual ones")
}

// What the files of AIPerf's layout hold: each level has what those before it
// have.
const levelSummary, levelRecords, levelRaw = "summary", "records", "raw"

func (o *exportOptions) validate() error {
	var errs []error
	if !slices.Contains([]string{levelSummary, levelRecords, levelRaw}, o.Level) {
		errs = append(errs, fmt.Errorf("--export-level %q: use summary, records or raw", o.Level))
	}
	if _, err := o.layout(); err != nil {
		errs = append(errs, fmt.Errorf("--profile-export-prefix: %w", err))
	}
	return errors.Join(append(errs, unmet([]need{
		{o.Level != levelRecords, "--export-level", o.AIPerf != "", "--aiperf-dir"},
		{o.Prefix != "", "--profile-export-prefix", o.AIPerf != "", "--aiperf-dir"},
	}))...)
}

func (o *exportOptions) layout() (report.Layout, error) { return report.NewLayout(o.AIPerf, o.Prefix) }

// openFiles are written to while requests run.
type openFiles struct {
	layout   report.Layout
	requests []*report.Recorder
	raw      *report.RawRecorder    // nil below that level
	server   *report.ServerRecorder // nil without AIPerf's layout
	// sessions counts those of each run.
	sessions []*atomic.Int64
}

// open opens the files that are written as requests end.
func (o *options) open() (*openFiles, error) {
	layout, err := o.layout()
	if err != nil {
		return nil, err
	}
	f := &openFiles{layout: layout}
	if o.AIPerf != "" {
		if err := os.MkdirAll(o.AIPerf, 0o755); err != nil {
			return nil, fmt.Errorf("creating the AIPerf directory: %w", err)
		}
	}
	if err := f.create(o); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

func (f *openFiles) create(o *options) error {
	var paths []string
	if o.Lines != "" {
		paths = append(paths, o.Lines)
	}
	if o.AIPerf != "" && o.Level != levelSummary {
		paths = append(paths, f.layout.Requests())
	}
	for _, path := range paths {
		r, err := report.CreateRecorder(path)
		if err != nil {
			return err
		}
		f.requests = append(f.requests, r)
	}
	if o.AIPerf == "" {
		return nil
	}
	if o.Level == levelRaw {
		r, err := report.CreateRawRecorder(f.layout.Raw())
		if err != nil {
			return err
		}
		f.raw = r
	}
	if o.ServerMetrics != "" && o.Workers == 0 {
		r, err := report.CreateServerRecorder(f.layout.Server(".jsonl"))
		if err != nil {
			return err
		}
		f.server = r
	}
	return nil
}

// listen makes a run write to the files.
func (f *openFiles) listen(plan *load.Plan) {
	if len(f.requests) == 0 && f.layout.Dir == "" {
		return
	}
	sessions := &atomic.Int64{}
	f.sessions = append(f.sessions, sessions)
	plan.OnStart = func(epoch time.Time) {
		for _, r := range f.requests {
			r.Start(epoch)
		}
		if f.raw != nil {
			f.raw.Start(epoch)
		}
	}
	plan.OnRecord = func(rec *metrics.Record) {
		if rec.Turn == 0 {
			sessions.Add(1)
		}
		for _, r := range f.requests {
			r.Add(rec)
		}
	}
	if f.raw != nil {
		plan.OnRaw = func(rec *metrics.Record, raw *transport.Raw) { f.raw.Add(rec, raw) }
	}
	if f.server != nil {
		plan.OnServer = func(phase metrics.Phase, x *scrape.Reading) { f.server.Add(phase, x) }
	}
}

func (f *openFiles) close() error {
	var errs []error
	for _, r := range f.requests {
		errs = append(errs, r.Close())
	}
	if f.raw != nil {
		errs = append(errs, f.raw.Close())
	}
	if f.server != nil {
		errs = append(errs, f.server.Close())
		if f.server.Empty() {
			errs = append(errs, os.Remove(f.layout.Server(".jsonl")))
		}
	}
	return errors.Join(errs...)
}

// writeAIPerf writes the files of AIPerf's layout that are made at the end.
func (s *session) writeAIPerf(doc *report.Document) error {
	l := s.files.layout
	errs := []error{doc.WriteAIPerf(l)}
	if server := s.files.server; server != nil && !server.Empty() {
		errs = append(errs,
			report.WriteFile(l.Server(".json"), func(w io.Writer) error { return server.WriteJSON(w, s.id, s.options) }),
			report.WriteFile(l.Server(".csv"), func(w io.Writer) error { return server.WriteCSV(w, s.id) }))
	}
	if s.Workers > 0 && s.workload.file == nil {
		return errors.Join(errs...) // synthetic prompts of shares are made by them
	}
	errs = append(errs, report.WriteFile(l.Inputs(), func(w io.Writer) error { return report.WriteInputs(w, s.inputs()) }))
	return errors.Join(errs...)
}

// maxInputs bounds how many synthetic conversations of a run are written as
// inputs: they have no end, and can be made again.
const maxInputs = 10_000

// inputs are the requests of the conversations as the workload has them:
// before anything was replied, and without markers. Those of an input are all
// there, synthetic ones as far as they were played.
func (s *session) inputs() iter.Seq2[report.Inputs, error] {
	return func(yield func(report.Inputs, error) bool) {
		plan, err := s.plan(s.workload, 0)
		if err != nil {
			yield(report.Inputs{}, err)
			return
		}
		writer := bodies(plan)
		for c, err := range s.played() {
			one := report.Inputs{}
			if err == nil {
				one.Session = c.ID
				one.Payloads, err = writer.Bodies(c, 0)
			}
			if !yield(one, err) || err != nil {
				return
			}
		}
	}
}

// played are the conversations that inputs are written of.
func (s *session) played() iter.Seq2[*conversation.Conversation, error] {
	return func(yield func(*conversation.Conversation, error) bool) {
		if s.workload.file != nil {
			for _, c := range s.workload.conversations() {
				if !yield(c, nil) {
					return
				}
			}
			return
		}
		for run, sessions := range s.files.sessions {
			source, err := s.workload.source(run)
			if err != nil {
				yield(nil, err)
				return
			}
			seen := map[string]bool{}
			for range min(sessions.Load(), maxInputs) {
				c := source.Next()
				if seen[c.ID] {
					continue // a pool is played again and again
				}
				seen[c.ID] = true
				if run > 0 { // other prompts under the same names
					named := *c
					named.ID = fmt.Sprintf("run-%d-%s", run+1, c.ID)
					c = &named
				}
				if !yield(c, nil) {
					return
				}
			}
		}
	}
}
