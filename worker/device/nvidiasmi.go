package device

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"strconv"
	"strings"

	"github.com/fleetune/fleetune/proto/node"
)

// nvidiaSMI finds NVIDIA GPUs through the driver's command-line tool.
type nvidiaSMI struct{}

var _ UserLister = nvidiaSMI{}

// Discover returns the GPUs that the driver lists.
func (nvidiaSMI) Discover(ctx context.Context) ([]node.Device, error) {
	out, err := tool(ctx, "nvidia-smi",
		"--query-gpu=index,uuid,name,memory.total,driver_version", "--format=csv,noheader,nounits")
	if err != nil {
		return nil, err
	}
	devices, err := parseNvidiaGPUs(out)
	return shareMemory(devices), err
}

// shareMemory gives GPUs without a memory of their own the system's.
func shareMemory(devices []node.Device) []node.Device {
	for i := range devices {
		if devices[i].Memory == 0 {
			devices[i].Memory = systemMemory()
		}
	}
	return devices
}

// Users returns the compute processes by GPU.
func (nvidiaSMI) Users(ctx context.Context) (map[string][]int, error) {
	out, err := tool(ctx, "nvidia-smi", "--query-compute-apps=gpu_uuid,pid", "--format=csv,noheader,nounits")
	if err != nil {
		return nil, err
	}
	return parseNvidiaUsers(out)
}

// parseNvidiaGPUs reads "index, uuid, name, MiB, driver" lines.
func parseNvidiaGPUs(out []byte) ([]node.Device, error) {
	rows, err := nvidiaRows(out)
	if err != nil {
		return nil, err
	}
	var devices []node.Device
	for _, row := range rows {
		if len(row) != 5 {
			return nil, fmt.Errorf("nvidia-smi: %d fields in %q, expected 5", len(row), strings.Join(row, ","))
		}
		index, err := strconv.Atoi(row[0])
		if err != nil || index < 0 || row[1] == "" {
			return nil, fmt.Errorf("nvidia-smi: no GPU in %q", strings.Join(row, ","))
		}
		// A GPU that shares the system's memory says [N/A].
		mib, err := strconv.ParseInt(row[3], 10, 32)
		if err != nil || mib < 0 {
			mib = 0
		}
		devices = append(devices, node.Device{ID: row[1], Index: index, Vendor: NVIDIA, Model: row[2],
			Memory: mib << 20, Driver: row[4], Health: node.Healthy})
	}
	return devices, nil
}

// parseNvidiaUsers reads "uuid, pid" lines.
func parseNvidiaUsers(out []byte) (map[string][]int, error) {
	rows, err := nvidiaRows(out)
	if err != nil {
		return nil, err
	}
	users := map[string][]int{}
	for _, row := range rows {
		if len(row) != 2 {
			continue
		}
		if pid, err := strconv.Atoi(row[1]); err == nil && pid > 0 {
			users[row[0]] = append(users[row[0]], pid)
		}
	}
	return users, nil
}

// nvidiaRows reads the tool's CSV; it tells people on standard output, too,
// that there is nothing to tell.
func nvidiaRows(out []byte) ([][]string, error) {
	r := csv.NewReader(bytes.NewReader(out))
	r.TrimLeadingSpace, r.FieldsPerRecord, r.LazyQuotes = true, -1, true
	rows, err := r.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("nvidia-smi: %w", err)
	}
	if len(rows) == 1 && strings.HasPrefix(rows[0][0], "No ") {
		return nil, nil
	}
	for _, row := range rows {
		for i := range row {
			row[i] = strings.TrimSpace(row[i])
		}
	}
	return rows, nil
}
