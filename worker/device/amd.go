package device

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/fleetune/fleetune/proto/node"
)

// amdSMI finds AMD GPUs through amd-smi.
type amdSMI struct{}

// rocmSMI finds AMD GPUs through rocm-smi, which amd-smi follows.
type rocmSMI struct{}

var _, _ Discoverer = amdSMI{}, rocmSMI{}

// Discover returns the GPUs that amd-smi lists.
func (amdSMI) Discover(ctx context.Context) ([]node.Device, error) {
	list, err := tool(ctx, "amd-smi", "list", "--json")
	if err != nil {
		return nil, err
	}
	static, err := tool(ctx, "amd-smi", "static", "--asic", "--vram", "--driver", "--json")
	if err != nil {
		return nil, err
	}
	return parseAMDSMI(list, static)
}

// Discover returns the GPUs that rocm-smi lists.
func (rocmSMI) Discover(ctx context.Context) ([]node.Device, error) {
	out, err := tool(ctx, "rocm-smi", "--showproductname", "--showuniqueid",
		"--showmeminfo", "vram", "--showdriverversion", "--json")
	if err != nil {
		return nil, err
	}
	return parseROCmSMI(out)
}

// text is a JSON string or number; amd-smi writes "N/A" for either.
type text string

func (t *text) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*t = text(s)
		return nil
	}
	var n json.Number
	if json.Unmarshal(b, &n) == nil {
		*t = text(n.String())
	}
	return nil // an object or a list is not what we ask for
}

// amdGPU is one GPU of amd-smi list or amd-smi static.
type amdGPU struct {
	GPU  *int `json:"gpu"`
	UUID text `json:"uuid"`
	BDF  text `json:"bdf"`
	ASIC struct {
		MarketName text `json:"market_name"`
	} `json:"asic"`
	Driver struct {
		Version text `json:"version"`
		// DriverVersion is the older name.
		DriverVersion text `json:"driver_version"`
	} `json:"driver"`
	VRAM struct {
		Size amdSize `json:"size"`
		// VRAMSize is the older name.
		VRAMSize amdSize `json:"vram_size"`
	} `json:"vram"`
}

// amdSize is an amount of memory, or "N/A".
type amdSize struct{ bytes int64 }

func (s *amdSize) UnmarshalJSON(b []byte) error {
	var size struct {
		Value text `json:"value"`
		Unit  text `json:"unit"`
	}
	if json.Unmarshal(b, &size) != nil {
		var value text
		_ = value.UnmarshalJSON(b)
		size.Value, size.Unit = value, "MB"
		if number, unit, ok := strings.Cut(string(value), " "); ok {
			size.Value, size.Unit = text(number), text(unit)
		}
	}
	n, err := strconv.ParseInt(string(size.Value), 10, 64)
	// The tool says MB and means MiB, as the driver counts.
	shift := map[text]int{"B": 0, "KB": 10, "MB": 20, "GB": 30}
	by, known := shift[size.Unit]
	if err == nil && known && n > 0 && n <= (1<<62)>>by {
		s.bytes = n << by
	}
	return nil
}

// parseAMDSMI joins what amd-smi list says (UUIDs) with what amd-smi static
// says (model, memory, driver).
func parseAMDSMI(list, static []byte) ([]node.Device, error) {
	listed, err := amdGPUs(list)
	if err != nil {
		return nil, fmt.Errorf("amd-smi list: %w", err)
	}
	described, err := amdGPUs(static)
	if err != nil {
		return nil, fmt.Errorf("amd-smi static: %w", err)
	}
	var devices []node.Device
	for _, g := range listed {
		if g.GPU == nil || *g.GPU < 0 {
			continue
		}
		id := cmp.Or(known(g.UUID), known(g.BDF))
		if id == "" {
			continue
		}
		d := node.Device{ID: id, Index: *g.GPU, Vendor: AMD, Health: node.Healthy}
		for _, s := range described {
			if s.GPU != nil && *s.GPU == *g.GPU {
				d.Model = known(s.ASIC.MarketName)
				d.Driver = cmp.Or(known(s.Driver.Version), known(s.Driver.DriverVersion))
				d.Memory = cmp.Or(s.VRAM.Size.bytes, s.VRAM.VRAMSize.bytes)
			}
		}
		devices = append(devices, d)
	}
	return devices, nil
}

// amdGPUs reads a list of GPUs, which newer versions wrap in an object.
func amdGPUs(out []byte) ([]amdGPU, error) {
	var gpus []amdGPU
	if bytes.HasPrefix(bytes.TrimSpace(out), []byte("[")) {
		err := json.Unmarshal(out, &gpus)
		return gpus, err
	}
	var wrapped struct {
		GPUs []amdGPU `json:"gpu_data"`
	}
	err := json.Unmarshal(out, &wrapped)
	return wrapped.GPUs, err
}

func known(t text) string {
	if t == "N/A" {
		return ""
	}
	return string(t)
}

// parseROCmSMI reads an object of cards by name ("card0"), with one entry for
// the whole system. Names of fields changed their case over the years.
func parseROCmSMI(out []byte) ([]node.Device, error) {
	// The tool warns on standard output before the object begins.
	if i := bytes.IndexByte(out, '{'); i > 0 {
		out = out[i:]
	}
	var cards map[string]map[string]text
	if err := json.Unmarshal(out, &cards); err != nil {
		return nil, fmt.Errorf("rocm-smi: %w", err)
	}
	driver := field(cards["system"], "driver version")
	var devices []node.Device
	for _, name := range slices.Sorted(maps.Keys(cards)) {
		number, ok := strings.CutPrefix(name, "card")
		index, err := strconv.Atoi(number)
		if !ok || err != nil || index < 0 {
			continue
		}
		card := cards[name]
		memory, _ := strconv.ParseInt(field(card, "vram total memory (b)"), 10, 64)
		devices = append(devices, node.Device{
			ID: "GPU-" + cmp.Or(strings.TrimPrefix(field(card, "unique id"), "0x"), name), Index: index, Vendor: AMD,
			Model:  cmp.Or(field(card, "card series"), field(card, "card model")),
			Memory: max(0, memory), Driver: driver, Health: node.Healthy,
		})
	}
	slices.SortFunc(devices, func(a, b node.Device) int { return cmp.Compare(a.Index, b.Index) })
	return devices, nil
}

// field returns a card's field whatever the case of its name.
func field(card map[string]text, name string) string {
	for key, value := range card {
		if strings.EqualFold(key, name) {
			return known(value)
		}
	}
	return ""
}
