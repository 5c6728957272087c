package bench

import (
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fleetune/fleetune/worker/load/survey"
)

// inputFlags are those of the command's flags that say how an input is read.
var inputFlags = []string{"public-dataset", "custom-dataset-type", "isl-block-size", "whole-prompts", "split-flattened-agents", "num-dataset-entries", "max-context-length",
	"tokenizer", "map", "prompt-template", "archive-member", "dataset-token-env", "dataset-cache", "random-seed", "trace-idle-gap-cut-seconds",
	"synthesis-prefix-len-multiplier", "synthesis-prefix-root-multiplier", "synthesis-prompt-len-multiplier", "synthesis-output-len-multiplier", "synthesis-max-osl"}

func analyzeCommand() *cobra.Command {
	o, all, asJSON := &options{}, pflag.NewFlagSet("bench", pflag.ContinueOnError), false
	o.flags(all)
	c := &cobra.Command{
		Use:   "analyze-trace [FILE]",
		Short: "Tell what a trace asks of a server, without sending it",
		Example: "  fleetune bench analyze-trace conversations.jsonl.gz\n" +
			"  fleetune bench analyze-trace trace.jsonl.gz --synthesis-max-osl 500\n" +
			"  fleetune bench analyze-trace --public-dataset azure_code_2023",
		Args:          cobra.MaximumNArgs(1),
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				o.InputFile = args[0]
			}
			err := errors.Join(o.find(), o.checkInput())
			if o.InputFile == "" {
				err = errors.Join(err, errors.New("name a file, or a --public-dataset"))
			}
			if err != nil {
				return &exitError{exitUsage, err}
			}
			w, err := o.workload(cmd.Context())
			if err != nil {
				return err
			}
			if err := o.fits(w); err != nil {
				return &exitError{exitUsage, err}
			}
			s := survey.Of(w.file)
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), s)
			}
			return s.Write(cmd.OutOrStdout())
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.SetNormalizeFunc(ours)
	for _, name := range inputFlags {
		f.AddFlag(all.Lookup(name))
	}
	f.BoolVar(&asJSON, "json", false, "write JSON")
	return c
}
