package cli

import (
	"github.com/fleetune/fleetune/manager/search"
	"github.com/fleetune/fleetune/shared/terminal"
	"github.com/spf13/cobra"
)

// samplersCommand lists the samplers that this program has; it asks no manager.
func (a *app) samplersCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "samplers", Short: "List the samplers that a task can name as its strategy", Args: none,
		RunE: func(*cobra.Command, []string) error {
			list := search.Strategies()
			if a.json {
				return a.printJSON(list)
			}
			t := terminal.Table{Columns: []terminal.Column{{Title: "STRATEGY", Least: 12}, {Title: "LEARNS"}, {Title: "HOW IT CHOOSES", Least: 20}}}
			for _, s := range list {
				learns := "no"
				if s.Adaptive {
					learns = "yes"
				}
				t.Add(s.Name, learns, s.Description)
			}
			return t.Print(a.Out)
		}}
	a.jsonFlag(cmd)
	return cmd
}
