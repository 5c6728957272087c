package bench

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/fleetune/fleetune/worker/load/report"
	"github.com/fleetune/fleetune/worker/load/transcript"
)

func turnsCommand() *cobra.Command {
	data, path, asJSON := dataOptions{}, "", false
	shown, text := report.Shown{}, 0
	c := &cobra.Command{
		Use:   "turn-messages RAW.jsonl|inputs.json|DIRECTORY",
		Short: "Tell what each turn kept of the one before, and what was new",
		Long: `Tell what every turn of a run sent: what its prompt kept of the one before, and
what was new.

It reads whole requests (--aiperf-dir DIR --export-level raw), an inputs.json,
or such a directory.`,
		Example: "  fleetune bench -f agents/ -c 8 --aiperf-dir run --export-level raw\n" +
			"  fleetune bench turn-messages run\n" +
			"  fleetune bench turn-messages run -o turns.html --text 100000",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: files("jsonl", "json"),
		SilenceUsage:      true,
		SilenceErrors:     true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if shown.Conversations < 1 || shown.Turns < 1 || text < 1 {
				return &exitError{exitUsage, errors.New("--conversations, --turns and --text must be at least 1")}
			}
			counter, _, err := data.counter()
			if err != nil {
				return &exitError{exitUsage, err}
			}
			all, err := readTurns(args[0], transcript.Reader{Counter: counter, Text: text})
			switch {
			case err != nil:
				return err
			case asJSON:
				return writeJSON(cmd.OutOrStdout(), all)
			case path != "":
				return page(cmd, path, func(w io.Writer) error { return report.WriteTurnsPage(w, all, counter.Name(), shown) })
			}
			return report.WriteTurns(screenOf(cmd.OutOrStdout()), all, shown)
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVarP(&path, "output", "o", "", "write a page on which messages unfold, - for standard output")
	f.BoolVar(&asJSON, "json", false, "write JSON, of all conversations")
	f.IntVarP(&shown.Conversations, "conversations", "n", 40, "conversations to show, the first ones")
	f.IntVar(&shown.Turns, "turns", 60, "turns of each to show")
	f.IntVar(&text, "text", 8000, "characters of a message to keep")
	f.StringVar(&data.Tokenizer, "tokenizer", "", "tokenizer.json, a model's directory, or a model in the local Hugging Face cache")
	c.MarkFlagsMutuallyExclusive("json", "output")
	return c
}

// readTurns reads a file, or what a directory of AIPerf's layout has.
func readTurns(path string, r transcript.Reader) ([]*transcript.Conversation, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		dir := path
		raw, _ := filepath.Glob(filepath.Join(dir, "*_raw.jsonl")) // the pattern is well-formed
		switch inputs := filepath.Join(dir, "inputs.json"); {
		case len(raw) > 1:
			return nil, fmt.Errorf("%s holds whole requests of several runs: name one of %v", dir, raw)
		case len(raw) == 1:
			path = raw[0]
		default:
			if _, err := os.Stat(inputs); err != nil {
				return nil, fmt.Errorf("%s holds neither whole requests (…_raw.jsonl) nor inputs.json: %w", dir, transcript.ErrNothing)
			}
			path = inputs
		}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening a file of requests: %w", err)
	}
	defer func() { _ = f.Close() }() // nothing was written
	all, err := r.Read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return all, nil
}
