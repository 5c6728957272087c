package node

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// What a requirement asks for when it does not say.
const (
	DefaultPool    = "default"
	AnyAccelerator = "any"
	// AnyGPU is every accelerator but a CPU slot.
	AnyGPU = "gpu"
	// CPU is the vendor of CPU slots.
	CPU = "cpu"
)

// Requirement names one predicate of Match.
type Requirement string

// The requirements in the order in which Match looks at them.
const (
	NeedPool        Requirement = "pool"
	NeedKind        Requirement = "kind"
	NeedAccelerator Requirement = "accelerator"
	NeedDevices     Requirement = "devices"
	NeedMemory      Requirement = "memory"
	NeedLauncher    Requirement = "launcher"
	NeedEngine      Requirement = "engine"
	NeedLabels      Requirement = "labels"
	NeedSecrets     Requirement = "secrets"
	NeedHealth      Requirement = "health"
)

// A Mismatch says why a worker cannot serve a task: the first requirement that
// fails, and a reason that reads well behind the worker's name.
type Mismatch struct {
	Requirement Requirement `json:"requirement"`
	Reason      string      `json:"reason"`
}

func (m *Mismatch) String() string { return string(m.Requirement) + ": " + m.Reason }

// Match compares what a task needs with what a worker has and returns the first
// requirement that fails, or nil when the worker fits once its devices are
// free. What passes and what it says depend on the arguments alone.
func Match(need Requirements, have Advertisement) *Mismatch {
	need = need.withDefaults()
	if pool := orDefault(have.Pool, DefaultPool); pool != need.Pool {
		return mismatch(NeedPool, "serves pool %q, not %q", pool, need.Pool)
	}
	if need.Kind != "" && !slices.Contains(have.Kinds, need.Kind) {
		return mismatch(NeedKind, "cannot run %s experiments (it runs %s)", need.Kind, listing(have.Kinds))
	}
	if m := matchEngine(need, have); m != nil {
		return m
	}
	if m := matchDevices(need, have.Devices); m != nil {
		return m
	}
	if m := matchLabels(need.Labels, have.Labels); m != nil {
		return m
	}
	for _, secret := range need.Secrets {
		if !slices.Contains(have.Secrets, secret) {
			return mismatch(NeedSecrets, "has no secret %q (start it with --secrets FOLDER, one file a secret)", secret)
		}
	}
	return matchHealth(need, have.Devices)
}

// remedy says what gives a worker a launcher that it lacks.
func remedy(launcher string) string {
	switch launcher {
	case "docker":
		return "; start Docker or Podman's service on its node, or it with --docker ADDRESS"
	case "kubernetes":
		return "; start it with --kubernetes KUBECONFIG, or in the cluster"
	}
	return ""
}

func matchEngine(need Requirements, have Advertisement) *Mismatch {
	if need.Launcher != "" && !slices.Contains(have.Launchers, need.Launcher) {
		return mismatch(NeedLauncher, "has no launcher %q (it has %s%s)", need.Launcher, listing(have.Launchers), remedy(need.Launcher))
	}
	if _, ok := have.Engines[need.Engine]; need.Engine != "" && !ok {
		return mismatch(NeedEngine, "has no %s (it has %s; start it with --engine %s=PROGRAM)",
			need.Engine, listing(slices.Sorted(maps.Keys(have.Engines))), need.Engine)
	}
	return nil
}

func matchDevices(need Requirements, devices []Device) *Mismatch {
	right := filter(devices, need.acceleratorIs)
	if len(right) == 0 {
		return mismatch(NeedAccelerator, "has no device that is %q (it has %s)", need.Accelerator, inventory(devices))
	}
	if len(right) < need.Devices {
		return mismatch(NeedDevices, "has %s of accelerator %q, %d are needed",
			count(len(right), "device"), need.Accelerator, need.Devices)
	}
	large := filter(right, func(d Device) bool { return d.Memory >= need.Memory })
	if len(large) < need.Devices {
		most := slices.MaxFunc(right, func(a, b Device) int { return int(sign(a.Memory - b.Memory)) })
		return mismatch(NeedMemory, "has %s with the %s each that %d need (the largest has %s)",
			count(len(large), "device"), Bytes(need.Memory), need.Devices, Bytes(most.Memory))
	}
	return nil
}

func matchLabels(need, have map[string]string) *Mismatch {
	for _, key := range slices.Sorted(maps.Keys(need)) {
		value, ok := have[key]
		switch {
		case !ok:
			return mismatch(NeedLabels, "has no label %s=%s", key, need[key])
		case value != need[key]:
			return mismatch(NeedLabels, "has label %s=%s, not %s", key, value, need[key])
		}
	}
	return nil
}

