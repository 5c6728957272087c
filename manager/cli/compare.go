package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/client"
	"github.com/fleetune/fleetune/shared/terminal"
	"github.com/spf13/cobra"
)

func (a *app) compareCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "compare A B [C…]", Short: "Put experiments side by side, with what is noise and what is not",
		Long: `Put experiments side by side. Each is a task, which stands for its best
experiment, or TASK#NUMBER or TASK#baseline. Everything is told against the
first.

A difference counts where the 95 % interval of the ratio of medians leaves 1 out
(bootstrap); with fewer than three samples on a side nothing is claimed.
Experiments that were measured on different work are shown beside each other,
but not compared.`,
		Args: upTo(-1, "two experiments or more"), ValidArgsFunction: a.completeTasks(true),
		RunE: a.calls(func(ctx context.Context, c *client.Client, args []string) error {
			if len(args) < 2 {
				return usage(errors.New("it takes two experiments or more: fleetune compare TASK#1 TASK#2"))
			}
			d, err := c.Compare(ctx, args...)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(d)
			}
			return a.printComparison(d, all)
		}),
	}
	cmd.Flags().BoolVar(&all, "all", false, "every metric and parameter, those that are alike too")
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) printComparison(d v1.Comparison, all bool) error {
	f := &fields{app: a}
	for i, s := range d.Sides {
		f.add(letter(i), "%s #%d (%s) %s%s%s", s.Task, s.Number, s.Purpose, s.Outcome, comma(s.Devices), comma(simulation(s.Simulated)))
	}
	f.add("note", "%s", d.Notice)
	for _, difference := range d.Differences {
		style, word := terminal.Yellow, "differs"
		if difference.Blocks {
			style, word = terminal.Red, "NOT ALIKE"
		}
		if difference.What == "command" {
			f.addStyled(style, word, "command: the tasks do not run the same")
			continue
		}
		var values []string
		for i, v := range difference.Values {
			if v == "" {
				v = "unknown"
			}
			values = append(values, letter(i)+" "+v)
		}
		f.addStyled(style, word, "%s: %s", difference.What, strings.Join(values, "; "))
	}
	if !d.Comparable {
		f.addStyled(terminal.Red, "so", "%s", incomparable(d))
	}
	if f.err != nil {
		return f.err
	}
	if err := a.printAligned(d, all); err != nil {
		return err
	}
	return a.printContrasts(d, all)
}

// incomparable says what is left where something blocks.
func incomparable(d v1.Comparison) string {
	for _, difference := range d.Differences {
		if difference.Blocks && difference.What != "cells" {
			return "figures stand beside each other and are not compared"
		}
	}
	return "figures over all cells are not compared; cells that both have are"
}

// letter names a side: A, B, C…
func letter(i int) string { return string(rune('A' + i)) }

func (a *app) printAligned(d v1.Comparison, all bool) error {
	t := terminal.Table{Columns: []terminal.Column{{Title: "PARAMETER", Least: 9}}}
	for i := range d.Sides {
		t.Columns = append(t.Columns, terminal.Column{Title: letter(i), Least: 6})
	}
	shown := 0
	for _, p := range d.Parameters {
		if p.Same && !all {
			continue
		}
		row := []string{p.Name}
		for _, v := range p.Values {
			text := "-"
			if v != nil {
				text = terminal.Value(v)
			}
			row = append(row, text)
		}
		t.Add(row...)
		shown++
	}
	if shown == 0 {
		return a.section("the parameters are the same")
	}
	if err := a.section("parameters%s", part(shown, len(d.Parameters), "differ")); err != nil {
		return err
	}
	return t.Print(a.Out)
}

func (a *app) printContrasts(d v1.Comparison, all bool) error {
	wanted := func(c v1.Contrast) bool {
		return all || len(d.Cells) == 0 || slices.Contains(headline(), c.Name) || c.Name == d.Metrics[0].Name
	}
	label, over := "", ""
	if slices.ContainsFunc(d.Sides, func(s v1.Side) bool { return s.Simulated != "" }) {
		label = ", with simulated figures"
	}
	if len(d.Cells) > 0 {
		over = " over all cells"
	}
	if err := a.section("metrics%s%s", over, label); err != nil {
		return err
	}
	if err := a.printContrast(d.Metrics, len(d.Sides), wanted); err != nil {
		return err
	}
	short := []string{"mean_ttft", "mean_tpot", "p90_e2e_latency", "mean_total_throughput", "goodput"}
	for _, c := range d.Cells {
		heading := fmt.Sprintf("%s × %d%s", c.Scenario, c.Concurrency, label)
		for i, reason := range c.Missing {
			if reason != "" {
				heading += fmt.Sprintf("; missing in %s: %s", letter(i), reason)
			}
		}
		if err := a.section("%s", heading); err != nil {
			return err
		}
		if err := a.printContrast(c.Metrics, len(d.Sides), func(m v1.Contrast) bool { return all || slices.Contains(short, m.Name) }); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) printContrast(list []v1.Contrast, sides int, wanted func(v1.Contrast) bool) error {
	t := terminal.Table{Columns: []terminal.Column{{Title: "METRIC", Least: 10}, {Title: "A", Right: true}}}
	for i := 1; i < sides; i++ {
		t.Columns = append(t.Columns, terminal.Column{Title: letter(i), Right: true}, terminal.Column{Title: "CHANGE", Right: true},
			terminal.Column{Title: letter(i) + " IS", Least: 8})
	}
	for _, c := range list {
		if !wanted(c) {
			continue
		}
		row := []string{c.Name}
		for i, v := range c.Values {
			text := "-"
			if v.Median != nil {
				text = terminal.Quantity(*v.Median, c.Unit)
			}
			row = append(row, text)
			if i > 0 {
				moved := ""
				if v.Change != nil {
					moved = fmt.Sprintf("%+.1f %%", 100**v.Change)
				}
				row = append(row, moved, verdictText(v))
			}
		}
		t.Add(row...)
	}
	return t.Print(a.Out)
}

// verdictText says what is known of a difference.
func verdictText(v v1.Compared) string {
	switch v.Verdict {
	case "better", "worse", "more", "less":
		return fmt.Sprintf("%s (%.2f×, %.2f–%.2f)", v.Verdict, *v.Ratio, *v.Low, *v.High)
	case "within_noise":
		if v.Low == nil {
			return "the same"
		}
		return fmt.Sprintf("within noise (%.2f–%.2f)", *v.Low, *v.High)
	case "unproven":
		return fmt.Sprintf("unproven (samples: %d)", v.Count)
	case "incomparable":
		return "not compared"
	}
	return v.Verdict
}
