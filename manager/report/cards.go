package report

import (
	"fmt"
	"strings"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/shared/chart"
	"github.com/fleetune/fleetune/shared/terminal"
)

// A Card is a figure that a reader looks for first.
type Card struct {
	Title  string `json:"title"`
	Value  string `json:"value"`
	Unit   string `json:"unit,omitempty"`
	Detail string `json:"detail,omitempty"`
	// Class is good, bad or empty.
	Class string `json:"class,omitempty"`
}

func cards(in Input) []Card {
	t := in.Task
	var list []Card
	add := func(c Card, ok bool) {
		if ok {
			list = append(list, c)
		}
	}
	if t.Best != nil {
		list = append(list, bestCards(t)...)
		add(speedup(t))
		add(promised(serving(in)))
		add(baselineCard(t))
	}
	if n := in.Insight.FrontSize; n > 0 && len(t.Objectives) > 1 {
		c := Card{Title: "On the front", Value: fmt.Sprint(n), Unit: "experiments"}
		if h := in.Insight.Hypervolume; h != nil {
			c.Detail = "hypervolume " + chart.Number(*h)
		}
		add(c, true)
	}
	n := t.Experiments
	var ended []string
	for _, o := range []struct {
		count int
		name  string
	}{{n.Success, "succeeded"}, {n.Failed, "failed"}, {n.Cancelled, "cancelled"}} {
		if o.count > 0 {
			ended = append(ended, fmt.Sprintf("%d %s", o.count, o.name))
		}
	}
	add(Card{Title: "Experiments", Value: fmt.Sprint(n.Finished()), Unit: fmt.Sprintf("of %d", n.Planned), Detail: strings.Join(ended, ", ")}, true)
	if t.StartedAt != nil && t.FinishedAt != nil {
		add(Card{Title: "Took", Value: terminal.Duration(t.FinishedAt.Sub(*t.StartedAt)), Detail: t.Strategy}, true)
	}
	return list
}

// bestCards are what the best reached, by every objective.
func bestCards(t v1.Task) []Card {
	var list []Card
	for i, name := range objectives(t) {
		m, ok := t.Best.Metrics[name]
		c := Card{Title: fmt.Sprintf("Best, experiment %d", t.Best.Number), Detail: title(name)}
		switch {
		case ok:
			c.Value, c.Unit = split(terminal.Quantity(m.Median, m.Unit))
		case i == 0:
			c.Value = terminal.Number(t.Best.Score)
		default:
			continue
		}
		list = append(list, c)
	}
	return list
}

// objectives names the metrics of the objectives, the first of them at least.
func objectives(t v1.Task) []string {
	if len(t.Objectives) == 0 {
		return []string{metricName(t)}
	}
	var names []string
	for _, o := range t.Objectives {
		names = append(names, o.Metric)
	}
	return names
}

// split parts a quantity from its unit.
func split(quantity string) (value, unit string) {
	value, unit, _ = strings.Cut(quantity, " ")
	return value, unit
}

// speedup says how the best stands beside the baseline, and how sure that is.
func speedup(t v1.Task) (Card, bool) {
	s := t.Best.Speedup
	c := Card{Title: "Against the baseline"}
	switch {
	case t.Baseline != nil && t.Baseline.Number == t.Best.Number:
		c.Value, c.Detail = "1×", "nothing beats the baseline"
		return c, true
	case s == nil:
		return c, false
	}
	c.Value = fmt.Sprintf("%.2f×", s.Ratio)
	switch {
	case s.Low == nil || s.High == nil:
		c.Detail = "not confirmed"
		return c, true
	case !s.Significant:
		c.Detail = "no significant difference"
	default:
		c.Class, c.Detail = "good", "confirmed"
	}
	c.Unit = fmt.Sprintf("%.2f–%.2f", *s.Low, *s.High)
	if s.Confidence != nil {
		c.Detail += fmt.Sprintf(", interval at %.4g %%", 100**s.Confidence)
	}
	return c, true
}

// promised sums up how the best stands with the SLO: with the term that is
// nearest to its bound, or furthest beyond it.
func promised(s *v1.Serving) (Card, bool) {
	if s == nil {
		return Card{}, false
	}
	kept, all := 0, 0
	var tightest *v1.Promise
	where := 0
	for _, c := range s.Cells {
		for _, p := range c.Promises {
			all++
			if p.Margin <= 0 {
				kept++
			}
			if tightest == nil || p.Margin > tightest.Margin {
				tightest, where = &p, c.Concurrency
			}
		}
	}
	if all == 0 {
		return Card{}, false
	}
	c := Card{Title: "SLO", Value: "kept", Unit: fmt.Sprintf("%d of %d terms", kept, all), Class: "good"}
	if kept < all {
		c.Value, c.Class = "missed", "bad"
	}
	c.Detail = fmt.Sprintf("tightest: %s × %d, %+.1f %%", tightest.Metric, where, 100*tightest.Margin)
	return c, true
}

func baselineCard(t v1.Task) (Card, bool) {
	b := t.Baseline
	if b == nil || b.Number == t.Best.Number {
		return Card{}, false
	}
	c := Card{Title: fmt.Sprintf("Baseline, experiment %d", b.Number), Detail: title(metricName(t))}
	switch m, ok := b.Metrics[metricName(t)]; {
	case ok:
		c.Value, c.Unit = split(terminal.Quantity(m.Median, m.Unit))
	case b.Score != nil:
		c.Value = terminal.Number(*b.Score)
	default:
		c.Value, c.Detail, c.Class = "–", "could not be measured", "bad"
	}
	return c, true
}
