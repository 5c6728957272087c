package device

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"github.com/fleetune/fleetune/proto/node"
)

// Search says which devices a worker may use.
type Search struct {
	// Vendor restricts the search to nvidia, amd or cpu; empty means GPUs, and
	// CPU slots where there are none.
	Vendor string
	// CPUSlots is how many CPU slots there are; 0 means one for each core but
	// the lowest, which is left to the worker, builds and the system.
	CPUSlots int
}

// errAbsent says that a way to find devices is not there on this node.
var errAbsent = errors.New("not on this node")

// Detect finds out how devices are found on this node, and finds them. The
// Discoverer is for Watch.
func Detect(ctx context.Context, search Search) (Discoverer, []node.Device, error) {
	var errs []error
	for _, c := range candidates(search) {
		if search.Vendor != "" && search.Vendor != c.vendor {
			continue
		}
		devices, err := c.discoverer.Discover(ctx)
		if err == nil && len(devices) > 0 {
			return c.discoverer, devices, nil
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", c.name, err))
		}
	}
	return nil, nil, fmt.Errorf("finding devices: %w", errors.Join(append(errs, errAbsent)...))
}

type candidate struct {
	name, vendor string
	discoverer   Discoverer
}

func candidates(search Search) []candidate {
	return []candidate{
		{"nvml", NVIDIA, newNVML()},
		{"nvidia-smi", NVIDIA, nvidiaSMI{}},
		{"amd-smi", AMD, amdSMI{}},
		{"rocm-smi", AMD, rocmSMI{}},
		{"cpu", CPU, cpuSlots{count: search.CPUSlots}},
	}
}

// toolTimeout bounds a vendor's tool, which hangs when its driver does.
const toolTimeout = 20 * time.Second

// tool runs a vendor's tool and returns what it prints.
func tool(ctx context.Context, name string, args ...string) ([]byte, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, errAbsent
	}
	ctx, cancel := context.WithTimeout(ctx, toolTimeout)
	defer cancel()
	var out, log bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdout, cmd.Stderr = &out, &log
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("running %s: %w: %s", name, err, bytes.TrimSpace(log.Bytes()))
	}
	return out.Bytes(), nil
}
