package records

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

const groupEnvironment = "environment"

// Facts of the environment and the measurement that have a meaning here.
const (
	FactDevice     = "device"
	FactVendor     = "vendor"
	FactDevices    = "devices"
	FactMemory     = "memory_mib"
	FactCores      = "cores"
	FactDriver     = "driver"
	FactObjectives = "objectives"
	labelPrefix    = "label:"
)

// Measurable says that a task's experiments measure a configuration in a place
// that is known: commands and engines do; noops, loads on a given server and
// rehearsals on the simulated engine do not.
func Measurable(t *task.Task) bool {
	if s := t.Serving; s != nil {
		return s.Simulate == nil && s.Endpoint == nil
	}
	return t.Command != nil
}

// KeyOf is the key of a task's measurements in an environment.
func KeyOf(t *task.Task, environment Facts) (Key, error) {
	r := t.Recorded()
	runner, err := t.Runner()
	if err != nil {
		return Key{}, err
	}
	extras, err := factsOf(r.Extras)
	if err != nil {
		return Key{}, fmt.Errorf("records.extras: %w", err)
	}
	workload, err := factsOf(r.Workload)
	if err != nil {
		return Key{}, fmt.Errorf("records.workload: %w", err)
	}
	return Key{
		Operation: Operation{Name: r.Operation, Version: r.Version, Runner: runner, Extras: extras},
		Workload:  workload, Environment: environment, Measurement: policyOf(t),
	}, nil
}

// policyOf is how a task measures, and what for. The seed and the search are
// not part of it.
func policyOf(t *task.Task) Facts {
	policy := Facts{"statistic": "median", "repeats": int64(t.Optimization.Repeats)}
	if c := t.Command; c != nil {
		policy["measure"] = string(c.Measure)
		policy["warmups"] = int64(c.Warmups)
		policy["min_duration_s"] = c.MinDuration.D().Seconds()
		policy["cooldown_s"] = c.Cooldown.D().Seconds()
	}
	var objectives []any
	for _, o := range t.Optimization.Objectives {
		objectives = append(objectives, string(o.Direction)+"_"+o.Metric)
	}
	policy[FactObjectives] = objectives
	return policy
}

// Objective is what the key's first score is of.
func (k Key) Objective() (metric string, direction task.Direction, err error) {
	name := firstText(k.Measurement[FactObjectives])
	for _, d := range []task.Direction{task.Minimize, task.Maximize} {
		if metric, ok := strings.CutPrefix(name, string(d)+"_"); ok && metric != "" {
			return metric, d, nil
		}
	}
	return "", "", fmt.Errorf("%w: it has scores and no objective", ErrInvalid)
}

// EnvironmentOf tells where an experiment of a task ran: the devices it held
// of a node, and the labels that the task says matter. What is not known is
// null; nil when even the devices are not.
func EnvironmentOf(t *task.Task, n *node.Advertisement, devices []string) Facts {
	if n == nil || len(devices) == 0 {
		return nil
	}
	var held []node.Device
	for _, d := range n.Devices {
		if slices.Contains(devices, d.ID) {
			held = append(held, d)
		}
	}
	if len(held) != len(devices) {
		return nil
	}
	return environment(t, n, held, len(devices))
}

func environment(t *task.Task, n *node.Advertisement, held []node.Device, count int) Facts {
	f := Facts{}
	if t.Serving == nil { // an engine's parallelism, and with it the count, is in the point
		f[FactDevices] = int64(count)
	}
	f[FactDevice] = common(held, func(d node.Device) any { return orNil(d.Model) })
	f[FactVendor] = common(held, func(d node.Device) any { return orNil(d.Vendor) })
	f[FactDriver] = common(held, func(d node.Device) any { return orNil(d.Driver) })
	if v, _ := f[FactVendor].(string); v == "cpu" {
		f[FactCores] = common(held, func(d node.Device) any { return int64(len(d.Cores)) })
		delete(f, FactDriver) // a CPU has none
	} else {
		f[FactMemory] = common(held, func(d node.Device) any { return d.Memory >> 20 })
	}
	for _, label := range t.Recorded().Labels {
		f[labelPrefix+label] = orNil(n.Labels[label])
	}
	return f
}

func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// common is the one value that all devices have, else their values joined.
func common(devices []node.Device, of func(node.Device) any) any {
	var seen []string
	var value any
	for _, d := range devices {
		v := of(d)
		if v == nil {
			return nil
		}
		if s := text(v); !slices.Contains(seen, s) {
			seen, value = append(seen, s), v
		}
	}
	if len(seen) > 1 {
		slices.Sort(seen)
		return strings.Join(seen, " + ")
	}
	return value
}

// Places lists the different environments in which a task's experiments would
// run on these nodes as they are.
func Places(t *task.Task, nodes []node.Advertisement) []Facts {
	var places []Facts
	seen := map[string]bool{}
	need := t.Needs()
	for i := range nodes {
		n := &nodes[i]
		if node.Match(need, *n) != nil {
			continue
		}
		for _, f := range placesOf(t, n, need) {
			if key := f.String(); !seen[key] {
				seen[key] = true
				places = append(places, f)
			}
		}
	}
	return places
}

// placesOf takes each fitting device of a node for all that an experiment may
// hold: nodes with unlike devices give several places.
func placesOf(t *task.Task, n *node.Advertisement, need node.Requirements) []Facts {
	var places []Facts
	for _, d := range n.Devices {
		if !need.Accepts(d) {
			continue
		}
		places = append(places, environment(t, n, []node.Device{d}, max(need.Devices, 1)))
	}
	return places
}

// Known says that every fact of an environment is.
func (f Facts) Known() bool {
	for _, v := range f {
		if v == nil {
			return false
		}
	}
	return len(f) > 0
}

// SpaceDigest is the digest of a search space.
func SpaceDigest(s space.Space) (string, error) {
	data, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("encoding a space: %w", err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8]), nil
}
