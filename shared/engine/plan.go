package engine

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

// A Plan is one point of a serving task turned into a configuration of an
// engine. Engine.Plan makes it; its zero value has no command.
type Plan struct {
	Engine  string
	Version string
	Model   task.Model
	// Arguments in the order of the command line, those of Fleetune itself
	// (model, host, port) left out.
	Arguments []Argument
	// Env holds the variables that the point sets.
	Env map[string]string
	// Options are settings that have no flag: the file that File names holds
	// them. TensorRT-LLM only.
	Options map[string]any
	World   World
	// Notes say what was suppressed, replaced or has no meaning here.
	Notes []string
	// Effective settings that the arguments ask for, by the names that
	// Effective* reads back from the engine.
	Effective map[string]string

	family family
}

// An Argument is one flag with its value.
type Argument struct {
	// Name without dashes, as it was asked for.
	Name string
	// Words behind the flag; none for one that stands alone.
	Words []string
	// From is the parameter that the argument comes from.
	From string
	// Default says that leaving the flag out would mean the same.
	Default bool

	key string // canonical name and value
}

// World is how the model spreads over devices. Degrees that reuse the devices
// of another do not enlarge it.
type World struct {
	TP int
	PP int
	DP int
	CP int
	// Size is the number of devices.
	Size int
	// WeightShards is the number of parts the weights of one replica are cut
	// into, and ExpertShards those of the experts.
	WeightShards int
	ExpertShards int
	// KVShards is the number of devices that share the KV cache of one token,
	// as far as it has heads; TokenShards those that share its tokens.
	KVShards    int
	TokenShards int
}

// MaxWorld bounds the devices of one engine.
const MaxWorld = 64

// Plan turns a point into a configuration. The error wraps ErrInvalid where the
// engine would refuse it.
func (e *Engine) Plan(s *task.Serving, p space.Point) (Plan, error) {
	m, err := newMapping(e, s, p)
	if err != nil {
		return Plan{}, err
	}
	if err := e.plan(m); err != nil {
		return Plan{}, err
	}
	m.finish()
	plan := Plan{
		Engine: e.Name(), Version: e.Version(), Model: m.model, Arguments: m.args.list, Env: m.env,
		Options: m.options, Notes: m.notes, family: e.family,
	}
	if plan.World, err = e.world(m.args); err != nil {
		return Plan{}, err
	}
	if plan.World.Size > MaxWorld {
		return Plan{}, fmt.Errorf("%w: it takes %d devices, and one engine gets %d at most", ErrInvalid, plan.World.Size, MaxWorld)
	}
	if err := fits(plan.Model.Architecture, plan.World); err != nil {
		return Plan{}, err
	}
	plan.Effective = m.asked()
	return plan, nil
}

// fits refuses degrees that the model's shape does not divide by, where the
// shape is known.
func fits(a *task.Architecture, w World) error {
	if a == nil {
		return nil
	}
	if a.Heads > 0 && a.Heads%w.WeightShards != 0 {
		return fmt.Errorf("%w: %d attention heads cannot be cut into %d equal parts", ErrInvalid, a.Heads, w.WeightShards)
	}
	if a.Layers > 0 && w.PP > a.Layers {
		return fmt.Errorf("%w: %d pipeline stages for %d layers", ErrInvalid, w.PP, a.Layers)
	}
	return nil
}

// Need is the number of devices that an experiment takes: the plan's, or one
// where the engine is simulated or runs already.
func (e *Engine) Need(s *task.Serving, p space.Point) (int, error) {
	if s.Simulate != nil || s.Endpoint != nil {
		return 1, nil
	}
	plan, err := e.Plan(s, p)
	if err != nil {
		return 0, err
	}
	return plan.Devices(), nil
}

// Devices is the number of devices that the configuration takes.
func (p Plan) Devices() int { return p.World.Size }

// Key is equal for plans that start the same engine the same way: arguments
// that repeat a default, their order and their spelling do not matter. Two
// points of one key are one configuration.
func (p Plan) Key() string {
	parts := []string{p.Engine, p.Version, p.Model.ID, p.Model.Revision}
	var args []string
	for _, a := range p.Arguments {
		if !a.Default {
			args = append(args, a.key)
		}
	}
	slices.Sort(args)
	parts = append(parts, args...)
	for _, name := range slices.Sorted(maps.Keys(p.Env)) {
		parts = append(parts, "env "+name+"="+p.Env[name])
	}
	if file, ok := p.File(); ok {
		parts = append(parts, file.Content)
	}
	return strings.Join(parts, "\n")
}

// Argument returns the words of an argument by its canonical name, and whether
// the plan has it.
func (p Plan) Argument(name string) ([]string, bool) {
	for _, a := range p.Arguments {
		if canonical, _, _ := strings.Cut(a.key, "="); canonical == spelling(name) {
			return a.Words, true
		}
	}
	return nil, false
}

// Flags is the plan's arguments as words of a command line.
func (p Plan) Flags() []string {
	var words []string
	for _, a := range p.Arguments {
		words = append(words, "--"+a.Name)
		words = append(words, a.Words...)
	}
	return words
}

// CommandOptions are what a launcher adds to a plan.
type CommandOptions struct {
	// Program starts the engine: an interpreter that has the engine's module,
	// the engine's own program, or a program that takes the engine's flags.
	// Empty is what the engine is usually started with.
	Program []string
	// ModelPath is where the model is; empty is its id.
	ModelPath string
	// ServedName is how requests name the model; empty leaves it to the engine.
	ServedName string
	Host       string
	Port       int
	// Container says that the command replaces a container's entry point.
	Container bool
	// Metrics asks for the metrics endpoint where it has to be asked for.
	Metrics bool
	// File is where the launcher put the plan's file.
	File string
}

// Command returns the full command line.
func (p Plan) Command(o CommandOptions) []string {
	if o.ModelPath == "" {
		o.ModelPath = p.Model.ID
	}
	if o.Host == "" {
		o.Host = "127.0.0.1"
	}
	return p.family.command(p, o)
}
