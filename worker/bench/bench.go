// Package bench is the bench command: the load generator at the hands of a
// person, against any OpenAI-compatible server.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/fleetune/fleetune/worker/load"
	"github.com/fleetune/fleetune/worker/load/agentic"
	"github.com/fleetune/fleetune/worker/load/drive"
	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/fleetune/fleetune/worker/load/play"
	"github.com/fleetune/fleetune/worker/load/report"
)

// Command returns the bench command. It fails when no request succeeded. The
// fleet takes loads of several workers; nil means that there is none.
func Command(fleet Fleet) *cobra.Command {
	o := &options{fleet: fleet}
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure an OpenAI-compatible server under load",
		Long: `Send traffic to an OpenAI-compatible server and measure what comes back.

Prompts are synthetic, or come from a file: conversations, recorded traces,
agentic trees. The load is a closed loop (--concurrency), an open one
(--request-rate), the recorded schedule (--fixed-schedule) or users
(--user-centric-rate). Ctrl-C ends a run with a valid partial report.

Exit codes: 0 measured, even if some requests failed; 1 every request failed,
too many did, a share of the load was lost, or the run broke; 2 a mistake in
what was typed; 130 ended by Ctrl-C.`,
		Example: `  fleetune bench -u http://localhost:8000 -m my-model -c 8 -n 100 \
      --traffic-scenario 'D(512,128)'
  fleetune bench -m my-model -r 20 -d 60s --goodput 'ttft:200 tpot:20'
  fleetune bench -m my-model --search concurrency=1:256 --goodput ttft:500`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			if err := o.find(); err != nil {
				return &exitError{exitUsage, err}
			}
			if err := o.lock(cmd.Flags()); err != nil {
				return err
			}
			if !cmd.Flags().Changed("benchmark-grace-period") {
				o.Grace = drive.GraceFor(o.Duration)
				if o.UserRate > 0 {
					o.Grace = -1 // users end their turns
				}
			}
			err := o.run(ctx, cmd.OutOrStdout(), cmd.ErrOrStderr())
			if err == nil && ctx.Err() != nil && cmd.Context().Err() == nil {
				return &exitError{exitInterrupted, errInterrupted}
			}
			return err
		},
	}
	o.flags(c.Flags())
	c.Flags().SortFlags = false
	complete(c)
	c.AddCommand(compareCommand(), analyzeCommand(), plotCommand(), lanesCommand(), turnsCommand())
	return c
}

func (o *options) run(ctx context.Context, out, progress io.Writer) error {
	if err := o.validate(); err != nil {
		return &exitError{exitUsage, err}
	}
	w, err := o.workload(ctx)
	if err != nil {
		return stopped(ctx, err, "interrupted before the input was read")
	}
	if err := o.fits(w); err != nil {
		return &exitError{exitUsage, err}
	}
	if o.Look {
		return o.look(w, out)
	}
	if o.DryRun {
		return o.dryRun(w, out)
	}
	s := &session{options: o, workload: w, id: play.NewID(), view: newView(o.UI, progress)}
	if s.files, err = o.open(); err != nil {
		return err
	}
	doc, runErr := s.document(ctx)
	s.view.close()
	runErr = errors.Join(runErr, s.files.close())
	if doc == nil {
		return stopped(ctx, advise(runErr), "interrupted before anything was measured")
	}
	return errors.Join(s.write(doc, out), runErr)
}

// stopped is what a command ends with that Ctrl-C ended before there was a
// report; where it did not, the error.
func stopped(ctx context.Context, err error, why string) error {
	var said *exitError
	if ctx.Err() == nil || errors.As(err, &said) {
		return err
	}
	return &exitError{exitInterrupted, errors.New(why)}
}

// advise says what to do about an error that has a remedy among the flags.
func advise(err error) error {
	if errors.Is(err, agentic.ErrColdRoot) {
		return fmt.Errorf("%w\n--max-context-length TOKENS ends traces before longer prompts; --failed-request-threshold SHARE goes on while fewer fail", err)
	}
	return err
}

// session is one call of the command.
type session struct {
	*options
	workload *workload
	id       string
	view     *view
	files    *openFiles // that requests are written to as they end
	runs     int        // started so far
	notes    []string   // for the report
}

