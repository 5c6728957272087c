package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/catalog"
	"github.com/fleetune/fleetune/shared/terminal"
	"github.com/spf13/cobra"
)

// enginesCommand looks up what engines take; it asks no manager.
func (a *app) enginesCommand() *cobra.Command {
	var version string
	var all bool
	cmd := &cobra.Command{Use: "engines [ENGINE [ARGUMENT]]", Short: "Look up the engines that tasks can tune, and their arguments",
		Long: `Look up the engines that tasks can tune, and their arguments.

With an engine: the arguments that are commonly tuned, or --all. With an
argument, or a part of its name: what it takes. Any of these can be a parameter
of a task.`,
		Example: `  fleetune engines
  fleetune engines vllm --version 0.10.0
  fleetune engines sglang mem-fraction-static
  fleetune engines sglang cuda-graph`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return upTo(2, "an engine and maybe an argument")(cmd, args)
		}, ValidArgsFunction: completeEngines,
		RunE: func(_ *cobra.Command, args []string) error {
			var err error
			switch len(args) {
			case 0:
				err = a.listEngines()
			case 1:
				err = a.showEngine(args[0], version, all)
			default:
				err = a.showArguments(args[0], version, args[1])
			}
			var unknown *catalog.Unknown
			if errors.As(err, &unknown) {
				return &exitError{code: ExitUsage, err: err, next: unknown.Next}
			}
			return err
		}}
	cmd.Flags().StringVar(&version, "version", "", "of the engine; the newest that is known without it")
	cmd.Flags().BoolVar(&all, "all", false, "every argument, not only what is commonly tuned")
	a.jsonFlag(cmd)
	return cmd
}

func completeEngines(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	switch len(args) {
	case 0:
		list, err := catalog.Engines()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		for _, e := range list {
			names = append(names, e.Name)
		}
	case 1:
		list, err := catalog.Arguments(args[0], "", catalog.Filter{})
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		for _, argument := range list.Items {
			names = append(names, argument.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) listEngines() error {
	list, err := catalog.Engines()
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(list)
	}
	t := terminal.Table{Columns: []terminal.Column{{Title: "ENGINE", Least: 12}, {Title: "VERSIONS"}, {Title: "ARGUMENTS", Right: true},
		{Title: "TUNED", Right: true}, {Title: "SIMULATED"}, {Title: "IMAGE", Least: 10}}}
	for _, e := range list {
		simulated := ""
		if e.Simulated {
			simulated = "yes"
		}
		t.Add(e.Name, between(e.Versions[0], e.Versions[len(e.Versions)-1]), fmt.Sprint(e.Total), fmt.Sprint(e.Tuned), simulated, e.Image)
	}
	return t.Print(a.Out)
}

// between names the first and the last of several versions.
func between(first, last string) string {
	if first == last {
		return first
	}
	return first + " to " + last
}

// engineDetail is an engine with its arguments, and its JSON.
type engineDetail struct {
	v1.Engine
	Arguments []v1.Argument `json:"arguments"`
}

func (a *app) showEngine(name, version string, all bool) error {
	e, err := catalog.Engine(name, version)
	if err != nil {
		return err
	}
	list, err := catalog.Arguments(name, version, catalog.Filter{Tuned: !all})
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(engineDetail{e, list.Items})
	}
	f := &fields{app: a}
	f.add("engine", "%s %s", e.Name, e.Version)
	f.add("versions", "%s", strings.Join(e.Versions, ", "))
	f.add("image", "%s", e.Image)
	f.add("read from", "%s", e.Source)
	f.add("precision", "presets %s", strings.Join(e.QuantPresets, ", "))
	f.add("parallelism", "presets %s", strings.Join(e.ParallelPresets, ", "))
	if f.err != nil {
		return f.err
	}
	heading := fmt.Sprintf("what is commonly tuned, %d of %d arguments; --all lists them", e.Tuned, e.Total)
	if all {
		heading = fmt.Sprintf("all %d arguments; * is commonly tuned", e.Total)
	}
	if err := a.section("%s", heading); err != nil {
		return err
	}
	return a.printArguments(list.Items, all)
}

func (a *app) showArguments(name, version, wanted string) error {
	exact, err := catalog.Argument(name, version, wanted)
	if err == nil {
		if a.json {
			return a.printJSON([]v1.Argument{exact})
		}
		return a.printArgument(exact)
	}
	list, searchErr := catalog.Arguments(name, version, catalog.Filter{Search: wanted})
	if searchErr != nil || len(list.Items) == 0 {
		return err
	}
	if a.json {
		return a.printJSON(list.Items)
	}
	a.complain(err.Error())
	return a.printArguments(list.Items, true)
}

func (a *app) printArguments(list []v1.Argument, mark bool) error {
	t := terminal.Table{Columns: []terminal.Column{{Title: "ARGUMENT", Least: 16}, {Title: "TYPE"}, {Title: "DEFAULT", Least: 7},
		{Title: "ALSO", Least: 4}, {Title: "VALUES", Least: 12}}}
	for _, argument := range list {
		name := argument.Name
		if mark && argument.Tuned {
			name += " *"
		}
		t.Add(name, argument.Type, argument.Default, strings.Join(argument.Aliases, ", "), valuesOf(argument))
	}
	return t.Print(a.Out)
}

func (a *app) printArgument(argument v1.Argument) error {
	f := &fields{app: a}
	if argument.File {
		f.add("setting", "%s, in the engine's file", argument.Name)
	} else {
		f.add("argument", "--%s", argument.Name)
	}
	f.add("also", "%s", strings.Join(argument.Aliases, ", "))
	f.add("type", "%s", argument.Type)
	f.add("default", "%s", argument.Default)
	f.add("values", "%s", valuesOf(argument))
	f.add("versions", "%s", between(argument.First, argument.Last))
	if argument.Tuned {
		f.add("tuned", "commonly")
	}
	if argument.Reserved {
		f.add("note", "Fleetune sets it: it is no parameter of a task")
	}
	f.addStyled(terminal.Yellow, "deprecated", "%s", argument.Deprecated)
	return f.err
}

// valuesOf says in words what an argument takes.
func valuesOf(argument v1.Argument) string {
	switch {
	case len(argument.Choices) > 0 && argument.Open:
		return strings.Join(argument.Choices, ", ") + ", …"
	case len(argument.Choices) > 0:
		return strings.Join(argument.Choices, ", ")
	case argument.Low != nil && argument.High != nil:
		return fmt.Sprintf("%s to %s", terminal.Number(*argument.Low), terminal.Number(*argument.High))
	case argument.Low != nil:
		return "from " + terminal.Number(*argument.Low)
	case argument.High != nil:
		return "up to " + terminal.Number(*argument.High)
	case argument.Type == "switch" || argument.Type == "toggle":
		return "true, false"
	}
	return ""
}
