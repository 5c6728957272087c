// Package scrape reads an engine's own figures while load runs on it, from
// its Prometheus endpoint, under names that are the same for every engine.
package scrape

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/fleetune/fleetune/worker/load/metrics"
)

// figure is one of the engines' figures under our name.
type figure struct {
	tag, unit string
	counter   bool
	// names it goes by, one engine's after another's; the first found counts.
	names []string
}

// known are the figures that are read.
var known = []figure{
	{"server_requests_running", "requests", false, []string{"vllm:num_requests_running", "sglang:num_running_reqs", "llamacpp:requests_processing"}},
	{"server_requests_waiting", "requests", false, []string{"vllm:num_requests_waiting", "sglang:num_queue_reqs", "llamacpp:requests_deferred"}},
	{"server_kv_cache_usage", "ratio", false, []string{"vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc", "sglang:token_usage", "llamacpp:kv_cache_usage_ratio"}},
	{"server_cache_hit_rate", "ratio", false, []string{"sglang:cache_hit_rate"}},
	{"server_prompt_tokens", "tokens", true, []string{"vllm:prompt_tokens_total", "sglang:prompt_tokens_total", "llamacpp:prompt_tokens_total"}},
	{"server_generation_tokens", "tokens", true, []string{"vllm:generation_tokens_total", "sglang:generation_tokens_total", "llamacpp:tokens_predicted_total"}},
	{"server_preemptions", "preemptions", true, []string{"vllm:num_preemptions_total", "sglang:num_retracted_requests_total"}},
	{"server_prefix_cache_queries", "tokens", true, []string{"vllm:prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total"}},
	{"server_prefix_cache_hits", "tokens", true, []string{"vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total"}},
}

// ErrUnknown is returned when an endpoint has none of the figures.
var ErrUnknown = errors.New("the endpoint has no figure of a known engine")

// maxPage bounds a page of figures.
const maxPage = 16 << 20

// Scraper reads an endpoint again and again.
type Scraper struct {
	url    string
	client *http.Client
	cancel context.CancelFunc
	done   chan struct{}
	gauges map[string]*metrics.Distribution
	counts map[string]*counter
	failed int
	keep   func(*Reading)
	asked  chan chan struct{}
}

// A Reading is a page of figures as it was read.
type Reading struct {
	URL  string
	Sent time.Time
	// Latency is how long the page took to come, whole.
	Latency  time.Duration
	Families map[string]*dto.MetricFamily
}

// counter adds up what a counter grew by; an engine that starts anew begins
// at 0 again.
type counter struct {
	last, sum float64
}

// Start reads the endpoint once, and then every interval until Stop. It fails
// when the first reading does. Every reading goes to keep, which may be nil,
// one after another.
func Start(ctx context.Context, url string, every time.Duration, keep func(*Reading)) (*Scraper, error) {
	s := &Scraper{url: url, keep: keep, asked: make(chan chan struct{}), client: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{MaxIdleConns: 1}},
		done: make(chan struct{}), gauges: map[string]*metrics.Distribution{}, counts: map[string]*counter{}}
	if err := s.read(ctx); err != nil {
		s.client.CloseIdleConnections()
		return nil, err
	}
	ctx, s.cancel = context.WithCancel(ctx)
	go s.loop(ctx, every)
	return s, nil
}

func (s *Scraper) loop(ctx context.Context, every time.Duration) {
	defer close(s.done)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.again(ctx)
		case done := <-s.asked:
			s.again(ctx)
			close(done)
		case <-ctx.Done():
			return
		}
	}
}

// again reads once more; one missed reading is no reason to stop.
func (s *Scraper) again(ctx context.Context) {
	if s.read(ctx) != nil && ctx.Err() == nil {
		s.failed++
	}
}

// Read reads between two intervals, and returns when that is done.
func (s *Scraper) Read(ctx context.Context) {
	done := make(chan struct{})
	select {
	case s.asked <- done:
		<-done // soon: a reading has its limit
	case <-s.done:
	case <-ctx.Done():
	}
}

// Stop reads a last time and returns the figures: gauges with their
// distribution over time, counters with what they grew by; and how many
// readings failed after the first.
func (s *Scraper) Stop(ctx context.Context) (figures []metrics.Metric, failed int) {
	s.cancel()
	<-s.done
	if s.read(context.WithoutCancel(ctx)) != nil {
		s.failed++
	}
	s.client.CloseIdleConnections()
	var out []metrics.Metric
	for _, f := range known {
		if d := s.gauges[f.tag]; d != nil {
			out = append(out, metrics.Metric{Tag: f.tag, Header: metrics.Title(f.tag), Unit: f.unit, Stats: *d.Stats()})
		}
		if c := s.counts[f.tag]; c != nil {
			out = append(out, metrics.Metric{Tag: f.tag, Header: metrics.Title(f.tag), Unit: f.unit, Stats: metrics.Stats{Avg: c.sum}, Aggregate: true})
		}
	}
	return out, s.failed
}

func (s *Scraper) read(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return fmt.Errorf("reading the server's metrics: %w", err)
	}
	sent := time.Now()
	resp, err := s.client.Do(req)
	if err != nil {
		return fmt.Errorf("reading the server's metrics: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end, or given up
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("reading the server's metrics: status %d", resp.StatusCode)
	}
	families, err := parse(io.LimitReader(resp.Body, maxPage))
	if err != nil {
		return err
	}
	values, err := pick(families)
	if err != nil {
		return err
	}
	s.take(values)
	if s.keep != nil {
		s.keep(&Reading{URL: s.url, Sent: sent, Latency: time.Since(sent), Families: families})
	}
	return nil
}

// parse reads a page of figures.
func parse(r io.Reader) (map[string]*dto.MetricFamily, error) {
	p := expfmt.NewTextParser(model.UTF8Validation)
	families, err := p.TextToMetricFamilies(r)
	if err != nil {
		return nil, fmt.Errorf("reading the server's metrics: %w", err)
	}
	return families, nil
}

// pick takes the known figures; those that have labels are summed up.
func pick(families map[string]*dto.MetricFamily) (map[string]float64, error) {
	out := map[string]float64{}
	for _, f := range known {
		i := slices.IndexFunc(f.names, func(n string) bool { return families[n] != nil })
		if i < 0 {
			continue
		}
		for _, m := range families[f.names[i]].GetMetric() {
			out[f.tag] += value(m)
		}
	}
	if len(out) == 0 {
		return nil, ErrUnknown
	}
	return out, nil
}

func value(m *dto.Metric) float64 {
	switch {
	case m.GetCounter() != nil:
		return m.GetCounter().GetValue()
	case m.GetGauge() != nil:
		return m.GetGauge().GetValue()
	default:
		return m.GetUntyped().GetValue()
	}
}

func (s *Scraper) take(values map[string]float64) {
	for _, f := range known {
		x, ok := values[f.tag]
		if !ok {
			continue
		}
		if !f.counter {
			if s.gauges[f.tag] == nil {
				s.gauges[f.tag] = &metrics.Distribution{}
			}
			s.gauges[f.tag].Add(x)
			continue
		}
		c := s.counts[f.tag]
		switch {
		case c == nil:
			s.counts[f.tag] = &counter{last: x}
			continue
		case x >= c.last:
			c.sum += x - c.last
		default:
			c.sum += x
		}
		c.last = x
	}
}
