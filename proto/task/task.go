// Package task defines the task file: what to run, which parameters may vary,
// what to optimise and where it may run. A file is decoded and validated once,
// on entry; behind that door the Task type is all there is.
package task

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/space"
)

// A Task is a validated task file with every default filled in.
type Task struct {
	Name         string            `json:"task_name"`
	Description  string            `json:"description,omitempty"`
	Space        space.Space       `json:"space"`
	Optimization Optimization      `json:"optimization"`
	Command      *Command          `json:"command,omitempty"`
	Serving      *Serving          `json:"serving,omitempty"`
	Load         *Load             `json:"load,omitempty"`
	Resources    node.Requirements `json:"resources"`
	Priority     Priority          `json:"priority"`
	// Records is nil where the file says nothing of them; see Recorded.
	Records *Records `json:"records,omitempty"`
	// DependsOn names tasks that must complete before this one starts.
	DependsOn []string `json:"depends_on,omitempty"`
}

// Kind names the worker's runner for this task's experiments.
func (t *Task) Kind() string {
	switch {
	case t.Command != nil:
		return KindCommand
	case t.Serving != nil:
		return KindServing
	case t.Load != nil:
		return KindLoad
	default:
		return KindNoop
	}
}

// Needs is all that the task's experiments ask of a place: its resources, a
// worker of their kind, the launcher and the engine that it starts, and the
// secrets that its programs name.
func (t *Task) Needs() node.Requirements {
	need := t.Resources
	need.Kind = t.Kind()
	switch {
	case t.Command != nil:
		need.Secrets = slices.Compact(slices.Sorted(maps.Values(t.Command.Env.Secrets)))
	case t.Serving != nil:
		need.Secrets = t.Serving.secrets()
		need.Launcher, need.Engine = t.Serving.place()
	case t.Load != nil && t.Load.APIKey != "":
		need.Secrets = []string{t.Load.APIKey}
	}
	return need
}

// Budget bounds the experiments of the task, confirmations left out: the points
// that the search may measure, and a baseline that is none of them, as the
// defaults of an engine are.
func (t *Task) Budget() int {
	n := t.Optimization.MaxIterations
	if s := t.Serving; s != nil && !s.NoBaseline && len(s.Baseline) < len(t.Space.Parameters) {
		n++
	}
	return n
}

// Finalists is how many leaders are measured again beside the baseline.
func (t *Task) Finalists() int {
	switch {
	case t.Command != nil:
		return t.Command.Finalists
	case t.Serving != nil:
		return t.Serving.Finalists
	default:
		return 0
	}
}

// LeastSamples is how many samples of each side a confirmation takes at least: of
// fewer nothing is significant.
const LeastSamples = 3

// AttemptTime bounds one attempt on its devices: timeout_per_iteration, and for
// a confirmation as many of them as it measures configurations. It launches an
// engine anew for every sample of either side; a command's two sides are
// measured once each.
func (t *Task) AttemptTime(confirms bool) time.Duration {
	measured := 1
	switch {
	case !confirms:
	case t.Serving != nil:
		measured = 2 * max(t.Optimization.Repeats, LeastSamples)
	default:
		measured = 2
	}
	return product(measured, t.Optimization.IterationTimeout).D()
}

// The kinds of experiment. Noop experiments measure Fleetune itself.
const (
	KindCommand = "command"
	KindNoop    = "noop"
)

// Priority orders offers between tasks.
type Priority string

// The priorities, highest first.
const (
	High   Priority = "high"
	Normal Priority = "normal"
	Low    Priority = "low"
)

// Priorities lists every priority, highest first.
func Priorities() []Priority { return []Priority{High, Normal, Low} }

// Optimization says how the space is searched and when to stop.
type Optimization struct {
	// Strategy names the sampler.
	Strategy string `json:"strategy"`
	// Objectives in order of importance; samplers that know one only use the first.
	Objectives []Objective `json:"objectives"`
	// MaxIterations bounds the number of points that the search measures; see
	// Task.Budget.
	MaxIterations int `json:"max_iterations"`
	// MaxParallel bounds experiments in flight; 0 means what the fleet can hold.
	MaxParallel int `json:"max_parallel,omitempty"`
	// IterationTimeout bounds one experiment on its devices.
	IterationTimeout Duration `json:"timeout_per_iteration"`
	// Timeout bounds the whole task, from its first attempt on.
	Timeout Duration `json:"timeout"`
	// Seed makes the choice of points repeatable.
	Seed int64 `json:"seed"`
	// Repeats is the number of samples a measurement needs at least.
	Repeats int `json:"repeats"`
	// Options are the sampler's own settings, checked by the sampler.
	Options map[string]json.RawMessage `json:"options,omitempty"`
	// Stop ends the search before MaxIterations.
	Stop *Stop `json:"stop,omitempty"`
	// DeviceHourCost is the price of a device for an hour, where the worker has
	// no label LabelDeviceHourCost of its own.
	DeviceHourCost float64 `json:"cost_per_device_hour,omitempty"`
	// Racing ends experiments early; nil lets each have all its samples.
	Racing *Racing `json:"racing,omitempty"`
	// Fidelity that experiments may be measured with less of; nil means none.
	Fidelity *Fidelity `json:"fidelity,omitempty"`
}

// LabelDeviceHourCost is the label by which a worker names its own price.
const LabelDeviceHourCost = "cost_per_device_hour"

