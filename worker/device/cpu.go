package device

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"

	"github.com/fleetune/fleetune/proto/node"
	"golang.org/x/sys/unix"
)

// cpuSlots cuts the cores that this process may use into slots of equal size.
// The highest cores are taken first, for the lowest are the busiest.
type cpuSlots struct{ count int }

// Discover returns the slots.
func (c cpuSlots) Discover(context.Context) ([]node.Device, error) {
	cores, err := ownCores()
	if err != nil {
		return nil, err
	}
	slots, err := cutCores(cores, c.count)
	if err != nil {
		return nil, err
	}
	model, memory := cpuModel(), systemMemory()
	devices := make([]node.Device, len(slots))
	for i, own := range slots {
		devices[i] = node.Device{
			ID: "cpu-" + strconv.Itoa(own[0]), Index: i, Vendor: CPU, Model: model,
			// A slot has no memory of its own; this is its fair share.
			Memory: memory / int64(len(slots)), Cores: own, Health: node.Healthy,
		}
	}
	return devices, nil
}

// cutCores gives count slots distinct cores, lowest slot first. 0 means a slot
// for each core but the first.
func cutCores(cores []int, count int) ([][]int, error) {
	spare := min(1, len(cores)-1)
	if count <= 0 {
		count = len(cores) - spare
	}
	if count > len(cores) {
		return nil, fmt.Errorf("%d CPU slots need as many cores, there are %d", count, len(cores))
	}
	if count == len(cores) {
		spare = 0
	}
	each := (len(cores) - spare) / count
	cores = cores[len(cores)-each*count:]
	slots := make([][]int, count)
	for i := range slots {
		slots[i] = cores[i*each : (i+1)*each : (i+1)*each]
	}
	return slots, nil
}

// ownCores lists the cores that this process may run on, lowest first. The
// main thread is asked, for the calling one may be pinned for a moment.
func ownCores() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(os.Getpid(), &set); err != nil {
		return nil, fmt.Errorf("reading the CPU affinity: %w", err)
	}
	var cores []int
	for core, left := 0, set.Count(); left > 0; core++ {
		if set.IsSet(core) {
			cores = append(cores, core)
			left--
		}
	}
	return cores, nil
}

// cpuModel reads the name of the processor; "cpu" where there is none.
func cpuModel() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return CPU
	}
	return parseCPUModel(text)
}

func parseCPUModel(text []byte) string {
	for line := range bytes.Lines(text) {
		key, value, ok := bytes.Cut(line, []byte(":"))
		if name := string(bytes.TrimSpace(value)); ok && name != "" && string(bytes.TrimSpace(key)) == "model name" {
			return name
		}
	}
	return CPU
}

// systemMemory is the size of the node's memory in bytes, 0 if unknown.
func systemMemory() int64 {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 0
	}
	return int64(info.Totalram) * int64(info.Unit)
}

// SpareCores lists the CPU cores that this process may use and that none of
// the devices owns: for builds, which must not disturb what is measured. Nil
// where there are none.
func SpareCores(devices []node.Device) []int {
	cores, err := ownCores()
	if err != nil {
		return nil
	}
	owned := Cores(devices)
	return slices.DeleteFunc(cores, func(core int) bool { return slices.Contains(owned, core) })
}
