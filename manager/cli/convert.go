package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/fleetune/fleetune/manager/convert"
	"github.com/spf13/cobra"
)

func (a *app) convertCommand() *cobra.Command {
	var to string
	cmd := &cobra.Command{Use: "convert STUDY", Short: "Turn a study file of auto-tuning-vllm into a task file",
		Long: `Turn a study file of auto-tuning-vllm into a task file, which is printed or
written with --to. What has no counterpart here is said on standard error. Task
files of LLM Autotuner need no conversion: submit takes them as they are.`,
		Args: one("a study file"),
		RunE: a.interruptible(func(_ context.Context, _ *cobra.Command, args []string) error {
			in := a.In
			if args[0] != "-" {
				file, err := os.Open(args[0])
				if err != nil {
					return usage(fmt.Errorf("reading the study: %w", err))
				}
				defer func() { _ = file.Close() }()
				in = file
			}
			data, err := io.ReadAll(io.LimitReader(in, maxTaskFile))
			if err != nil {
				return usage(fmt.Errorf("reading the study: %w", err))
			}
			result, err := convert.Study(data, convert.Environment)
			if err != nil {
				return usage(fmt.Errorf("%s: %w", args[0], err))
			}
			return a.printConverted(result, to)
		})}
	cmd.Flags().StringVar(&to, "to", "", "write the task file here instead of printing it")
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) printConverted(r convert.Result, to string) error {
	if a.json {
		return a.printJSON(map[string]any{"task": r.Task, "notes": append([]string{}, r.Notes...)})
	}
	for _, note := range r.Notes {
		a.complain("note: " + note)
	}
	if to == "" {
		return a.printf("%s", r.Task)
	}
	if _, err := os.Stat(to); !errors.Is(err, os.ErrNotExist) {
		return usage(fmt.Errorf("%s is there already", to))
	}
	return replaceFile(to, r.Task)
}
