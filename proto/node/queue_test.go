package node

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var queueToken = regexp.MustCompile(`^[a-z0-9_-]{1,200}$`)

func TestQueueName(t *testing.T) {
	for _, c := range []struct {
		need Requirements
		want string
	}{
		{Requirements{}, "default_any_1"},
		{Requirements{Pool: "default", Accelerator: "any", Devices: 1, Labels: map[string]string{}}, "default_any_1"},
		{Requirements{Accelerator: "NVIDIA H100", Devices: 8}, "default_nvidia-h100_8"},
		{Requirements{Accelerator: "nvidia-h100", Devices: 8, Kind: "command"}, "default_nvidia-h100_8_command"},
		{Requirements{Pool: "gpu_a"}, "gpu_a_any_1"},
		{Requirements{Memory: 80e9}, "default_any_1_h190da642035c"},
		{Requirements{Labels: map[string]string{"zone": "a", "disk": "nvme"}, Kind: "noop"}, "default_any_1_noop_h93f7363ca267"},
		{Requirements{Pool: "Büro 2"}, "b-ro-2_any_1_h5d152f649843"},
		{Requirements{Pool: strings.Repeat("p", 300), Accelerator: strings.Repeat("a", 300)}, strings.Repeat("p", 48) + "_" + strings.Repeat("a", 48) + "_1_hbb008247c5ee"},
	} {
		require.Equal(t, c.want, QueueName(c.need), "%+v", c.need)
	}
}

// Tokens that could be taken for one another keep their queues apart.
func TestQueueNamesDoNotMeet(t *testing.T) {
	hashed := QueueName(Requirements{Memory: 1})
	hash := hashed[strings.LastIndex(hashed, "_")+1:]
	for _, c := range [][2]Requirements{
		{{Memory: 1}, {Kind: hash}},
		{{Pool: "a", Kind: "1"}, {Pool: "a_any", Accelerator: "1"}},
		{{Pool: "a", Kind: "command"}, {Pool: "a", Accelerator: "command"}},
		{{Pool: "b-ro"}, {Pool: "büro"}},
		{{Kind: "a-b"}, {Kind: "a b"}},
	} {
		require.NotEqual(t, QueueName(c[0]), QueueName(c[1]))
	}
}

// Equal requirements have equal names, different ones different names, and
// every name is one token.
func TestQueueNameIsCanonical(t *testing.T) {
	same := func(r Requirements) string {
		r = r.withDefaults()
		r.Accelerator = slug(r.Accelerator)
		if len(r.Labels) == 0 {
			r.Labels = nil
		}
		data, err := json.Marshal(r)
		require.NoError(t, err)
		return string(data)
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := genRequirements().Draw(t, "a"), genRequirements().Draw(t, "b")
		if !queueToken.MatchString(QueueName(a)) {
			t.Fatalf("queue name %q", QueueName(a))
		}
		if (QueueName(a) == QueueName(b)) != (same(a) == same(b)) {
			t.Fatalf("%q and %q", QueueName(a), QueueName(b))
		}
	})
}

func FuzzQueueName(f *testing.F) {
	f.Add("default", "any", 1, int64(0), "zone", "a", "command")
	f.Add("Büro.2 >*", "RTX 4090", 8, int64(24e9), "", "", "h0123456789ab")
	f.Add("\xff", "\x00", -1, int64(-1), ".", "*", "1")
	f.Fuzz(func(t *testing.T, pool, accelerator string, devices int, memory int64, key, value, kind string) {
		r := Requirements{Pool: pool, Accelerator: accelerator, Devices: devices, Memory: memory, Labels: map[string]string{key: value}, Kind: kind}
		name := QueueName(r)
		if !queueToken.MatchString(name) || name != QueueName(r) {
			t.Fatalf("queue name %q", name)
		}
		if m := Match(r, Advertisement{Pool: pool, Labels: r.Labels, Kinds: []string{kind}}); m == nil {
			t.Fatal("matched a worker without devices")
		}
	})
}
