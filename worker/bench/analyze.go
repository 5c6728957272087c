package bench

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/fleetune/fleetune/worker/load/survey"
)

func analyzeCommand() *cobra.Command {
	o := &options{Seed: 1, lengthOptions: lengthOptions{DelayRatio: 1}}
	asJSON := false
	c := &cobra.Command{
		Use:           "analyze-trace FILE",
		Short:         "Tell what a trace or dataset asks of a server, without sending it",
		Example:       "  fleetune bench analyze-trace conversations.jsonl.gz",
		Args:          cobra.ExactArgs(1),
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.InputFile = args[0]
			w, err := o.workload(cmd.Context())
			if err != nil {
				return err
			}
			return writeSurvey(cmd.OutOrStdout(), survey.Of(w.file), asJSON)
		},
	}
	f := c.Flags()
	f.StringVar(&o.Format, "custom-dataset-type", "", "format of the input: "+formatNames()+", dataset for rows with fields (default: detected)")
	f.IntVar(&o.BlockSize, "isl-block-size", 0, "tokens of a hashed block, instead of the format's own")
	f.IntVar(&o.Limit, "num-dataset-entries", 0, "look at so many entries only")
	f.IntVar(&o.MaxInput, "max-context-length", 0, "leave out requests with longer prompts, in tokens")
	f.BoolVar(&o.Flattened, "split-flattened-agents", false, "tell agents apart that were recorded in one list, by their prompts")
	f.StringVar(&o.Tokenizer, "tokenizer", "", "tokenizer.json, a model's directory, or a model in the local Hugging Face cache")
	f.BoolVar(&asJSON, "json", false, "write JSON")
	return c
}

func writeSurvey(out io.Writer, s *survey.Survey, asJSON bool) error {
	if !asJSON {
		return s.Write(out)
	}
	return writeJSON(out, s)
}