// document runs what was asked for and makes the report of it. It returns the
// report beside the error when every request failed.
func (s *session) document(ctx context.Context) (*report.Document, error) {
	var doc *report.Document
	var err error
	switch {
	case s.Sweep != "" || s.Search != "":
		doc, err = s.loads(ctx)
	default:
		doc, err = s.repeat(ctx)
	}
	if doc != nil {
		doc.Submission = s.submission(doc)
	}
	if doc != nil {
		doc.Notes = append(doc.Notes, s.notes...)
	}
	if doc != nil && !s.ServerCounts {
		doc.Notes = append(doc.Notes, "tokens are counted by "+s.workload.counter.Name()+", not by the server")
	}
	if doc != nil && s.workload.file != nil {
		doc.Notes = append(doc.Notes, s.workload.file.Notes...)
		if n := s.workload.file.Skipped; n > 0 {
			doc.Notes = append(doc.Notes, fmt.Sprintf("%d entries of the input were left out", n))
		}
	}
	return doc, err
}

// repeat runs the same load once or several times.
func (s *session) repeat(ctx context.Context) (*report.Document, error) {
	var results []*load.Result
	var last error
	for range s.Runs {
		res, err := s.once(ctx, s.options)
		if res == nil {
			return nil, err
		}
		results, last = append(results, res), err
		if ctx.Err() != nil || err != nil {
			break
		}
	}
	doc := report.New(s.id, s.options, results[len(results)-1])
	if len(results) > 1 {
		doc.Runs = report.Repeats(results, s.Confidence)
	}
	return doc, last
}

func (s *session) once(ctx context.Context, o *options) (*load.Result, error) {
	if o.Workers > 0 {
		return s.fleetOnce(ctx, o)
	}
	plan, err := o.plan(s.workload, s.runs)
	if err != nil {
		return nil, err
	}
	s.runs++
	plan.OnProgress = s.view.show
	s.files.listen(plan)
	return load.Run(ctx, *plan)
}

// loads runs a sweep or a search.
func (s *session) loads(ctx context.Context) (*report.Document, error) {
	var points []load.Point
	var best *load.Point
	var err error
	target := load.Attainment{Good: s.Good, HasSLOs: s.Goodput != ""}
	if s.Sweep != "" {
		name, values, parseErr := parseSweep(s.Sweep)
		if parseErr != nil {
			return nil, parseErr
		}
		points, err = load.Sweep(ctx, values, target, s.probe(name))
	} else {
		name, least, most, parseErr := parseSearch(s.Search)
		if parseErr != nil {
			return nil, parseErr
		}
		spec := load.SearchSpec{Least: least, Most: most, Whole: name == "concurrency", Attainment: target}
		points, best, err = load.Search(ctx, spec, s.probe(name))
	}
	if len(points) == 0 {
		if err == nil {
			err = errors.New("stopped before the first load was measured")
		}
		return nil, err
	}
	doc := report.New(s.id, s.options, points[len(points)-1].Result)
	doc.Cancelled = ctx.Err() != nil // the last of the points need not be the one that was stopped
	doc.Points = report.Points(points)
	if best != nil {
		doc.Best = &best.Load
	}
	if allFailed(points) {
		err = errors.Join(err, load.ErrAllFailed)
	}
	return doc, err
}

func allFailed(points []load.Point) bool {
	for _, p := range points {
		if p.Result.Summary.Value(metrics.TagRequestCount) > 0 {
			return false
		}
	}
	return true
}

// probe runs the flags' load with one of its values replaced.
func (s *session) probe(name string) load.Probe {
	return func(ctx context.Context, x float64) (*load.Result, error) {
		o := *s.options
		if name == "rate" {
			o.Rate = x
		} else {
			o.Concurrency = int(x)
		}
		s.view.title(fmt.Sprintf("%s %g", name, x))
		return s.once(ctx, &o)
	}
}

// write writes the report everywhere it was asked for.
func (s *session) write(doc *report.Document, out io.Writer) error {
	o := s.options
	var errs []error
	file := func(path string, write func(io.Writer) error) {
		if path == "" {
			return
		}
		if path == "-" {
			errs = append(errs, write(out))
			return
		}
		errs = append(errs, report.WriteFile(path, write))
	}
	if o.JSON != "-" {
		screen := screenOf(out)
		errs = append(errs, doc.WriteTable(screen))
		if doc.Points != nil {
			errs = append(errs, doc.WritePoints(screen))
		}
	}
	file(o.JSON, doc.WriteJSON)
	file(o.CSV, doc.WriteCSV)
	file(o.HTML, doc.WriteHTML)
	if o.AIPerf != "" {
		errs = append(errs, s.writeAIPerf(doc))
	}
	return errors.Join(errs...)
}
