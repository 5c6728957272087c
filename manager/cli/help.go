package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// fitHelp wraps what flags mean to the screen, beside their names. A width of 0
// leaves lines as long as they are.
func fitHelp(root *cobra.Command, width int) {
	if width > 0 {
		root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), "Flags.FlagUsages ", fmt.Sprintf("Flags.FlagUsagesWrapped %d ", width)))
	}
}
