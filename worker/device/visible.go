package device

import (
	"slices"
	"strconv"
	"strings"

	"github.com/fleetune/fleetune/proto/node"
)

// Visible makes the drivers show a program the given devices and no others,
// as the variables of its environment; without devices, none at all. NVIDIA's
// driver takes UUIDs, AMD's the ordinals.
func Visible(devices []node.Device) map[string]string {
	var nvidia, amd []string
	for _, d := range devices {
		switch d.Vendor {
		case NVIDIA:
			nvidia = append(nvidia, d.ID)
		case AMD:
			amd = append(amd, strconv.Itoa(d.Index))
		}
	}
	env := map[string]string{"CUDA_VISIBLE_DEVICES": strings.Join(nvidia, ",")}
	if len(amd) > 0 {
		// The runtime renumbers what ROCR shows, so HIP must not filter again.
		env["ROCR_VISIBLE_DEVICES"] = strings.Join(amd, ",")
	} else {
		env["ROCR_VISIBLE_DEVICES"], env["HIP_VISIBLE_DEVICES"] = "-1", "-1"
	}
	return env
}

// Cores are the CPU cores that the devices own; none where they own none.
func Cores(devices []node.Device) []int {
	var cores []int
	for _, d := range devices {
		cores = append(cores, d.Cores...)
	}
	slices.Sort(cores)
	return slices.Compact(cores)
}
