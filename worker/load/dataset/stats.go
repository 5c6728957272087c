package dataset

import (
	"fmt"
	"io"
	"strings"

	"github.com/fleetune/fleetune/worker/load/input"
	"github.com/fleetune/fleetune/worker/load/metrics"
)

// Stats tells what a dataset holds and what of it is sent.
type Stats struct {
	Source string `json:"source"`
	// SHA256 of the file as it was fetched; empty for local ones.
	SHA256 string `json:"sha256,omitempty"`
	Format string `json:"format"`
	// Counter measured the lengths.
	Counter string            `json:"tokens_counted_by"`
	Fields  map[string]string `json:"fields,omitempty"`
	// Rows that were read, and why some are not sent.
	Rows       int `json:"rows"`
	Empty      int `json:"empty,omitempty"`
	TooLong    int `json:"too_long,omitempty"`
	Duplicates int `json:"duplicates,omitempty"`
	NotSampled int `json:"not_sampled,omitempty"`
	// Skipped entries by the rules of a trace format.
	Skipped int `json:"skipped,omitempty"`

	Conversations int            `json:"conversations"`
	Requests      int            `json:"requests"`
	Trees         int            `json:"trees,omitempty"`
	Turns         *metrics.Stats `json:"turns,omitempty"`
	Input         *metrics.Stats `json:"input_tokens,omitempty"`
	// Output is over the requests that say how long their reply is to be.
	Output    *metrics.Stats `json:"output_tokens,omitempty"`
	OpenEnded int            `json:"requests_without_output_length,omitempty"`
	Strata    map[string]int `json:"strata,omitempty"`
}

// measure adds the figures of what is sent.
func (s *Stats) measure(w *input.Workload) {
	var turns, in, out metrics.Distribution
	for _, c := range w.All() {
		turns.Add(float64(len(c.Turns)))
		for i := range c.Turns {
			t := &c.Turns[i]
			in.Add(float64(t.InputTokens))
			if t.MaxTokens > 0 {
				out.Add(float64(t.MaxTokens))
			}
		}
	}
	s.Trees, s.Conversations, s.Requests = len(w.Trees), turns.Count(), in.Count()
	s.Turns, s.Input, s.Output = turns.Stats(), in.Stats(), out.Stats()
	s.OpenEnded = in.Count() - out.Count()
}

// Write writes the figures for people.
func (s *Stats) Write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Dataset: %s\n", s.Source)
	if s.SHA256 != "" {
		fmt.Fprintf(&b, "SHA-256: %s\n", s.SHA256)
	}
	fmt.Fprintf(&b, "Format: %s\n", s.Format)
	if len(s.Fields) > 0 {
		var pairs []string
		for _, u := range usual {
			if f := s.Fields[u.what]; f != "" {
				pairs = append(pairs, u.what+"="+f)
			}
		}
		fmt.Fprintf(&b, "Fields: %s\n", strings.Join(pairs, ", "))
	}
	fmt.Fprintf(&b, "Rows: %d", s.Rows)
	for _, left := range []struct {
		n   int
		why string
	}{
		{s.Empty, "empty"}, {s.TooLong, "too long"}, {s.Duplicates, "duplicates"},
		{s.NotSampled, "not in the sample"}, {s.Skipped, "left out by the format's rules"},
	} {
		if left.n > 0 {
			fmt.Fprintf(&b, "; %d %s", left.n, left.why)
		}
	}
	fmt.Fprintf(&b, "\nConversations: %d, requests: %d", s.Conversations, s.Requests)
	if s.Trees > 0 {
		fmt.Fprintf(&b, ", trees: %d", s.Trees)
	}
	fmt.Fprintf(&b, "\nTokens are counted by: %s\n", s.Counter)
	for _, d := range []struct {
		name  string
		stats *metrics.Stats
	}{{"turns", s.Turns}, {"input tokens", s.Input}, {"output tokens", s.Output}} {
		if st := d.stats; st != nil {
			fmt.Fprintf(&b, "  %-13s avg %.1f, min %.0f, p50 %.0f, p90 %.0f, p99 %.0f, max %.0f, sum %.0f\n", d.name, st.Avg, st.Min, st.P50, st.P90, st.P99, st.Max, st.Sum)
		}
	}
	if s.OpenEnded > 0 {
		fmt.Fprintf(&b, "  %d requests leave the length of the reply to the server\n", s.OpenEnded)
	}
	if len(s.Strata) > 0 {
		fmt.Fprintf(&b, "  strata: %s\n", counts(s.Strata))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
