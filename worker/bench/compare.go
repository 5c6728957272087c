package bench

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/fleetune/fleetune/worker/load/report"
)

func compareCommand() *cobra.Command {
	alpha, asJSON := 0.05, false
	c := &cobra.Command{
		Use:               "compare A.json B.json",
		Short:             "Tell whether two reports differ beyond noise",
		Example:           "  fleetune bench -m my-model -c 8 --num-profile-runs 5 --json before.json\n  fleetune bench compare before.json after.json",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: files("json"),
		SilenceUsage:      true,
		SilenceErrors:     true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !(alpha > 0 && alpha < 1) {
				return fmt.Errorf("--alpha must be between 0 and 1, got %v", alpha)
			}
			a, err := readReport(args[0])
			if err != nil {
				return err
			}
			b, err := readReport(args[1])
			if err != nil {
				return err
			}
			found := report.Compare(a, b, alpha)
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), struct {
					Alpha       float64             `json:"alpha"`
					Differences []report.Difference `json:"differences"`
				}{alpha, found})
			}
			return report.WriteComparison(screenOf(cmd.OutOrStdout()), found, alpha)
		},
	}
	c.Flags().Float64Var(&alpha, "alpha", alpha, "chance of calling noise a difference")
	c.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return c
}

func readReport(path string) (*report.Document, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening a report: %w", err)
	}
	defer func() { _ = f.Close() }() // nothing was written
	d, err := report.Read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return d, nil
}
