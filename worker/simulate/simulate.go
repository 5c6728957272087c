// Package simulate is the simulated engine: a real server that speaks the
// OpenAI API, takes vLLM's or SGLang's command line, and answers as slowly as
// that engine would on a named GPU. A task is rehearsed with it before GPUs are
// spent. It computes nothing that a model would: its words are chosen by chance
// and its times by the model that shared/docs/simulated-engine.md describes.
// Whatever it prints or sends says so.
//
// This package is its program. Below lie its parts: settings reads the command
// line and model the model's shape, roofline and paged cost and hold what batching
// schedules, clock runs that in time, vocabulary speaks and openai serves.
package simulate

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/shared/hardware"
	"github.com/fleetune/fleetune/shared/terminal"
	"github.com/fleetune/fleetune/worker/simulate/model"
	"github.com/fleetune/fleetune/worker/simulate/settings"
)

// name of the command below the worker's.
const name = "simulate-engine"

// The flags of the simulation itself. They come before the engine's.
const (
	flagGPU          = "--simulate-gpu"
	flagEngine       = "--simulate-engine"
	flagVersion      = "--simulate-version"
	flagSpeed        = "--simulate-speed"
	flagSeed         = "--simulate-seed"
	flagArchitecture = "--simulate-architecture"
)

// A Failure ends the program with a status: 2 where the engine would not have
// known an argument, 1 where it would have died.
type Failure struct {
	Status int
	Err    error
}

func (f *Failure) Error() string { return f.Err.Error() }
func (f *Failure) Unwrap() error { return f.Err }

// ExitStatus is what the program ends with.
func (f *Failure) ExitStatus() int { return f.Status }

// Program is the start of a command line that runs the simulated engine; the
// engine's own command line follows. Executable is this program, fleetune or
// fleetune-worker; the architecture may be nil.
func Program(executable string, s task.Simulate, engine, version string, a *task.Architecture) ([]string, error) {
	program := []string{executable}
	if !strings.HasPrefix(filepath.Base(executable), "fleetune-worker") {
		program = append(program, "worker")
	}
	program = append(program, name, flagGPU, s.GPU, flagEngine, engine)
	if version != "" {
		program = append(program, flagVersion, version)
	}
	if s.Speed > 0 {
		program = append(program, flagSpeed, strconv.FormatFloat(s.Speed, 'g', -1, 64))
	}
	if a != nil {
		text, err := json.Marshal(a)
		if err != nil {
			return nil, fmt.Errorf("encoding the architecture: %w", err)
		}
		program = append(program, flagArchitecture, string(text))
	}
	return program, nil
}

// options are what the flags of the simulation say.
type options struct {
	gpu             hardware.GPU
	engine, version string
	speed           float64
	seed            uint64
	architecture    *task.Architecture
	arguments       []string
}

// Command is the program: `fleetune-worker simulate-engine`.
func Command() *cobra.Command {
	return &cobra.Command{
		Use:   name + " " + flagGPU + " NAME [FLAGS] ARGUMENTS",
		Short: "Serve as an inference engine on a GPU would, without the GPU",
		Long: `Serve the OpenAI API as vLLM or SGLang would on a GPU that this machine lacks.

Flags of the simulation come first; everything after them is the engine's own
command line, read as the engine reads it:

  ` + flagGPU + ` NAME            the GPU, one of those below
  ` + flagEngine + ` NAME         vllm (default) or sglang
  ` + flagVersion + ` VERSION     version of the engine's flags (the newest)
  ` + flagSpeed + ` FACTOR        how much faster than the clock time passes (1)
  ` + flagSeed + ` N              seed of the steps' jitter (1)
  ` + flagArchitecture + ` JSON   the model's shape or its file, as config.json

GPUs: ` + strings.Join(terminal.Wrap(strings.Join(hardware.Names(), ", "), 74), "\n  ") + `

What it says is nonsense and what it measures is a model's estimate: a rehearsal
of a task, not a measurement.`,
		Example:            "  fleetune-worker " + name + " " + flagGPU + " h100-sxm \\\n      serve meta-llama/Llama-3.1-8B-Instruct --port 8123",
		DisableFlagParsing: true, DisableFlagsInUseLine: true,
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, words []string) error {
			if len(words) == 1 && (words[0] == "--help" || words[0] == "-h") {
				return cmd.Help()
			}
			o, err := read(words)
			if err != nil {
				return &Failure{Status: 2, Err: err}
			}
			return run(cmd.Context(), o, cmd.OutOrStdout())
		},
	}
}

// read takes the simulation's flags off the front.
func read(words []string) (*options, error) {
	o := &options{engine: "vllm", speed: 1, seed: 1}
	for len(words) > 0 && strings.HasPrefix(words[0], "--simulate-") {
		flag, value, given := strings.Cut(words[0], "=")
		words = words[1:]
		if !given {
			if len(words) == 0 {
				return nil, fmt.Errorf("%s needs a value", flag)
			}
			value, words = words[0], words[1:]
		}
		if err := o.set(flag, value); err != nil {
			return nil, err
		}
	}
	if o.gpu.Name == "" {
		return nil, fmt.Errorf("%s is missing: one of %s", flagGPU, strings.Join(hardware.Names(), ", "))
	}
	o.arguments = words
	return o, nil
}

func (o *options) set(flag, value string) (err error) {
	switch flag {
	case flagGPU:
		o.gpu, err = hardware.Lookup(value)
	case flagEngine:
		o.engine = value
	case flagVersion:
		o.version = value
	case flagSpeed:
		if o.speed, err = strconv.ParseFloat(value, 64); err != nil || o.speed <= 0 || o.speed > 1000 {
			err = fmt.Errorf("%s %q is no factor above 0 and up to 1000", flag, value)
		}
	case flagSeed:
		if o.seed, err = strconv.ParseUint(value, 10, 64); err != nil {
			err = fmt.Errorf("%s %q is no seed, a whole number", flag, value)
		}
	case flagArchitecture:
		o.architecture, err = model.Read(value)
	default:
		err = fmt.Errorf("%s is no flag of the simulation", flag)
	}
	return err
}

// settings reads the engine's command line.
func (o *options) settings() (*settings.Settings, error) {
	s, err := settings.Read(settings.Input{Engine: o.engine, Version: o.version, GPU: o.gpu, Arguments: o.arguments,
		Architecture: func(name string) (task.Architecture, error) { return model.Find(name, o.architecture) }})
	switch {
	case errors.Is(err, settings.ErrUsage):
		return nil, &Failure{Status: 2, Err: fmt.Errorf("simulated %s: error: %w", o.engine, err)}
	case err != nil:
		return nil, &Failure{Status: 1, Err: fmt.Errorf("simulated %s: %w", o.engine, err)}
	}
	return s, nil
}
