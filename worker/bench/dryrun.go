package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/fleetune/fleetune/worker/load"
	"github.com/fleetune/fleetune/worker/load/conversation"
	"github.com/fleetune/fleetune/worker/load/dataset"
	"github.com/fleetune/fleetune/worker/load/play"
)

// dryRun shows the load, the workload's figures and the first requests.
func (o *options) dryRun(w *workload, out io.Writer) error {
	plan, err := o.plan(w, 0)
	if err != nil {
		return err
	}
	requests, err := o.first(plan, w.conversations())
	if err != nil {
		return err
	}
	if o.JSON == "-" {
		return writeJSON(out, rehearsal{o, w.stats, w.counter.Name(), requests})
	}
	var b strings.Builder
	describe(&b, plan)
	if w.file != nil {
		if err := o.figures(&b, w); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(&b, "Prompts: synthetic, %s\nTokens are counted by: %s\n", w.prompts, w.counter.Name())
	}
	if err := preview(&b, requests); err != nil {
		return err
	}
	if _, err := io.WriteString(out, b.String()); err != nil {
		return fmt.Errorf("writing the preview: %w", err)
	}
	return nil
}

// rehearsal is a dry run as JSON.
type rehearsal struct {
	Config   *options       `json:"input_config"`
	Input    *dataset.Stats `json:"input,omitempty"`
	TokensBy string         `json:"tokens_counted_by"`
	Requests []firstRequest `json:"requests"`
}

// firstRequest is the first request of a conversation.
type firstRequest struct {
	Conversation string          `json:"conversation_id"`
	Body         json.RawMessage `json:"body"`
}

func writeJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("writing JSON: %w", err)
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
		fmt.Fprintf(b, "Longest idle time: of a trace %v, of all together %v; a lane's first request within %v (0: as recorded)\n", c.TreeIdleCap, c.IdleCap, c.LaneCap)
		return
	}
	fmt.Fprintf(b, "Load: %s; concurrency %d, rate %g/s, users %d (0: none)\n", s.Kind, s.Concurrency, s.Rate, s.Users)
	fmt.Fprintf(b, "End: requests %d, sessions %d, duration %v (0: none); grace %s\n", p.Profile.Requests, p.Profile.Sessions, p.Profile.Duration, grace(p.Profile.Grace))
	if p.Warmup != nil {
		fmt.Fprintf(b, "Warm-up: %s; requests %d, sessions %d, duration %v; profiling begins %s\n", p.Warmup.Shape.Kind, p.Warmup.Requests, p.Warmup.Sessions, p.Warmup.Duration,
			map[bool]string{true: "when all is sent", false: "after its last reply"}[p.Seamless])
	}
}

func grace(d time.Duration) string {
	if d < 0 {
		return "until all have ended"
	}
	return d.String()
}

// first are the first requests of the first conversations.
func (o *options) first(p *load.Plan, list []*conversation.Conversation) ([]firstRequest, error) {
	out := []firstRequest{}
	writer := bodies(p)
	for _, c := range list[:min(max(o.Preview, 0), len(list))] {
		body, err := writer.Bodies(c, 1)
		if err != nil {
			return nil, err
		}
		out = append(out, firstRequest{c.ID, body[0]})
	}
	return out, nil
}

// bodies is what writes the bodies of a plan's requests.
func bodies(p *load.Plan) *play.Config {
	return &play.Config{Options: p.Target.Options, Models: p.Models, MaxTokens: p.MaxTokens}
}

// preview writes the bodies of requests.
func preview(b *strings.Builder, requests []firstRequest) error {
	for i, r := range requests {
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, r.Body, "", "  "); err != nil {
			return fmt.Errorf("writing request %d: %w", i, err)
		}
		fmt.Fprintf(b, "\nRequest 1 of %s (%d bytes):\n%s\n", r.Conversation, len(r.Body), beginning(pretty.String()))
	}
	return nil
}

// beginning cuts what nobody reads to its end.
func beginning(text string) string {
	const shown = 4000
	if len(text) <= shown {
		return text
	}
	return strings.ToValidUTF8(text[:shown], "") + fmt.Sprintf("… and %d bytes more", len(text)-shown)
}
