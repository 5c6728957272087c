package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/fleetune/fleetune/worker/load"
	"github.com/fleetune/fleetune/worker/load/conversation"
	"github.com/fleetune/fleetune/worker/load/endpoint"
	"github.com/fleetune/fleetune/worker/load/metrics"
)

// dryRun shows the load, the workload's figures and the first requests.
func (o *options) dryRun(w *workload, out io.Writer) error {
	plan, err := o.plan(w, 0)
	if err != nil {
		return err
	}
	var b strings.Builder
	describe(&b, plan)
	list := w.list
	if w.trees() {
		list = nil
		branches, streams := 0, 0
		for _, t := range w.file.Trees {
			branches, streams = branches+len(t.Branches), streams+len(t.Streams)
			for i := range t.Streams {
				list = append(list, t.Streams[i].Conv)
			}
		}
		fmt.Fprintf(&b, "Trees: %d with %d conversations in %d branches\n", len(w.file.Trees), streams, branches)
	}
	if w.file != nil {
		fmt.Fprintf(&b, "Format: %s; %d entries left out\n", w.file.Format, w.file.Skipped)
		for _, n := range w.file.Notes {
			fmt.Fprintf(&b, "Note: %s.\n", n)
		}
		lengths(&b, list)
	} else {
		fmt.Fprintf(&b, "Prompts: synthetic, %s\n", o.Scenario)
	}
	if err := o.preview(&b, plan, list); err != nil {
		return err
	}
	if _, err := io.WriteString(out, b.String()); err != nil {
		return fmt.Errorf("writing the preview: %w", err)
	}
	return nil
}

func describe(b *strings.Builder, p *load.Plan) {
	s := p.Profile.Shape
	fmt.Fprintf(b, "Target: %s, endpoint %s, streaming %v\n", strings.Join(p.Target.URLs, ", "), p.Target.Options.Kind, p.Target.Options.Stream)
	if p.Agentic != nil {
		c := p.Agentic.Config
		fmt.Fprintf(b, "Load: agentic replay on %d lanes, starting at %g to %g of each trace\n", c.Lanes, c.StartMin, c.StartMax)
		fmt.Fprintf(b, "End: requests %d, trees %d, duration %v (0: none)\n", c.MaxRequests, c.MaxTrees, p.Profile.Duration)
		return
	}
	fmt.Fprintf(b, "Load: %s; concurrency %d, rate %g/s, users %d (0: none)\n", s.Kind, s.Concurrency, s.Rate, s.Users)
	fmt.Fprintf(b, "End: requests %d, sessions %d, duration %v (0: none); grace %v\n", p.Profile.Requests, p.Profile.Sessions, p.Profile.Duration, p.Profile.Grace)
	if p.Warmup != nil {
		fmt.Fprintf(b, "Warm-up: requests %d, duration %v\n", p.Warmup.Requests, p.Warmup.Duration)
	}
}

// lengths writes the figures of what would be sent.
func lengths(b *strings.Builder, list []*conversation.Conversation) {
	var in, out, turns metrics.Distribution
	for _, c := range list {
		turns.Add(float64(len(c.Turns)))
		for i := range c.Turns {
			in.Add(float64(c.Turns[i].InputTokens))
			out.Add(float64(c.Turns[i].MaxTokens))
		}
	}
	fmt.Fprintf(b, "Conversations: %d, requests: %d\n", turns.Count(), in.Count())
	for _, d := range []struct {
		name string
		dist *metrics.Distribution
	}{{"turns", &turns}, {"input tokens", &in}, {"output tokens", &out}} {
		if s := d.dist.Stats(); s != nil {
			fmt.Fprintf(b, "  %s: avg %.1f, min %.0f, p50 %.0f, p90 %.0f, p99 %.0f, max %.0f\n", d.name, s.Avg, s.Min, s.P50, s.P90, s.P99, s.Max)
		}
	}
}

// preview writes the first request of the first conversations.
func (o *options) preview(b *strings.Builder, p *load.Plan, list []*conversation.Conversation) error {
	for i, c := range list {
		if i == o.Preview {
			break
		}
		t := &c.Turns[0]
		prompt := endpoint.Prompt{Model: t.Model, Messages: conversation.NewHistory(c.Mode).Prompt(t), Documents: t.Documents,
			MaxTokens: t.MaxTokens, Tools: t.Tools, Extra: t.Extra, Raw: t.Raw}
		if prompt.Model == "" && len(p.Models) > 0 {
			prompt.Model = p.Models[0]
		}
		if p.MaxTokens > 0 {
			prompt.MaxTokens = p.MaxTokens
		}
		body, err := p.Target.Options.Body(&prompt)
		if err != nil {
			return fmt.Errorf("writing request %d: %w", i, err)
		}
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, body, "", "  "); err != nil {
			return fmt.Errorf("writing request %d: %w", i, err)
		}
		fmt.Fprintf(b, "\nRequest 1 of %s (%d bytes):\n%s\n", c.ID, len(body), pretty.String())
	}
	return nil
}