func matchHealth(need Requirements, devices []Device) *Mismatch {
	fit := filter(devices, func(d Device) bool { return need.acceleratorIs(d) && d.Memory >= need.Memory })
	healthy := filter(fit, func(d Device) bool { return d.Health == Healthy })
	if len(healthy) >= need.Devices {
		return nil
	}
	var ill []string
	for _, d := range fit {
		if d.Health == Healthy {
			continue
		}
		text := fmt.Sprintf("%s is %s", d.ID, orDefault(string(d.Health), "of unknown health"))
		if d.Reason != "" {
			text += ": " + d.Reason
		}
		ill = append(ill, text)
	}
	return mismatch(NeedHealth, "has %s, %d are needed (%s)",
		count(len(healthy), "healthy device"), need.Devices, strings.Join(ill, "; "))
}

// Accepts says whether a device may be leased for the requirements: right
// accelerator, enough memory, healthy.
func (r Requirements) Accepts(d Device) bool {
	r = r.withDefaults()
	return r.acceleratorIs(d) && d.Memory >= r.Memory && d.Health == Healthy
}

// withDefaults fills in what the requirements leave open. Every experiment
// needs at least one device: the device is what keeps two of them apart.
func (r Requirements) withDefaults() Requirements {
	r.Pool = orDefault(r.Pool, DefaultPool)
	r.Accelerator = orDefault(r.Accelerator, AnyAccelerator)
	r.Devices = max(r.Devices, 1)
	r.Memory = max(r.Memory, 0)
	return r
}

// acceleratorIs compares the accelerator with a device's vendor and model.
func (r Requirements) acceleratorIs(d Device) bool {
	want := slug(r.Accelerator)
	switch want {
	case AnyAccelerator:
		return true
	case AnyGPU:
		return d.Vendor != CPU
	case slug(d.Vendor):
		return want != ""
	}
	return partOfModel(want, slug(d.Model))
}

// partOfModel says whether want occurs in the model, where letter case and the
// signs between words do not count. It must start where a word starts and may
// not cut a number in half: "a10" is no A100 and "b200" no GB200, but "rtx4090"
// is an "RTX 4090" and "mi300" an MI300X.
func partOfModel(want, model string) bool {
	want = strings.ReplaceAll(want, "-", "")
	if want == "" {
		return false
	}
	words := strings.Split(model, "-")
	for i := range words {
		rest, ok := strings.CutPrefix(strings.Join(words[i:], ""), want)
		if !ok {
			continue
		}
		whole := endsWord(words[i:], len(want))
		if whole || !isDigit(rest[0]) || !isDigit(want[len(want)-1]) {
			return true
		}
	}
	return false
}

// endsWord says whether the first n letters of the joined words are whole words.
func endsWord(words []string, n int) bool {
	for _, w := range words {
		if n -= len(w); n <= 0 {
			break
		}
	}
	return n == 0
}

// slug writes s in lower-case letters and digits, with one dash for every run
// of anything else.
func slug(s string) string {
	var b strings.Builder
	gap := false
	for _, c := range []byte(strings.ToLower(s)) {
		if !isLetter(c) && !isDigit(c) {
			gap = true
			continue
		}
		if gap && b.Len() > 0 {
			b.WriteByte('-')
		}
		gap = false
		b.WriteByte(c)
	}
	return b.String()
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }

func mismatch(r Requirement, format string, args ...any) *Mismatch {
	return &Mismatch{Requirement: r, Reason: fmt.Sprintf(format, args...)}
}

func filter(devices []Device, keep func(Device) bool) []Device {
	var kept []Device
	for _, d := range devices {
		if keep(d) {
			kept = append(kept, d)
		}
	}
	return kept
}

// inventory counts devices by model, the most frequent first.
func inventory(devices []Device) string {
	number := map[string]int{}
	for _, d := range devices {
		number[orDefault(d.Model, d.Vendor)]++
	}
	models := slices.SortedFunc(maps.Keys(number), func(a, b string) int {
		if number[a] != number[b] {
			return number[b] - number[a]
		}
		return strings.Compare(a, b)
	})
	for i, m := range models {
		models[i] = fmt.Sprintf("%d × %s", number[m], m)
	}
	return listing(models)
}

func listing(items []string) string {
	if len(items) == 0 {
		return "none"
	}
	return strings.Join(items, ", ")
}

func count(n int, noun string) string {
	switch n {
	case 0:
		return "no " + noun
	case 1:
		return "1 " + noun
	default:
		return fmt.Sprintf("%d %ss", n, noun)
	}
}

func orDefault(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func sign(n int64) int64 { return max(-1, min(1, n)) }

// Bytes writes an amount of memory for people, in the decimal units that
// device makers use: 80000000000 is "80 GB".
func Bytes(n int64) string {
	units := []string{"B", "kB", "MB", "GB", "TB", "PB", "EB"}
	value, unit := float64(n), 0
	for value >= 999.95 && unit < len(units)-1 {
		value /= 1000
		unit++
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", value), ".0") + " " + units[unit]
}
