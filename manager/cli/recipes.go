package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/client"
	"github.com/fleetune/fleetune/manager/recipe"
	"github.com/spf13/cobra"
)

// A recipeChoice says which configuration to write, and how.
type recipeChoice struct {
	format     string
	experiment int
	port       int
	image      string
}

func (r *recipeChoice) flags(cmd *cobra.Command) {
	var names []string
	for _, f := range recipe.Formats() {
		names = append(names, string(f))
	}
	choiceFlag(cmd, &r.format, "as", "write the engine's configuration as ", names...)
	cmd.Flags().IntVar(&r.experiment, "experiment", 0, "with --as: this experiment instead of the best")
	cmd.Flags().IntVar(&r.port, "port", 0, "with --as: where the engine will serve (8000)")
	cmd.Flags().StringVar(&r.image, "image", "", "with --as: the container's image (the task's, or that of the engine's makers)")
}

func (r *recipeChoice) fetch(ctx context.Context, c *client.Client, task string) (v1.Recipe, error) {
	return c.Recipe(ctx, task, client.RecipeWish{Format: r.format, Experiment: r.experiment, Port: r.port, Image: r.image})
}

// printRecipe prints the text alone, so that it can be piped.
func (a *app) printRecipe(r v1.Recipe) error {
	if a.json {
		return a.printJSON(r)
	}
	return a.printf("%s", r.Text)
}

// worthy says why a task's best should not be put to use unattended.
func worthy(d v1.Task) error {
	b := d.Best
	switch {
	case d.Status != "completed":
		return fmt.Errorf("task %s is %s, not completed", d.Name, d.Status)
	case b == nil:
		return fmt.Errorf("task %s has no best experiment", d.Name)
	case d.Baseline != nil && d.Baseline.Number == b.Number:
		return fmt.Errorf("nothing in task %s beats the baseline", d.Name)
	case d.Baseline != nil && (b.Speedup == nil || !b.Speedup.Significant):
		return fmt.Errorf("the best of task %s is not confirmed to beat the baseline", d.Name)
	}
	return nil
}

// applyRecipe writes a serving task's best into a file. A file that is there
// and holds something else stays, unless forced.
func (a *app) applyRecipe(ctx context.Context, c *client.Client, d v1.Task, choice recipeChoice, to string, force, dry bool) error {
	if choice.experiment == 0 && !force {
		if err := worthy(d); err != nil {
			return &exitError{code: ExitFailure, err: err, next: "--force writes it all the same; --experiment N takes another one"}
		}
	}
	r, err := choice.fetch(ctx, c, d.Name)
	if err != nil {
		return err
	}
	if dry {
		return a.printRecipe(r)
	}
	if to == "" {
		to = r.File
	}
	before, err := os.ReadFile(to)
	switch {
	case err == nil && string(before) == r.Text:
		return a.printWritten(r, to, false)
	case err == nil && !force && !strings.Contains(string(before), "# Written by Fleetune: "):
		return &exitError{code: ExitFailure, err: fmt.Errorf("%s holds something that Fleetune did not write", to), next: "name another file with --to, or --force to replace it"}
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return &exitError{code: ExitFailure, err: fmt.Errorf("reading the old file: %w", err)}
	}
	if err := replaceFile(to, r.Text); err != nil {
		return &exitError{code: ExitFailure, err: err}
	}
	return a.printWritten(r, to, true)
}

// replaceFile writes beside the target and renames, so that the target is
// never half a file.
func replaceFile(target, text string) error {
	f, err := os.CreateTemp(filepath.Dir(target), ".fleetune-*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", target, err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already when all went well
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), target)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", target, err)
	}
	return nil
}

func (a *app) printWritten(r v1.Recipe, to string, changed bool) error {
	if a.json {
		return a.printJSON(map[string]any{"task": r.Task, "number": r.Number, "target": to, "changed": changed, "applied": true})
	}
	if !changed {
		return a.printf("%s already holds experiment %d of %s\n", to, r.Number, r.Task)
	}
	return a.printf("%s now holds experiment %d of %s\n", to, r.Number, r.Task)
}
