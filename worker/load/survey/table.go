package survey

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/fleetune/fleetune/worker/load/metrics"
)

// Write writes the survey for people.
func (s *Survey) Write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Format: %s\nConversations: %d, requests: %d\n\n", s.Format, s.Conversations, s.Requests)
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tavg\tmin\tp50\tp90\tp99\tmax\tsum\t")
	row := func(name string, x *metrics.Stats) {
		if x != nil {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", name, short(x.Avg), short(x.Min), short(x.P50), short(x.P90), short(x.P99), short(x.Max), short(x.Sum))
		}
	}
	row("input tokens", s.Input)
	row("output tokens", s.Output)
	row("turns", s.Turns)
	row("delay before a turn, s", s.Delay)
	if a := s.Arrivals; a != nil {
		row("gap between requests, s", a.Gap)
	}
	if a := s.Agents; a != nil {
		row("span of a trace, s", a.Span)
		row("gap between its requests, s", a.Gap)
		row("most of them in flight", a.InFlight)
	}
	_ = t.Flush() // into memory
	b.WriteString("\n")
	if s.OpenEnded > 0 {
		fmt.Fprintf(&b, "%d requests leave the length of the reply to the server.\n", s.OpenEnded)
	}
	if a := s.Arrivals; a != nil {
		fmt.Fprintf(&b, "Arrivals: %s requests a second over %s s, %d in the busiest second; gaps vary by %.2f of their mean (Poisson arrivals: 1).\n",
			short(a.Rate), short(a.Span), a.Peak, a.Variation)
	}
	if p := s.Prefix; p != nil {
		fmt.Fprintf(&b, "Prefixes: an ideal cache would hold %.1f %% of the prompts' %d blocks.\n", 100*p.Share, p.Blocks)
	}
	if a := s.Agents; a != nil {
		fmt.Fprintf(&b, "Agents: %d traces start %d others, %d of them in the background; depth %d.\n", a.Trees, a.Children, a.Background, a.Depth)
	}
	for _, n := range s.Notes {
		fmt.Fprintf(&b, "Note: %s.\n", n)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("writing the survey: %w", err)
	}
	return nil
}

func short(x float64) string { return fmt.Sprintf("%.4g", x) }
