package serving

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/worker/command"
	"github.com/fleetune/fleetune/worker/load"
	"github.com/fleetune/fleetune/worker/load/conversation"
	"github.com/fleetune/fleetune/worker/load/endpoint"
	"github.com/fleetune/fleetune/worker/load/metrics"
)

// The kinds of benchmark.
const (
	textToText       = "text-to-text"
	textToEmbeddings = "text-to-embeddings"
	textToRerank     = "text-to-rerank"
)

// errorLimit is the share of failed requests above which a cell's figures say
// nothing: they would be those of the requests that were easy.
const errorLimit = 0.05

// Causes of failures that the load itself shows.
const (
	CauseErrors = "request_errors"
	CauseTooFew = "no_request_completed"
)

// load warms the engine up and loads all cells some times.
func (r *session) load(ctx context.Context, passes int) *command.Result {
	s := r.staged
	limited, cancel := within(ctx, "benchmark", s.spec.BenchmarkTimeout.D())
	defer cancel()
	s.enter("benchmark", phrase(s.turn(r.side), "warming up"))
	if res := r.warmUp(limited); res != nil {
		return res
	}
	all := s.spec.Benchmark.Cells()
	for pass := range passes {
		for i, cell := range all {
			s.enter("benchmark", phrase(s.turn(r.side), fmt.Sprintf("%s, cell %d of %d", cell, i+1, len(all)), nth("pass", pass+1, passes)))
			res := r.cell(limited, cell, r.side.tally.passes)
			if res == nil {
				continue
			}
			for _, later := range all[i+1:] {
				r.side.tally.miss(later, "not measured: "+res.Failure.Message)
			}
			return res
		}
		r.side.tally.passes++
		if r.side == s.candidate && s.job.Progress != nil && pass+1 < passes {
			s.job.Progress(samplesOf(s.aggregate(r.side, r.side.tally.cells())))
		}
	}
	return nil
}

// warmUp sends the requests that are not measured.
func (r *session) warmUp(ctx context.Context) *command.Result {
	b := &r.staged.spec.Benchmark
	if b.Warmup <= 0 {
		return nil
	}
	first := b.Cells()[0]
	first.Concurrency = min(first.Concurrency, b.Warmup)
	options := r.options(-1)
	options.Requests, options.Duration = b.Warmup, 0
	result, err := r.run(ctx, first, options)
	return r.judge(ctx, "while it warmed up", result, err)
}

// cell loads one cell and keeps what it measured, or why it did not.
func (r *session) cell(ctx context.Context, cell task.Cell, pass int) *command.Result {
	s := r.staged
	if err := r.flush(ctx); err != nil {
		s.journal.line("%s: the cache was not flushed before %s: %v", r.side.name, cell, err)
		r.note("the cache could not be flushed between cells: " + err.Error())
	}
	stop := s.meter(ctx, r.side)
	result, err := r.run(ctx, cell, r.options(pass))
	usage := stop()
	if result != nil && result.Full != nil && result.Full.Simulated != "" {
		r.side.simulated = result.Full.Simulated
	}
	res := r.judge(ctx, "under load", result, err)
	if res == nil {
		res = tooManyErrors(cell, result)
	}
	if res != nil {
		r.side.tally.fail(cell, result, res.Failure.Message)
		s.journal.line("%s: %s: %s", r.side.name, cell, s.masked.Text(res.Failure.Message))
		return res
	}
	r.side.tally.add(cell, result, usage, figures{world: s.world(r.side), cost: s.spec.CostPerDeviceHour, slo: s.spec.SLO != nil, speed: s.speed()})
	s.journal.line("%s: %s: %d requests, %.1f tokens/s, TTFT %.0f ms", r.side.name, cell, result.Requests, result.OutputThroughput, result.TTFT.Avg)
	return nil
}

// turn names the side and round of a confirmation; others have none.
func (s *Staged) turn(side *side) string {
	if s.baseline == nil {
		return ""
	}
	return fmt.Sprintf("%s, round %d of %d", side.name, s.round, s.rounds())
}

// nth tells which of several something is; nothing of one.
func nth(noun string, n, of int) string {
	if of < 2 {
		return ""
	}
	return fmt.Sprintf("%s %d of %d", noun, n, of)
}

func phrase(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ", ")
}

// note adds a note to the side once.
func (r *session) note(text string) {
	for _, n := range r.side.notes {
		if n == text {
			return
		}
	}
	r.side.notes = append(append([]string{}, r.side.notes...), text)
}

// flush drops the engine's cached prefixes, so that a cell does not find what
// the one before left.
func (r *session) flush(ctx context.Context) error {
	q := r.staged.engine.Endpoints().Flush
	if q == nil {
		return nil
	}
	_, err := r.ask(ctx, q.Method, q.Path, nil)
	var status *statusError
	if errors.As(err, &status) && status.code == 404 {
		// Prompts differ from cell to cell, so nothing of one helps another.
		return nil
	}
	return err
}

// run loads one cell until it is done or the engine ends.
func (r *session) run(ctx context.Context, cell task.Cell, options load.CellOptions) (*load.CellResult, error) {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := r.onEnd(cancel)
	defer stop()
	return load.RunCell(inner, load.Cell{Scenario: cell.Scenario, Concurrency: cell.Concurrency}, options)
}

