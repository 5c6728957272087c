// Package hardware is the table of GPUs that the simulated engine knows: what
// their makers publish, and nothing measured. Workers simulate with it, and the
// manager refuses what cannot be simulated. The sources are named in each entry;
// figures of tensor cores are without sparsity.
package hardware

import (
	"fmt"
	"slices"
	"strings"
)

// A GPU by its published figures.
type GPU struct {
	// Name as a task file writes it, and the product's own.
	Name, Product string
	// Memory in bytes.
	Memory int64
	// Bandwidth of the memory in bytes/s.
	Bandwidth float64
	// Half is the rate of 16-bit tensor operations with 32-bit accumulation in
	// FLOP/s; FP8 and INT8 likewise, 0 where the GPU has none.
	Half, FP8, INT8 float64
	// Link is the bandwidth between two GPUs of a node, in one direction, in
	// bytes/s; Switched says that it is NVLink or Infinity Fabric and not PCIe.
	Link     float64
	Switched bool
	// Power is the board's limit in W.
	Power float64
	// Source of the figures.
	Source string
}

// Vendor that made it, as a node names the vendors of its devices.
func (g GPU) Vendor() string {
	maker, _, _ := strings.Cut(g.Product, " ")
	return strings.ToLower(maker)
}

const (
	tera = 1e12
	giga = 1e9
	// gib is a GiB: makers name memory in these, whatever they call them.
	gib = 1 << 30
)

