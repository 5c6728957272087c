package daemon

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/fleetune/fleetune/worker/device"
	"github.com/spf13/cobra"
)

// clearOptions are the flags of the command that ends quarantines.
type clearOptions struct {
	devices    device.Search
	lockFolder string
}

// clearCommand is `fleetune-worker clear`.
func clearCommand() *cobra.Command {
	var o clearOptions
	cmd := &cobra.Command{
		Use:   "clear DEVICE...",
		Short: "End the quarantine of this node's devices",
		Long: `End the quarantine of devices of this node. Their ids, with the reasons, are in
"fleetune workers --devices".

A device is quarantined when it cannot be proven that nothing of an attempt
still uses it. Make sure of that first. Workers that run here use the device
again within seconds; none needs a restart. Give --slots as the worker was given
it.`,
		Args:         cobra.MinimumNArgs(1),
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, ids []string) error {
			return o.clear(cmd.Context(), cmd.OutOrStdout(), ids)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.lockFolder, "lock-dir", "", "folder of the devices' lock files, shared by all workers of a host")
	flags.StringVar(&o.devices.Vendor, "vendor", "", "use only nvidia, amd or cpu devices")
	flags.IntVar(&o.devices.CPUSlots, "slots", 0, "number of CPU slots where no GPU is (default: one per core but the first)")
	return cmd
}

func (o *clearOptions) clear(ctx context.Context, out io.Writer, ids []string) error {
	_, found, err := device.Detect(ctx, o.devices)
	if err != nil {
		return err
	}
	for _, id := range ids {
		at, there := -1, make([]string, len(found))
		for i, d := range found {
			there[i] = d.ID
			if d.ID == id {
				at = i
			}
		}
		if at < 0 {
			return fmt.Errorf("%w: %s; this node has %s", device.ErrUnknown, id, strings.Join(there, ", "))
		}
		if err := device.ClearQuarantine(ctx, o.lockFolder, found[at]); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(out, "%s may be used again\n", id); err != nil {
			return fmt.Errorf("telling that %s is cleared: %w", id, err)
		}
	}
	return nil
}
