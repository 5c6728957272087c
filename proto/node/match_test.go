package node

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func h100(id string) Device {
	return Device{ID: id, Vendor: "nvidia", Model: "NVIDIA H100 80GB HBM3", Memory: 85_520_809_984, Health: Healthy}
}

func cpu(id string) Device {
	return Device{ID: id, Vendor: "cpu", Model: "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz", Memory: 4e9, Health: Healthy}
}

func TestMatch(t *testing.T) {
	sick := h100("GPU-b")
	sick.Health, sick.Reason = Quarantined, "process 17 of attempt a1 would not die"
	gone := h100("GPU-c")
	gone.Health = Missing
	unknown := h100("GPU-d")
	unknown.Health = ""
	gpus := Advertisement{
		Pool: "h100", Labels: map[string]string{"zone": "a"}, Kinds: []string{"command", "noop"},
		Devices: []Device{h100("GPU-a"), sick, gone, cpu("cpu-1")},
	}
	slots := Advertisement{Pool: "default", Kinds: []string{"command"}, Devices: []Device{cpu("cpu-1"), cpu("cpu-2")}}

	for name, c := range map[string]struct {
		need Requirements
		have Advertisement
		want string
	}{
		"nothing asked":                         {Requirements{}, slots, ""},
		"nothing asked by a zero worker's pool": {Requirements{}, Advertisement{Devices: []Device{cpu("cpu-1")}}, ""},
		"all asked": {Requirements{
			Pool: "h100", Accelerator: "nvidia", Devices: 1, Memory: 80e9,
			Labels: map[string]string{"zone": "a"}, Kind: "command",
		}, gpus, ""},
		"pool":                {Requirements{Pool: "h100"}, slots, `pool: serves pool "default", not "h100"`},
		"pool by default":     {Requirements{}, gpus, `pool: serves pool "h100", not "default"`},
		"kind":                {Requirements{Kind: "serve"}, slots, `kind: cannot run serve experiments (it runs command)`},
		"no kinds":            {Requirements{Kind: "serve"}, Advertisement{}, `kind: cannot run serve experiments (it runs none)`},
		"accelerator":         {Requirements{Accelerator: "H200"}, slots, `accelerator: has no device that is "H200" (it has 2 × Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz)`},
		"no device at all":    {Requirements{}, Advertisement{}, `accelerator: has no device that is "any" (it has none)`},
		"gpu on a cpu node":   {Requirements{Accelerator: "gpu"}, slots, `accelerator: has no device that is "gpu" (it has 2 × Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz)`},
		"inventory":           {Requirements{Pool: "h100", Accelerator: "amd"}, gpus, `accelerator: has no device that is "amd" (it has 3 × NVIDIA H100 80GB HBM3, 1 × Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz)`},
		"devices":             {Requirements{Devices: 3}, slots, `devices: has 2 devices of accelerator "any", 3 are needed`},
		"cpu is not counted":  {Requirements{Pool: "h100", Accelerator: "gpu", Devices: 4}, gpus, `devices: has 3 devices of accelerator "gpu", 4 are needed`},
		"memory":              {Requirements{Pool: "h100", Memory: 80e9, Devices: 4}, gpus, `memory: has 3 devices with the 80 GB each that 4 need (the largest has 85.5 GB)`},
		"memory of none":      {Requirements{Memory: 80e9}, slots, `memory: has no device with the 80 GB each that 1 need (the largest has 4 GB)`},
		"label missing":       {Requirements{Labels: map[string]string{"disk": "nvme"}}, slots, `labels: has no label disk=nvme`},
		"label differs":       {Requirements{Pool: "h100", Labels: map[string]string{"zone": "b"}}, gpus, `labels: has label zone=a, not b`},
		"first label by name": {Requirements{Labels: map[string]string{"b": "1", "a": "1", "c": "1"}}, slots, `labels: has no label a=1`},
		"health": {Requirements{Pool: "h100", Accelerator: "h100", Devices: 2}, gpus,
			`health: has 1 healthy device, 2 are needed (GPU-b is quarantined: process 17 of attempt a1 would not die; GPU-c is missing)`},
		"health not said":         {Requirements{}, Advertisement{Devices: []Device{unknown}}, `health: has no healthy device, 1 are needed (GPU-d is of unknown health)`},
		"pool before kind":        {Requirements{Pool: "x", Kind: "x"}, slots, `pool: serves pool "default", not "x"`},
		"kind before accelerator": {Requirements{Kind: "x", Accelerator: "x"}, slots, `kind: cannot run x experiments (it runs command)`},
		"labels before health":    {Requirements{Pool: "h100", Accelerator: "gpu", Devices: 3, Labels: map[string]string{"x": "y"}}, gpus, `labels: has no label x=y`},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			if m := Match(c.need, c.have); m != nil {
				got = m.String()
			}
			require.Equal(t, c.want, got)
		})
	}
}

