package load

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fleetune/fleetune/worker/load/conversation"
	"github.com/fleetune/fleetune/worker/load/dataset"
	"github.com/fleetune/fleetune/worker/load/drive"
	"github.com/fleetune/fleetune/worker/load/endpoint"
	"github.com/fleetune/fleetune/worker/load/input"
	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/fleetune/fleetune/worker/load/token"
	"github.com/fleetune/fleetune/worker/load/token/tokenizerjson"
	"github.com/fleetune/fleetune/worker/load/transport"
)

// A Cell is one traffic scenario at one concurrency.
type Cell struct {
	// Scenario in genai-bench's notation, such as D(100,100), or dataset.
	Scenario    string
	Concurrency int
}

func (c Cell) String() string { return fmt.Sprintf("%s × %d", c.Scenario, c.Concurrency) }

// CellOptions say how a cell is run.
type CellOptions struct {
	URL      string
	Model    string
	APIKey   string
	Endpoint endpoint.Kind // empty is chat
	// Requests and Duration end the cell, whichever comes first; one of them
	// must be set.
	Requests int
	Duration time.Duration
	// Warmup requests, of the same scenario, enter no figure.
	Warmup int
	// RequestTimeout bounds one request; 0 sets no bound.
	RequestTimeout time.Duration
	SLOs           []metrics.SLO
	// GPUTelemetry is AutoGPUs, telemetry.Local or the URL of a DCGM exporter, GPUs the
	// devices' ids to keep to; the figures are then in Full.
	GPUTelemetry string
	GPUs         []string
	// Seed makes the prompts repeatable: the same cell and seed send the same
	// ones, in the same order.
	Seed int64
	// Dataset is played by the scenario "dataset", and gives the text of the
	// prompts of all others, whose lengths are the scenario's.
	Dataset []*conversation.Conversation
	// Extra members of every request body.
	Extra map[string]any
	// Counter counts where the server does not, and measures prompts; nil is
	// the byte fallback. Words make filler that is as long as it says.
	Counter token.Counter
	Words   *token.Words
}

// Inputs are what the cells of a benchmark have in common: where prompts come
// from, and what counts their tokens.
type Inputs struct {
	// Dataset is a path or a URL; empty for synthetic prompts.
	Dataset     string
	Deduplicate bool
	// Token opens the dataset's URL; empty for none.
	Token string
	// Tokenizer is a tokenizer.json, a model's directory, or a model in the
	// local Hugging Face cache; empty counts by the byte fallback.
	Tokenizer string
	// Seed of what the dataset's format draws.
	Seed int64
	// Cache is the directory of downloaded datasets; empty is the user's own.
	Cache string
}

// ErrTokenizer says that there is no such tokenizer, or that it cannot be read.
var ErrTokenizer = errors.New("the tokenizer cannot be used")

// Open reads the dataset and the tokenizer, and sets what they are in the
// options of the cells. The returned figures are nil without a dataset.
func (in Inputs) Open(ctx context.Context, opt *CellOptions) (*dataset.Stats, error) {
	opt.Counter, opt.Words = token.Bytes{}, nil
	if in.Tokenizer != "" {
		path, err := tokenizerjson.Find(in.Tokenizer)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrTokenizer, err)
		}
		t, err := tokenizerjson.Open(path)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrTokenizer, err)
		}
		opt.Counter, opt.Words = t, token.NewWords(t)
	}
	if in.Dataset == "" {
		return nil, nil
	}
	d, err := dataset.Load(ctx, in.Dataset, dataset.Options{
		Input: input.Options{Seed: in.Seed, Counter: opt.Counter, Words: opt.Words},
		Fetch: dataset.Fetch{Cache: in.Cache, Token: in.Token}, Deduplicate: in.Deduplicate,
	})
	if err != nil {
		return nil, err
	}
	if len(d.Trees) > 0 {
		return nil, fmt.Errorf("%s holds agentic trees, which cells do not play", d.Stats.Source)
	}
	opt.Dataset = d.Conversations
	return &d.Stats, nil
}

