package task

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fleetune/fleetune/proto/task/internal/document"
	"github.com/fleetune/fleetune/proto/task/internal/form"
)

func (d *decoder) benchmark(s *Serving) {
	f := d.form.Benchmark
	if f == nil {
		f = &form.Benchmark{}
		d.Bind(&document.Node{Kind: document.Map}, "benchmark", f)
	}
	b := Benchmark{Task: f.Task, ModelName: f.ModelName, Tokenizer: f.ModelTokenizer, Scenarios: f.TrafficScenarios,
		CellTime: Duration(f.MaxTimePerIteration * float64(time.Minute)), CellRequests: int(f.MaxRequestsPerIteration), Warmup: int(f.Warmup)}
	for _, n := range f.NumConcurrency {
		b.Concurrency = append(b.Concurrency, int(n))
	}
	if f.DatasetURL != "" {
		b.Dataset = &Dataset{URL: f.DatasetURL, Deduplicate: f.DatasetDeduplicate, TokenSecret: f.DatasetToken}
		d.secret("benchmark.dataset_token", f.DatasetToken)
	}
	d.scenarios(&b)
	d.distinctCells(&b)
	d.extra(&b, f.AdditionalParams)
	s.Benchmark = b
}

// The notation of traffic scenarios; numbers may be decimal.
const number = `\s*[0-9]+(?:\.[0-9]+)?\s*`

var scenarioForms = regexp.MustCompile(`^(?:` + strings.Join([]string{
	`D\(` + number + `,` + number + `\)`,
	`N\(` + number + `,` + number + `\)/\(` + number + `,` + number + `\)`,
	`U\(` + number + `,` + number + `\)(?:/\(` + number + `,` + number + `\))?`,
	`E\(` + number + `\)`, `R\(` + number + `,` + number + `\)`,
	`I\(` + number + `,` + number + `(?:,` + number + `)?\)`, `A\(` + number + `\)`, `dataset`,
}, "|") + `)$`)

func (d *decoder) scenarios(b *Benchmark) {
	for i, scenario := range b.Scenarios {
		at := document.Item("benchmark.traffic_scenarios", i)
		if len(b.Scenarios) == 1 && !d.index.Has(at) {
			at = "benchmark.traffic_scenarios"
		}
		const expected = "D(in,out), N(mean,deviation)/(mean,deviation), U(min,max)/(min,max), E(tokens), R(document,query) or dataset"
		switch {
		case !d.clean(at):
		case strings.HasPrefix(scenario, "I(") || strings.HasPrefix(scenario, "A("):
			d.Fail(at, fmt.Sprintf("is the text %q, and images and speech are not generated", document.Clip(scenario)), expected)
		case !scenarioForms.MatchString(scenario):
			d.Fail(at, fmt.Sprintf("is the text %q, which is no traffic scenario", document.Clip(scenario)), expected)
		case scenario == "dataset" && b.Dataset == nil:
			d.Fail("benchmark.dataset_url", "is missing beside the scenario dataset", "a file, or the URL of one")
		}
	}
	if b.Dataset != nil && !slices.Contains(b.Scenarios, "dataset") {
		d.warn("benchmark.dataset_url", "gives the prompts; the scenarios' input lengths are left aside", "")
	}
}

func (d *decoder) distinctCells(b *Benchmark) {
	if !d.clean("benchmark") {
		return
	}
	seen := map[Cell]bool{}
	for _, c := range b.Cells() {
		if seen[c] {
			d.Fail("benchmark", fmt.Sprintf("has the cell %s twice", c), "every scenario and every concurrency once")
			return
		}
		seen[c] = true
	}
}

// sampling are the members of a request that are numbers; some files hold them
// as texts.
var sampling = []string{"temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty", "seed", "max_tokens"}

func (d *decoder) extra(b *Benchmark, o form.Options) {
	for name, value := range o {
		var text string
		if slices.Contains(sampling, name) && json.Unmarshal(value, &text) == nil {
			if f, err := strconv.ParseFloat(text, 64); err == nil && !math.IsInf(f, 0) && !math.IsNaN(f) {
				d.warn("benchmark.additional_params."+name, fmt.Sprintf("is the text %q and is sent as a number", text), "a number, without quotes")
				value = json.RawMessage(strconv.FormatFloat(f, 'f', -1, 64))
			} else {
				d.Fail("benchmark.additional_params."+name, fmt.Sprintf("is the text %q", document.Clip(text)), "a number")
			}
		}
		if b.Extra == nil {
			b.Extra = map[string]json.RawMessage{}
		}
		b.Extra[name] = value
	}
}

func (d *decoder) slo(s *Serving) {
	f := d.form.SLO
	if f == nil {
		return
	}
	slo := &SLO{Steepness: f.Steepness}
	term := func(at, metric string, t *form.SLOTerm) {
		switch {
		case t == nil || !d.clean(at) && t.Threshold == nil:
		case t.Threshold == nil:
			d.Fail(at+".threshold", "is missing", "the most that is promised, in seconds")
		case *t.Threshold <= 0 || *t.Threshold > 1e6:
			d.Fail(at+".threshold", fmt.Sprintf("is %v", *t.Threshold), "seconds, above 0")
		default:
			slo.Terms = append(slo.Terms, SLOTerm{Metric: metric, Threshold: float64(*t.Threshold), Weight: t.Weight, HardFail: t.HardFail, FailRatio: t.FailRatio})
		}
	}
	for _, m := range []struct {
		key, metric string
		slo         *form.SLOMetric
	}{{"latency", "e2e_latency", f.Latency}, {"ttft", "ttft", f.TTFT}, {"tpot", "tpot", f.TPOT}} {
		if m.slo == nil {
			continue
		}
		at := "slo." + m.key
		if m.slo.P50 == nil && m.slo.P90 == nil && m.slo.P99 == nil || m.slo.Threshold != nil {
			term(at, "mean_"+m.metric, m.slo.Mean())
		}
		term(at+".p50", "p50_"+m.metric, m.slo.P50)
		term(at+".p90", "p90_"+m.metric, m.slo.P90)
		term(at+".p99", "p99_"+m.metric, m.slo.P99)
	}
	if len(slo.Terms) > 0 {
		s.SLO = slo
	} else if d.clean("slo") {
		d.warn("slo", "promises nothing", "a threshold, as in ttft: {threshold: 1.0}")
	}
}
