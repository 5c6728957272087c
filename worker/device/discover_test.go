package device

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/fleetune/fleetune/proto/node"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func testdata(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestParsers(t *testing.T) {
	nvidia, err1 := parseNvidiaGPUs(testdata(t, "nvidia-gpus.csv"))
	users, err2 := parseNvidiaUsers(testdata(t, "nvidia-users.csv"))
	amd, err3 := parseAMDSMI(testdata(t, "amd-list.json"), testdata(t, "amd-static.json"))
	rocm, err4 := parseROCmSMI(testdata(t, "rocm.json"))
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(map[string]any{"nvidia-smi": nvidia, "users": users, "amd-smi": amd, "rocm-smi": rocm}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "parsed.golden")
	if *update {
		if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want := testdata(t, "parsed.golden"); string(want) != string(got)+"\n" {
		t.Errorf("parsed devices differ from %s:\n%s", golden, got)
	}
}

func TestParsersRefuse(t *testing.T) {
	for _, text := range []string{"Failed to initialize NVML: Driver/library version mismatch\n", "0, GPU-1, X\n", "x, GPU-1, X, 1, 5\n"} {
		if got, err := parseNvidiaGPUs([]byte(text)); err == nil {
			t.Errorf("nvidia-smi: %q reads as %v", text, got)
		}
	}
	if got, err := parseNvidiaGPUs([]byte("No devices were found\n")); err != nil || got != nil {
		t.Errorf("no devices: %v, %v", got, err)
	}
	for _, text := range []string{"", "[", `{"gpu_data": 3}`} {
		if got, err := parseAMDSMI([]byte(text), []byte(text)); err == nil {
			t.Errorf("amd-smi: %q reads as %v", text, got)
		}
		if got, err := parseROCmSMI([]byte(text)); err == nil {
			t.Errorf("rocm-smi: %q reads as %v", text, got)
		}
	}
}

// sound checks what holds of every device that any parser returns.
func sound(t *testing.T, devices []node.Device) {
	t.Helper()
	for _, d := range devices {
		if d.ID == "" || d.Index < 0 || d.Memory < 0 || d.Health != node.Healthy {
			t.Errorf("unsound device %+v", d)
		}
	}
}

func FuzzNvidiaSMI(f *testing.F) {
	f.Add(testdata(f, "nvidia-gpus.csv"))
	f.Add(testdata(f, "nvidia-users.csv"))
	f.Add([]byte("No devices were found\n"))
	f.Fuzz(func(t *testing.T, out []byte) {
		devices, _ := parseNvidiaGPUs(out)
		sound(t, devices)
		users, _ := parseNvidiaUsers(out)
		for _, pids := range users {
			for _, pid := range pids {
				if pid <= 0 {
					t.Errorf("process %d", pid)
				}
			}
		}
	})
}

func FuzzAMD(f *testing.F) {
	f.Add(testdata(f, "amd-list.json"), testdata(f, "amd-static.json"))
	f.Add(testdata(f, "rocm.json"), []byte(`[{"gpu":0,"vram":{"size":"9223372036854775807 GB"}}]`))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		devices, _ := parseAMDSMI(a, b)
		sound(t, devices)
		devices, _ = parseROCmSMI(a)
		sound(t, devices)
	})
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"owner":"w","pid":1,"tags":["a"],"since":"2026-01-01T00:00:00Z"}` + "\n"))
	f.Add([]byte(`{"quarantined":"why"}{"tags`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := decodeRecord(text)
		if err != nil && !reflect.DeepEqual(r, record{}) {
			t.Errorf("half a record: %+v", r)
		}
	})
}

func TestCutCores(t *testing.T) {
	for _, c := range []struct {
		cores []int
		count int
		want  [][]int
	}{
		{[]int{0}, 0, [][]int{{0}}},
		{[]int{0, 1}, 0, [][]int{{1}}},
		{[]int{0, 1}, 2, [][]int{{0}, {1}}},
		{[]int{0, 1, 2, 3, 4, 5}, 2, [][]int{{2, 3}, {4, 5}}},
		{[]int{4, 5, 8, 9, 12}, 0, [][]int{{5}, {8}, {9}, {12}}},
	} {
		got, err := cutCores(c.cores, c.count)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%d slots of %v: %v, %v, want %v", c.count, c.cores, got, err, c.want)
		}
	}
	if got, err := cutCores([]int{0, 1}, 3); err == nil {
		t.Errorf("3 slots of 2 cores: %v", got)
	}
	rapid.Check(t, func(t *rapid.T) {
		cores := rapid.SliceOfNDistinct(rapid.IntRange(0, 500), 1, 64, rapid.ID[int]).Draw(t, "cores")
		slices.Sort(cores)
		count := rapid.IntRange(0, len(cores)).Draw(t, "count")
		slots, err := cutCores(cores, count)
		if err != nil || len(slots) == 0 || count > 0 && len(slots) != count {
			t.Fatalf("%v, %v", slots, err)
		}
		all := slices.Concat(slots...)
		if slices.Sort(all); len(slices.Compact(all)) != len(all) || len(slots[0]) == 0 {
			t.Fatalf("cores shared or missing: %v", slots)
		}
	})
}

func TestDetectCPU(t *testing.T) {
	cores, err := ownCores()
	if err != nil {
		t.Fatal(err)
	}
	d, devices, err := Detect(t.Context(), Search{Vendor: CPU, CPUSlots: 1})
	if err != nil || len(devices) != 1 || d == nil {
		t.Fatal(devices, err)
	}
	got := devices[0]
	if got.Vendor != CPU || got.Model == "" || got.Memory <= 0 || !slices.Contains(got.Cores, cores[len(cores)-1]) {
		t.Errorf("%+v", got)
	}
	if len(cores) > 1 && slices.Contains(got.Cores, cores[0]) {
		t.Errorf("the lowest core is not left alone: %+v", got)
	}
}

func TestDetectNVIDIA(t *testing.T) {
	d, devices, err := Detect(t.Context(), Search{Vendor: NVIDIA})
	if err != nil {
		t.Skipf("no NVIDIA GPU on this machine: %v", err)
	}
	sound(t, devices)
	lister, ok := d.(UserLister)
	if !ok {
		t.Fatalf("%T does not list users", d)
	}
	if _, err := lister.Users(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestMatches(t *testing.T) {
	h100 := node.Device{Vendor: NVIDIA, Model: "NVIDIA H100 80GB HBM3", Memory: 80 << 30}
	mi300 := node.Device{Vendor: AMD, Model: "AMD Instinct MI300X", Memory: 192 << 30}
	epyc := node.Device{Vendor: CPU, Model: "AMD EPYC 9654", Memory: 1 << 30}
	for _, c := range []struct {
		need node.Requirements
		want [3]bool
	}{
		{node.Requirements{}, [3]bool{true, true, true}},
		{node.Requirements{Accelerator: "any", Memory: 100 << 30}, [3]bool{false, true, false}},
		{node.Requirements{Accelerator: "nvidia"}, [3]bool{true, false, false}},
		{node.Requirements{Accelerator: "AMD"}, [3]bool{false, true, false}},
		{node.Requirements{Accelerator: "h100"}, [3]bool{true, false, false}},
		{node.Requirements{Accelerator: "cpu"}, [3]bool{false, false, true}},
		{node.Requirements{Accelerator: "B200"}, [3]bool{}},
	} {
		if got := [3]bool{Matches(h100, c.need), Matches(mi300, c.need), Matches(epyc, c.need)}; got != c.want {
			t.Errorf("%+v: %v, want %v", c.need, got, c.want)
		}
	}
}