// CellResult holds the figures of a cell. Stats are zero where no request gave
// any.
type CellResult struct {
	Cell Cell
	// TTFT, TPOT and Latency are in ms: time to first token, time per output
	// token after the first, and time to the last token.
	TTFT, TPOT, Latency metrics.Stats
	// Input and Output lengths in tokens.
	Input, Output metrics.Stats
	// RequestThroughput per second; the others in tokens per second.
	RequestThroughput, OutputThroughput, TotalThroughput float64
	// Goodput is the rate of requests that keep every SLO; 0 without SLOs.
	Goodput          float64
	Requests, Errors int
	ErrorRate        float64 // share of all requests
	Elapsed          time.Duration
	// Full is the whole result, with every other figure.
	Full *Result
}

// RunCell measures one cell. When every request failed it returns the result
// together with ErrAllFailed; when ctx ended, Full.Cancelled is set.
func RunCell(ctx context.Context, cell Cell, opt CellOptions) (*CellResult, error) {
	plan, err := cell.plan(opt)
	if err != nil {
		return nil, fmt.Errorf("cell %s: %w", cell, err)
	}
	res, err := Run(ctx, *plan)
	if res == nil {
		return nil, fmt.Errorf("cell %s: %w", cell, err)
	}
	out := cellResult(cell, res)
	if err != nil {
		return out, fmt.Errorf("cell %s: %w", cell, err)
	}
	return out, nil
}

func (c Cell) plan(opt CellOptions) (*Plan, error) {
	scenario, err := input.ParseScenario(c.Scenario)
	if err != nil {
		return nil, err
	}
	kind := opt.Endpoint
	if kind == "" {
		kind = endpoint.Chat
	}
	extra, err := endpoint.Members(opt.Extra)
	if err != nil {
		return nil, err
	}
	plan := &Plan{
		Target: transport.Config{URLs: []string{opt.URL}, APIKey: opt.APIKey, Timeout: opt.RequestTimeout,
			Options: endpoint.Options{Kind: kind, Stream: kind.Streams(), IgnoreEOS: !scenario.Dataset && kind.Streams(), LegacyMaxTokens: true, Extra: extra}},
		Models: []string{opt.Model}, SLOs: opt.SLOs, Seed: opt.Seed, Counter: opt.Counter,
		GPUTelemetry: opt.GPUTelemetry, GPUs: opt.GPUs,
		Profile: drive.Phase{Shape: drive.Shape{Kind: drive.Closed, Concurrency: c.Concurrency},
			Requests: opt.Requests, Duration: opt.Duration, Grace: drive.GraceFor(opt.Duration)},
	}
	if opt.Warmup > 0 {
		plan.Warmup = &drive.Phase{Shape: plan.Profile.Shape, Requests: opt.Warmup, Grace: -1}
	}
	if !scenario.Dataset {
		// Every cell has prompts of its own: those of the cell before would be
		// found in the server's prefix cache.
		seed := conversation.Seed(opt.Seed, c.String())
		s := input.Synthetic{Scenario: scenario, Seed: int64(seed), Words: opt.Words}
		if len(opt.Dataset) > 0 {
			if s.Texts, err = input.NewTexts(opt.Dataset, opt.Counter); err != nil {
				return nil, err
			}
		}
		plan.Source = s.NewSource()
		return plan, nil
	}
	d, err := conversation.NewDataset(opt.Dataset, conversation.Sequential, opt.Seed)
	if err != nil {
		return nil, err
	}
	plan.Source, plan.List = d, opt.Dataset
	return plan, nil
}

func cellResult(cell Cell, res *Result) *CellResult {
	s := res.Summary
	stats := func(tag string) metrics.Stats {
		m, _ := s.Get(tag)
		return m.Stats
	}
	return &CellResult{
		Cell: cell, TTFT: stats(metrics.TagTTFT), TPOT: stats(metrics.TagITL), Latency: stats(metrics.TagLatency),
		Input: stats(metrics.TagISL), Output: stats(metrics.TagOSL),
		RequestThroughput: s.Value(metrics.TagRequestThroughput), OutputThroughput: s.Value(metrics.TagOutputThroughput),
		TotalThroughput: s.Value(metrics.TagTotalThroughput), Goodput: s.Value(metrics.TagGoodput),
		Requests: int(s.Value(metrics.TagRequestCount)), Errors: int(s.Value(metrics.TagErrorCount)),
		ErrorRate: s.Value(metrics.TagErrorRate), Elapsed: res.End.Sub(res.Start), Full: res,
	}
}