func TestAcceleratorIs(t *testing.T) {
	for _, c := range []struct {
		accelerator, vendor, model string
		want                       bool
	}{
		{"any", "cpu", "", true},
		{"ANY", "nvidia", "NVIDIA A10", true},
		{"gpu", "amd", "AMD Instinct MI300X", true},
		{"gpu", "cpu", "AMD EPYC", false},
		{"nvidia", "nvidia", "Tesla T4", true},
		{"NVIDIA", "nvidia", "Tesla T4", true},
		{"amd", "nvidia", "Tesla T4", false},
		{"a10", "nvidia", "NVIDIA A100-SXM4-80GB", false},
		{"a10", "nvidia", "NVIDIA A10", true},
		{"a10", "nvidia", "NVIDIA A10G", true},
		{"a100", "nvidia", "NVIDIA A100-SXM4-80GB", true},
		{"a100", "nvidia", "NVIDIA A100 80GB PCIe", true},
		{"a100-80gb", "nvidia", "NVIDIA A100 80GB PCIe", true},
		{"nvidia-h100", "nvidia", "NVIDIA H100 80GB HBM3", true},
		{"NVIDIA H100 80GB HBM3", "nvidia", "NVIDIA H100 80GB HBM3", true},
		{"h20", "nvidia", "NVIDIA H200", false},
		{"b200", "nvidia", "NVIDIA GB200", false},
		{"100", "nvidia", "NVIDIA H100", false},
		{"rtx4090", "nvidia", "NVIDIA GeForce RTX 4090", true},
		{"4090", "nvidia", "NVIDIA GeForce RTX 4090", true},
		{"mi300", "amd", "AMD Instinct MI300X", true},
		{"…", "", "…", false},
		{"…", "nvidia", "NVIDIA A10", false},
	} {
		got := Requirements{Accelerator: c.accelerator}.acceleratorIs(Device{Vendor: c.vendor, Model: c.model})
		require.Equal(t, c.want, got, "%q against %q %q", c.accelerator, c.vendor, c.model)
	}
}

func TestAccepts(t *testing.T) {
	need := Requirements{Accelerator: "h100", Memory: 80e9}
	require.True(t, need.Accepts(h100("a")))
	require.False(t, need.Accepts(cpu("a")))
	small := h100("a")
	small.Memory = 40e9
	require.False(t, need.Accepts(small))
	sick := h100("a")
	sick.Health = Foreign
	require.False(t, need.Accepts(sick))
}

// A worker fits exactly when enough of its devices can be leased and the rest
// of it fits.
func TestMatchAgreesWithAccepts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		need, have := genRequirements().Draw(t, "need"), genAdvertisement().Draw(t, "have")
		free := len(filter(have.Devices, need.Accepts))
		m := Match(need, have)
		if m == nil && free < max(1, need.Devices) {
			t.Fatalf("matched with %d devices to lease", free)
		}
		if m != nil && m.Requirement == NeedHealth && free >= max(1, need.Devices) {
			t.Fatalf("%v, but %d devices can be leased", m, free)
		}
	})
}

