package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/client"
	"github.com/fleetune/fleetune/manager/preset"
	"github.com/fleetune/fleetune/shared/terminal"
	"github.com/spf13/cobra"
)

func (a *app) presetsCommand() *cobra.Command {
	var category, runtime string
	cmd := &cobra.Command{Use: "presets", Short: "List named sets of engine parameters, and change them",
		Long: `List named sets of engine parameters that tasks start from. Those that come with
Fleetune stay as they are: export one, change it, and import it under another
name.

"show" and "merge" print parameters as a task file writes them.`,
		Args: none,
		RunE: a.calls(func(ctx context.Context, c *client.Client, _ []string) error {
			list, err := c.Presets(ctx, category, runtime)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(list)
			}
			return a.printPresets(list)
		})}
	cmd.Flags().StringVar(&category, "category", "", "only those of a category")
	cmd.Flags().StringVar(&runtime, "runtime", "", "only those for an engine")
	a.jsonFlag(cmd)
	cmd.AddCommand(a.presetShowCommand(), a.presetMergeCommand(), a.presetExportCommand(), a.presetImportCommand(),
		a.presetReplaceCommand(), a.presetDeleteCommand())
	return cmd
}

func (a *app) printPresets(list []v1.Preset) error {
	t := terminal.Table{Columns: []terminal.Column{{Title: "NAME", Least: 12}, {Title: "RUNTIME"}, {Title: "CATEGORY"},
		{Title: "PARAMETERS", Right: true}, {Title: "GRID", Right: true}, {Title: "OF", Least: 4}, {Title: "DESCRIPTION", Least: 12}}}
	for _, p := range list {
		of := "you"
		if p.System {
			of = "Fleetune"
		}
		t.Add(p.Slug, p.Runtime, p.Category, fmt.Sprint(len(p.Parameters)), terminal.Count(p.Combinations), of, p.Description)
	}
	return t.Print(a.Out)
}

func (a *app) presetShowCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "show PRESET", Short: "Print a preset's parameters for a task file", Args: one("a preset's name"),
		ValidArgsFunction: a.completePresets,
		RunE: a.calls(func(ctx context.Context, c *client.Client, args []string) error {
			p, err := c.Preset(ctx, args[0])
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(p)
			}
			return a.printParameters(p.Parameters)
		})}
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) presetMergeCommand() *cobra.Command {
	strategy := string(preset.Union)
	cmd := &cobra.Command{Use: "merge PRESET…", Short: "Print what several presets make together", Args: upTo(-1, "names of presets"),
		ValidArgsFunction: a.completePresets,
		RunE: a.calls(func(ctx context.Context, c *client.Client, args []string) error {
			m, err := c.MergePresets(ctx, v1.PresetMerge{Presets: args, Strategy: strategy})
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(m)
			}
			for _, conflict := range m.Conflicts {
				a.complain(conflictLine(conflict))
			}
			return a.printParameters(m.Parameters)
		})}
	choiceFlag(cmd, &strategy, "strategy", "", string(preset.Union), string(preset.Intersection), string(preset.LastWins))
	a.jsonFlag(cmd)
	return cmd
}

func conflictLine(c preset.Conflict) string {
	if c.OverriddenBy == "" {
		return fmt.Sprintf("%s is left out: %s", c.Parameter, c.Reason)
	}
	return fmt.Sprintf("%s is taken from %s: %s instead of %s", c.Parameter, c.OverriddenBy, valuesLine(c.NewValues), valuesLine(c.PreviousValues))
}

// printParameters prints the parameters section of a task file.
func (a *app) printParameters(parameters v1.PresetParameters) error {
	if err := a.printf("parameters:\n"); err != nil {
		return err
	}
	for _, p := range parameters {
		if err := a.printf("  %s: %s\n", p.Name, valuesLine(p.Values)); err != nil {
			return err
		}
	}
	return nil
}

// valuesLine writes values as JSON, which YAML reads too.
func valuesLine(values []any) string {
	words := make([]string, len(values))
	for i, v := range values {
		data, err := json.Marshal(v)
		if err != nil {
			data = fmt.Appendf(nil, "%q", fmt.Sprint(v))
		}
		words[i] = string(data)
	}
	return "[" + strings.Join(words, ", ") + "]"
}

func (a *app) presetExportCommand() *cobra.Command {
	return &cobra.Command{Use: "export PRESET", Short: "Print a preset as a file that can be imported", Args: one("a preset's name"),
		ValidArgsFunction: a.completePresets,
		RunE: a.calls(func(ctx context.Context, c *client.Client, args []string) error {
			file, err := c.ExportPreset(ctx, args[0])
			if err != nil {
				return err
			}
			return a.printJSON(file)
		})}
}

// maxPresetFile bounds what is read of a preset file, in bytes.
const maxPresetFile = 8 << 20

func (a *app) readPresets(path string) ([]byte, []preset.Preset, error) {
	in := a.In
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, nil, usage(fmt.Errorf("reading the presets: %w", err))
		}
		defer func() { _ = file.Close() }()
		in = file
	}
	data, err := io.ReadAll(io.LimitReader(in, maxPresetFile))
	if err != nil {
		return nil, nil, usage(fmt.Errorf("reading the presets: %w", err))
	}
	list, err := preset.Import(data)
	if err != nil {
		return nil, nil, usage(fmt.Errorf("%s: %w", path, err))
	}
	return data, list, nil
}

func (a *app) presetImportCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "import FILE", Short: `Add the presets of a file, all or none; "-" reads standard input`, Args: one("a file"),
		RunE: a.calls(func(ctx context.Context, c *client.Client, args []string) error {
			data, _, err := a.readPresets(args[0])
			if err != nil {
				return err
			}
			list, err := c.ImportPresets(ctx, data)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(list)
			}
			for _, p := range list {
				if err := a.printf("%s\n", p.Slug); err != nil {
					return err
				}
			}
			return nil
		})}
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) presetReplaceCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "replace PRESET FILE", Short: "Change a preset to what a file says",
		Args: takes(2, 2, "a preset and a file"), ValidArgsFunction: a.completePresets,
		RunE: a.calls(func(ctx context.Context, c *client.Client, args []string) error {
			_, list, err := a.readPresets(args[1])
			if err != nil {
				return err
			}
			if len(list) != 1 {
				return usage(fmt.Errorf("%s holds %d presets, and one takes the other's place", args[1], len(list)))
			}
			p, err := c.ReplacePreset(ctx, args[0], v1.PresetDraft{Name: list[0].Name, Description: list[0].Description,
				Category: list[0].Category, Runtime: list[0].Runtime, Parameters: v1.PresetParameters(list[0].Parameters), Metadata: list[0].Metadata})
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(p)
			}
			return a.printf("%s\n", p.Slug)
		})}
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) presetDeleteCommand() *cobra.Command {
	return &cobra.Command{Use: "delete PRESET", Short: "Delete a preset", Args: one("a preset's name"), ValidArgsFunction: a.completePresets,
		RunE: a.calls(func(ctx context.Context, c *client.Client, args []string) error {
			return c.DeletePreset(ctx, args[0])
		})}
}

func (a *app) completePresets(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 && cmd.Name() != "merge" {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return a.complete(cmd, prefix, args, func(ctx context.Context, c *client.Client) ([]string, error) {
		list, err := c.Presets(ctx, "", "")
		var names []string
		for _, p := range list {
			names = append(names, p.Slug)
		}
		return names, err
	})
}
