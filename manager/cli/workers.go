package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/client"
	"github.com/fleetune/fleetune/shared/terminal"
	"github.com/spf13/cobra"
)

func (a *app) workersCommand() *cobra.Command {
	var devices, engines bool
	cmd := &cobra.Command{Use: "workers", Short: "List workers and what they run", Args: none,
		RunE: a.calls(func(ctx context.Context, c *client.Client, _ []string) error {
			list, err := c.Workers(ctx)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(list)
			}
			switch {
			case devices:
				return a.printDevices(list)
			case engines:
				return a.printEngines(list)
			}
			return a.printWorkers(list)
		})}
	cmd.Flags().BoolVar(&devices, "devices", false, "list their devices")
	cmd.Flags().BoolVar(&engines, "engines", false, "list their launchers, engines and models")
	cmd.MarkFlagsMutuallyExclusive("devices", "engines")
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) printWorkers(list []v1.Worker) error {
	if len(list) == 0 {
		return a.printf("no worker has joined; fleetune up runs one on this machine, fleetune-worker --join on another\n")
	}
	t := terminal.Table{Columns: []terminal.Column{{Title: "NAME", Least: 8}, {Title: "STATUS", Styled: true}, {Title: "POOL", Least: 4},
		{Title: "DEVICES", Right: true}, {Title: "MODEL", Least: 5}, {Title: "RUNNING", Least: 7}, {Title: "SEEN"}, {Title: "TROUBLE", Least: 7}}}
	for _, w := range list {
		busy := 0
		models := map[string]int{}
		for _, d := range w.Devices {
			models[d.Model]++
			if d.Busy {
				busy++
			}
		}
		var kinds, running []string
		for _, m := range sortedNames(models) {
			kinds = append(kinds, fmt.Sprintf("%d × %s", models[m], m))
		}
		for _, h := range w.Running {
			running = append(running, fmt.Sprintf("%s #%d", h.Task, h.Number))
		}
		trouble := w.Trouble
		if trouble == "" && w.Drain {
			trouble = "asked to leave"
		}
		t.Add(w.Name, w.Status, w.Pool, fmt.Sprintf("%d/%d", busy, len(w.Devices)), strings.Join(kinds, ", "),
			strings.Join(running, ", "), terminal.Ago(&w.LastBeatAt, a.Now()), trouble)
	}
	return t.Print(a.Out)
}

func (a *app) printDevices(list []v1.Worker) error {
	t := terminal.Table{Columns: []terminal.Column{{Title: "WORKER", Least: 8}, {Title: "DEVICE", Least: 8}, {Title: "VENDOR"},
		{Title: "MODEL", Least: 10}, {Title: "MEMORY", Right: true}, {Title: "HEALTH", Styled: true}, {Title: "USE"}, {Title: "REASON", Least: 8}}}
	for _, w := range list {
		for _, d := range w.Devices {
			use, memory := "free", ""
			if d.Busy {
				use = "busy"
			}
			if d.Memory > 0 {
				memory = fmt.Sprintf("%.1f GiB", float64(d.Memory)/(1<<30))
			}
			t.Add(w.Name, d.ID, d.Vendor, d.Model, memory, string(d.Health), use, d.Reason)
		}
	}
	return t.Print(a.Out)
}

// printEngines tells what serving experiments find on each worker.
func (a *app) printEngines(list []v1.Worker) error {
	t := terminal.Table{Columns: []terminal.Column{{Title: "WORKER", Least: 8}, {Title: "LAUNCHERS", Least: 9}, {Title: "ENGINES", Least: 9}, {Title: "MODELS", Least: 10}}}
	for _, w := range list {
		var engines []string
		for _, name := range sortedNames(w.Engines) {
			engines = append(engines, strings.TrimSpace(name+" "+w.Engines[name]))
		}
		t.Add(w.Name, strings.Join(w.Launchers, ", "), strings.Join(engines, ", "), strings.Join(w.Models, ", "))
	}
	return t.Print(a.Out)
}

func (a *app) drainCommand() *cobra.Command {
	var undo bool
	cmd := &cobra.Command{Use: "drain WORKER", Short: "Ask a worker to finish what it runs and leave",
		Args: one("a worker's name"), ValidArgsFunction: a.completeWorkers,
		RunE: a.calls(func(ctx context.Context, c *client.Client, args []string) error {
			w, err := c.Drain(ctx, args[0], !undo)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(w)
			}
			return a.printf("%s\n", terminal.Clean(drained(w, undo)))
		})}
	cmd.Flags().BoolVar(&undo, "undo", false, "take the wish back")
	a.jsonFlag(cmd)
	return cmd
}

// drained says what became of the wish that a worker leave, or of taking it
// back. One that is not there any more cannot hear either.
func drained(w v1.Worker, undo bool) string {
	switch {
	case w.Status == "left" && undo:
		return w.Name + " has left already; when it is started again, it stays"
	case w.Status == "left":
		return w.Name + " has left already"
	case w.Status == "lost" && undo:
		return w.Name + " is lost; if it comes back, it may stay"
	case w.Status == "lost":
		return w.Name + " is lost; if it comes back, it is asked to leave"
	case undo:
		return w.Name + " may stay"
	}
	return fmt.Sprintf("%s was asked to finish what it runs (%d) and leave", w.Name, len(w.Running))
}

func (a *app) whyCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "why TASK [NUMBER]", Short: "Say what an experiment waits for, worker by worker",
		Args: upTo(2, "a task and maybe an experiment's number"), ValidArgsFunction: a.completeTasks(false),
		RunE: a.calls(func(ctx context.Context, c *client.Client, args []string) error {
			n := 0
			if len(args) == 2 {
				var err error
				if n, err = number(args[1]); err != nil {
					return err
				}
			}
			w, err := c.Why(ctx, args[0], n)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(w)
			}
			return a.printWhy(w)
		})}
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) printWhy(w v1.Why) error {
	subject := w.Task
	if w.Number > 0 {
		subject += fmt.Sprintf(" #%d", w.Number)
	}
	if err := a.printf("%s (%s): %s\n", terminal.Clean(subject), w.Status, terminal.Clean(w.Summary)); err != nil {
		return err
	}
	for _, c := range w.Causes {
		if c.Reason == w.Summary {
			continue
		}
		if err := a.printf("  %s: %s\n", c.Kind, terminal.Clean(c.Reason)); err != nil {
			return err
		}
	}
	if len(w.Workers) == 0 {
		return nil
	}
	t := terminal.Table{Columns: []terminal.Column{{Title: "WORKER", Least: 8}, {Title: "FAILS"}, {Title: "REASON", Least: 20}}}
	for _, o := range w.Workers {
		t.Add(o.Worker, o.Requirement, o.Reason)
	}
	return t.Print(a.Out)
}