func genRequirements() *rapid.Generator[Requirements] {
	return rapid.Custom(func(t *rapid.T) Requirements {
		return Requirements{
			Pool:        rapid.SampledFrom([]string{"", "default", "a", "a_any", "a_any_1", "GPU", "gpu", "ü", "x.y", "x-y"}).Draw(t, "pool"),
			Accelerator: rapid.SampledFrom([]string{"", "any", "nvidia", "H100", "h100", "nvidia h100", "…", "1", "accelerator"}).Draw(t, "accelerator"),
			Devices:     rapid.IntRange(-1, 3).Draw(t, "devices"),
			Memory:      rapid.SampledFrom([]int64{-1, 0, 1, 80e9}).Draw(t, "memory"),
			Labels:      rapid.SampledFrom([]map[string]string{nil, {}, {"a": "b"}, {"a": "c", "d": "e"}, {"d": "e", "a": "c"}}).Draw(t, "labels"),
			Kind:        rapid.SampledFrom([]string{"", "command", "noop", "1", "h0123456789ab", "A b"}).Draw(t, "kind"),
		}
	})
}

func genAdvertisement() *rapid.Generator[Advertisement] {
	return rapid.Custom(func(t *rapid.T) Advertisement {
		device := rapid.Custom(func(t *rapid.T) Device {
			return Device{
				Vendor: rapid.SampledFrom([]string{"nvidia", "cpu"}).Draw(t, "vendor"),
				Model:  rapid.SampledFrom([]string{"", "NVIDIA H100"}).Draw(t, "model"),
				Memory: rapid.SampledFrom([]int64{0, 1, 90e9}).Draw(t, "memory"),
				Health: rapid.SampledFrom([]Health{Healthy, Healthy, Foreign, Missing}).Draw(t, "health"),
			}
		})
		return Advertisement{
			Pool:    rapid.SampledFrom([]string{"", "a"}).Draw(t, "pool"),
			Labels:  map[string]string{"a": "b"},
			Kinds:   []string{"command"},
			Devices: rapid.SliceOfN(device, 0, 4).Draw(t, "devices"),
		}
	})
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1 kB", 80e9: "80 GB", 85_520_809_984: "85.5 GB", 999_960: "1 MB", 9.2e18: "9.2 EB"} {
		require.Equal(t, want, Bytes(n))
	}
}

func TestSecretsAreMatchedByName(t *testing.T) {
	have := Advertisement{Kinds: []string{"command"}, Devices: []Device{{ID: "cpu-1", Vendor: CPU, Model: "cpu", Health: Healthy}}, Secrets: []string{"hub"}}
	need := Requirements{Devices: 1, Kind: "command", Secrets: []string{"hub"}}
	if m := Match(need, have); m != nil {
		t.Fatal(m)
	}
	need.Secrets = []string{"hub", "registry"}
	m := Match(need, have)
	if m == nil || m.Requirement != NeedSecrets || !strings.Contains(m.Reason, "registry") {
		t.Fatal(m)
	}
	if QueueName(need) == QueueName(Requirements{Devices: 1, Kind: "command"}) {
		t.Fatal("requirements that differ share a queue")
	}
}

func TestLaunchersAndEnginesAreMatched(t *testing.T) {
	have := Advertisement{Devices: []Device{cpu("cpu-1")}, Launchers: []string{"local", "docker"}, Engines: map[string]string{"vllm": "0.10.0", "llama.cpp": ""}}
	for name, c := range map[string]struct {
		need Requirements
		want string
	}{
		"both there":           {Requirements{Launcher: "docker", Engine: "vllm"}, ""},
		"engine of no version": {Requirements{Engine: "llama.cpp"}, ""},
		"launcher":             {Requirements{Launcher: "kubernetes"}, `launcher: has no launcher "kubernetes" (it has local, docker; start it with --kubernetes KUBECONFIG, or in the cluster)`},
		"engine":               {Requirements{Launcher: "local", Engine: "sglang"}, `engine: has no sglang (it has llama.cpp, vllm; start it with --engine sglang=PROGRAM)`},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			if m := Match(c.need, have); m != nil {
				got = m.String()
			}
			require.Equal(t, c.want, got)
			if c.need.Launcher != "" {
				require.NotEqual(t, QueueName(Requirements{}), QueueName(c.need))
			}
		})
	}
}