// options of a pass over the cells. Every configuration of a task gets the
// same prompts in the same order, and each pass its own.
func (r *session) options(pass int) load.CellOptions {
	s := r.staged
	b := &s.spec.Benchmark
	o := s.inputs
	o.URL, o.Model, o.APIKey, o.Endpoint = r.server.URL(), r.model, trim(s.apiKey), kindOf(b.Task)
	o.Requests, o.Duration, o.SLOs = b.CellRequests, s.byClock(b.CellTime.D()), s.boundsByClock(bounds(s.spec.SLO))
	o.Seed = int64(conversation.Seed(0, fmt.Sprintf("%s/%d", s.job.Offer.Task, pass))) // any number will do
	if len(b.Extra) > 0 {
		o.Extra = map[string]any{}
		for name, value := range b.Extra {
			o.Extra[name] = value
		}
	}
	return o
}

func kindOf(benchmark string) endpoint.Kind {
	switch benchmark {
	case textToEmbeddings:
		return endpoint.Embeddings
	case textToRerank:
		return endpoint.Rerank
	default:
		return endpoint.Chat
	}
}

// bounds of single requests that the SLOs ask for, in ms. Of the percentiles
// of one quantity the loosest counts, which nearly every request has to keep.
func bounds(slo *task.SLO) []metrics.SLO {
	if slo == nil {
		return nil
	}
	loosest := map[string]float64{}
	for _, term := range slo.Terms {
		_, of, _ := strings.Cut(term.Metric, "_")
		tag := map[string]string{"e2e_latency": metrics.TagLatency, "ttft": metrics.TagTTFT, "tpot": metrics.TagITL}[of]
		if tag != "" {
			loosest[tag] = max(loosest[tag], 1e3*term.Threshold)
		}
	}
	var list []metrics.SLO
	for _, tag := range []string{metrics.TagLatency, metrics.TagTTFT, metrics.TagITL} {
		if bound, ok := loosest[tag]; ok {
			list = append(list, metrics.SLO{Tag: tag, Bound: bound})
		}
	}
	return list
}

// judge turns the end of a cell into a result; nil means that it can be used.
func (r *session) judge(ctx context.Context, when string, result *load.CellResult, err error) *command.Result {
	const phase = "benchmark"
	if r.gone(ctx, result) {
		return r.died(phase, when)
	}
	switch {
	case ctx.Err() != nil:
		return ended(phase, context.Cause(ctx))
	case errors.Is(err, load.ErrAllFailed):
		res := failed(experiment.OutcomeFailed, phase, "the log of the engine may say more", fmt.Sprintf("every request failed %s: %s", when, firstError(result)))
		res.Failure.Cause = CauseErrors
		return res
	case err != nil:
		return infra(ctx, phase, err)
	case result.Requests == 0:
		res := failed(experiment.OutcomeTimeout, phase, "give a cell more time (benchmark.max_time_per_iteration, in minutes)",
			fmt.Sprintf("no request was completed %s within %v", when, r.staged.spec.Benchmark.CellTime.D()))
		res.Failure.Cause, res.Failure.Timeout, res.Failure.Limit = CauseTooFew, "cell", r.staged.spec.Benchmark.CellTime.D()
		return res
	}
	return nil
}

// endTime is how long the end of an engine may take to be known after it has
// stopped to answer: its whole tree is proven dead first.
const endTime = 5 * time.Second

// gone says whether the engine has ended. Requests that find nobody say so
// before the launcher does.
func (r *session) gone(ctx context.Context, result *load.CellResult) bool {
	wait := time.Duration(0)
	if hungUp(result) {
		wait = endTime
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-r.server.Done():
		return true
	case <-ctx.Done():
	case <-timer.C:
	}
	select {
	case <-r.server.Done():
		return true
	default:
		return false
	}
}

// hungUp says whether requests failed as they do when nobody is there.
func hungUp(result *load.CellResult) bool {
	return result != nil && result.Full != nil && slices.ContainsFunc(result.Full.Summary.Errors, func(e metrics.ErrorCount) bool {
		return e.Class == metrics.ErrRefused || e.Class == metrics.ErrReset || e.Class == metrics.ErrTruncated
	})
}

func tooManyErrors(cell task.Cell, result *load.CellResult) *command.Result {
	if result.ErrorRate <= errorLimit {
		return nil
	}
	res := failed(experiment.OutcomeFailed, "benchmark", "", fmt.Sprintf("%d of %d requests failed in cell %s (at most %.0f %% may): %s",
		result.Errors, result.Errors+result.Requests, cell, 100*errorLimit, firstError(result)))
	res.Failure.Cause = CauseErrors
	return res
}

// firstError is what most of the failed requests say.
func firstError(result *load.CellResult) string {
	if result == nil || result.Full == nil || len(result.Full.Summary.Errors) == 0 {
		return "nothing is known of why"
	}
	e := result.Full.Summary.Errors[0]
	return fmt.Sprintf("%s: %s", e.Class, e.Message)
}
