package bench

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/fleetune/fleetune/worker/load/report"
)

func compareCommand() *cobra.Command {
	alpha := 0.05
	c := &cobra.Command{
		Use:           "compare A.json B.json",
		Short:         "Tell whether two reports differ beyond noise",
		Args:          cobra.ExactArgs(2),
		SilenceUsage:  true,
		SilenceErrors: true,
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
			return report.WriteComparison(cmd.OutOrStdout(), report.Compare(a, b, alpha), alpha)
		},
	}
	c.Flags().Float64Var(&alpha, "alpha", alpha, "chance of calling noise a difference")
	return c
}

func readReport(path string) (*report.Document, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening a report: %w", err)
	}
	defer func() { _ = f.Close() }() // nothing was written
	return report.Read(f)
}