// An Objective is one metric to optimise.
type Objective struct {
	Metric    string    `json:"metric"`
	Direction Direction `json:"direction"`
}

// Direction says which end of a metric is better.
type Direction string

// The directions.
const (
	Minimize Direction = "minimize"
	Maximize Direction = "maximize"
)

// A Command experiment renders files, builds them, checks the result against a
// reference and measures it.
type Command struct {
	// Files are copied or rendered into the experiment's fresh folder.
	Files []File `json:"files,omitempty"`
	// Build compiles the rendered files. It runs before the devices are leased.
	Build *Step `json:"build,omitempty"`
	// Reference, Inputs and Check make the correctness gate. Inputs writes
	// fresh inputs for a seed, Reference the trusted outputs, Check the
	// candidate's outputs; the worker compares them. Check alone is a gate by
	// exit code.
	Inputs    *Step `json:"inputs,omitempty"`
	Reference *Step `json:"reference,omitempty"`
	Check     *Step `json:"check,omitempty"`
	// Outputs are the files that Reference and Check both write.
	Outputs []Output `json:"outputs,omitempty"`
	// Tolerance of the comparison: |a-b| <= Absolute + Relative*|b|.
	Tolerance Tolerance `json:"tolerance"`
	// Run is the measured program.
	Run Step `json:"run"`
	// Measure says where the metrics come from.
	Measure Measure `json:"measure"`
	// Warmups are runs (wall_time) whose samples are thrown away.
	Warmups int `json:"warmups,omitempty"`
	// MinDuration keeps measuring beyond Repeats until it has passed (wall_time).
	MinDuration Duration `json:"min_duration,omitempty"`
	// Cooldown is the pause before each measured program.
	Cooldown Duration `json:"cooldown,omitempty"`
	// Env is what the programs see of the environment.
	Env Env `json:"env"`
	// Baseline is the point that is measured first and compared with.
	Baseline space.Point `json:"baseline,omitempty"`
	// Finalists is how many leaders are re-measured against the baseline.
	Finalists  int        `json:"finalists"`
	Thresholds Thresholds `json:"thresholds"`
	Apply      *Apply     `json:"apply,omitempty"`
	// Bundle is the digest of the file contents, set when the task is stored:
	// contents travel by reference, never inside an offer.
	Bundle string `json:"bundle,omitempty"`
}

// A File of a command task.
type File struct {
	// Path inside the experiment's folder; relative, without "..".
	Path string `json:"path"`
	// Source is the file beside the task file that holds the content;
	// empty when Content is given inline.
	Source  string `json:"source,omitempty"`
	Content string `json:"content,omitempty"`
	// Render replaces {{NAME}} placeholders; otherwise the file is copied.
	Render bool `json:"render,omitempty"`
	// Encoding of rendered values: raw, json, shell or python.
	Encoding   string `json:"encoding,omitempty"`
	Executable bool   `json:"executable,omitempty"`
}

// A Step is one program: an argv with {{NAME}} placeholders and a time-out of
// its own. It is never passed through a shell.
type Step struct {
	Argv    []string `json:"argv"`
	Timeout Duration `json:"timeout,omitempty"`
}

// An Output is an array that reference and candidate must agree on.
type Output struct {
	Path string `json:"path"`
	// DType is float64, float32, float16, bfloat16, int8…int64, uint8…uint64,
	// bool, bytes (exact), or npy (shape and dtype in the file).
	DType string `json:"dtype"`
	Shape []int  `json:"shape,omitempty"`
}

// Tolerance bounds the difference between candidate and reference.
type Tolerance struct {
	Absolute float64 `json:"absolute"`
	Relative float64 `json:"relative"`
}

// Measure says where a command's metrics come from.
type Measure string

// The measuring modes: a result file written by the program, or the wall time
// of the whole program taken by the worker.
const (
	MeasureResultFile Measure = "result_file"
	MeasureWallTime   Measure = "wall_time"
)

// Env lists what programs see of the environment; everything else is withheld.
type Env struct {
	// Pass names variables handed through from the worker.
	Pass []string `json:"pass,omitempty"`
	// Set gives variables their values; {{NAME}} is rendered.
	Set map[string]string `json:"set,omitempty"`
	// Secrets maps a variable to the name of a secret that the worker resolves.
	Secrets map[string]string `json:"secrets,omitempty"`
}

// Thresholds are speed-ups over the baseline.
type Thresholds struct {
	// Improve is what counts as an improvement in reports.
	Improve float64 `json:"improve"`
	// Promote is what an unattended apply asks for.
	Promote float64 `json:"promote"`
}

// Apply says how the best configuration is put to use: a file rendered with
// the winner's values, tested again, and rolled back if the test fails.
type Apply struct {
	Template string `json:"template"`
	Target   string `json:"target"`
	Verify   *Step  `json:"verify,omitempty"`
	// Encoding of rendered values: raw, json, shell or python.
	Encoding string `json:"encoding,omitempty"`
	// Digest of the template when the task was submitted, set then: apply
	// refuses a template that has changed since.
	Digest string `json:"digest,omitempty"`
}

// A Duration is a time.Duration that reads seconds (600, 1.5) or text ("10m")
// and writes seconds.
type Duration time.Duration

// D returns the duration as the standard type.
func (d Duration) D() time.Duration { return time.Duration(d) }