// Table lists the GPUs, by maker and age.
func Table() []GPU {
	return []GPU{
		{Name: "t4", Product: "NVIDIA T4", Memory: 16 * gib, Bandwidth: 320 * giga, Half: 65 * tera, INT8: 130 * tera,
			Link: 16 * giga, Power: 70, Source: "NVIDIA T4 data sheet"},
		{Name: "a10", Product: "NVIDIA A10", Memory: 24 * gib, Bandwidth: 600 * giga, Half: 125 * tera, INT8: 250 * tera,
			Link: 32 * giga, Power: 150, Source: "NVIDIA A10 data sheet"},
		{Name: "a10g", Product: "NVIDIA A10G", Memory: 24 * gib, Bandwidth: 600 * giga, Half: 70 * tera, INT8: 140 * tera,
			Link: 32 * giga, Power: 300, Source: "NVIDIA A10G data sheet"},
		{Name: "a6000", Product: "NVIDIA RTX A6000", Memory: 48 * gib, Bandwidth: 768 * giga, Half: 154.8 * tera, INT8: 309.7 * tera,
			Link: 56.25 * giga, Switched: true, Power: 300, Source: "NVIDIA RTX A6000 data sheet, Ampere GA102 whitepaper"},
		{Name: "a100-40", Product: "NVIDIA A100-SXM4-40GB", Memory: 40 * gib, Bandwidth: 1555 * giga, Half: 312 * tera, INT8: 624 * tera,
			Link: 300 * giga, Switched: true, Power: 400, Source: "NVIDIA A100 data sheet"},
		{Name: "a100-80", Product: "NVIDIA A100-SXM4-80GB", Memory: 80 * gib, Bandwidth: 2039 * giga, Half: 312 * tera, INT8: 624 * tera,
			Link: 300 * giga, Switched: true, Power: 400, Source: "NVIDIA A100 data sheet"},
		{Name: "a100-80-pcie", Product: "NVIDIA A100 80GB PCIe", Memory: 80 * gib, Bandwidth: 1935 * giga, Half: 312 * tera, INT8: 624 * tera,
			Link: 32 * giga, Power: 300, Source: "NVIDIA A100 data sheet"},
		{Name: "rtx-3090", Product: "NVIDIA GeForce RTX 3090", Memory: 24 * gib, Bandwidth: 936 * giga, Half: 71 * tera, INT8: 284 * tera,
			Link: 32 * giga, Power: 350, Source: "NVIDIA Ampere GA102 whitepaper"},
		{Name: "rtx-4090", Product: "NVIDIA GeForce RTX 4090", Memory: 24 * gib, Bandwidth: 1008 * giga, Half: 165.2 * tera, FP8: 330.3 * tera, INT8: 660.6 * tera,
			Link: 32 * giga, Power: 450, Source: "NVIDIA Ada GPU architecture whitepaper"},
		{Name: "l4", Product: "NVIDIA L4", Memory: 24 * gib, Bandwidth: 300 * giga, Half: 121 * tera, FP8: 242.5 * tera, INT8: 242.5 * tera,
			Link: 32 * giga, Power: 72, Source: "NVIDIA L4 data sheet, halved for density"},
		{Name: "l40s", Product: "NVIDIA L40S", Memory: 48 * gib, Bandwidth: 864 * giga, Half: 362 * tera, FP8: 733 * tera, INT8: 733 * tera,
			Link: 32 * giga, Power: 350, Source: "NVIDIA L40S data sheet"},
		{Name: "h100-pcie", Product: "NVIDIA H100 PCIe", Memory: 80 * gib, Bandwidth: 2000 * giga, Half: 756 * tera, FP8: 1513 * tera, INT8: 1513 * tera,
			Link: 64 * giga, Power: 350, Source: "NVIDIA H100 data sheet, halved for density"},
		{Name: "h100-nvl", Product: "NVIDIA H100 NVL", Memory: 94 * gib, Bandwidth: 3900 * giga, Half: 835.5 * tera, FP8: 1670.5 * tera, INT8: 1670.5 * tera,
			Link: 300 * giga, Switched: true, Power: 400, Source: "NVIDIA H100 data sheet, halved for density"},
		{Name: "h100-sxm", Product: "NVIDIA H100 80GB HBM3", Memory: 80 * gib, Bandwidth: 3350 * giga, Half: 989.4 * tera, FP8: 1978.9 * tera, INT8: 1978.9 * tera,
			Link: 450 * giga, Switched: true, Power: 700, Source: "NVIDIA H100 architecture whitepaper"},
		{Name: "h200-sxm", Product: "NVIDIA H200", Memory: 141 * gib, Bandwidth: 4800 * giga, Half: 989.4 * tera, FP8: 1978.9 * tera, INT8: 1978.9 * tera,
			Link: 450 * giga, Switched: true, Power: 700, Source: "NVIDIA H200 data sheet"},
		{Name: "b200", Product: "NVIDIA B200", Memory: 180 * gib, Bandwidth: 8000 * giga, Half: 2250 * tera, FP8: 4500 * tera, INT8: 4500 * tera,
			Link: 900 * giga, Switched: true, Power: 1000, Source: "NVIDIA DGX B200 data sheet, by GPU, halved for density"},
		{Name: "mi300x", Product: "AMD Instinct MI300X", Memory: 192 * gib, Bandwidth: 5300 * giga, Half: 1307.4 * tera, FP8: 2614.9 * tera, INT8: 2614.9 * tera,
			Link: 448 * giga, Switched: true, Power: 750, Source: "AMD Instinct MI300X data sheet"},
		{Name: "mi325x", Product: "AMD Instinct MI325X", Memory: 256 * gib, Bandwidth: 6000 * giga, Half: 1307.4 * tera, FP8: 2614.9 * tera, INT8: 2614.9 * tera,
			Link: 448 * giga, Switched: true, Power: 1000, Source: "AMD Instinct MI325X data sheet"},
	}
}

// Names lists the GPUs in the order of the table.
func Names() []string {
	var names []string
	for _, g := range Table() {
		names = append(names, g.Name)
	}
	return names
}

// Lookup finds a GPU by its name or its product's, in any case and with any of
// space, dash and underscore. Common short names mean the usual variant: h100
// is the SXM one.
func Lookup(name string) (GPU, error) {
	short := map[string]string{"a100": "a100-80", "h100": "h100-sxm", "h200": "h200-sxm", "4090": "rtx-4090", "3090": "rtx-3090"}
	wanted := plain(name)
	if full, ok := short[wanted]; ok {
		wanted = plain(full)
	}
	for _, g := range Table() {
		if plain(g.Name) == wanted || plain(g.Product) == wanted {
			return g, nil
		}
	}
	return GPU{}, fmt.Errorf("no GPU %q is simulated; there are %s", name, strings.Join(slices.Sorted(slices.Values(Names())), ", "))
}

func plain(name string) string {
	return strings.NewReplacer(" ", "", "-", "", "_", "").Replace(strings.ToLower(name))
}
