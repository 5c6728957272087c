// Package engine knows the inference servers that Fleetune tunes: their flags
// by version, how precision and parallelism map to them, how many devices a
// configuration takes, whether its memory can hold the model, when a server is
// ready, and what one died of. It starts nothing and reads nothing but what it
// is handed: the manager checks and rehearses with it what a worker launches
// with it.
package engine

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

// The engines.
const (
	VLLM     = "vllm"
	SGLang   = "sglang"
	TensorRT = "tensorrt-llm"
	LlamaCpp = "llama.cpp"
)

// ErrUnknown says that no engine has that name.
var ErrUnknown = errors.New("unknown engine")

// ErrInvalid says that a point is no configuration of the engine.
var ErrInvalid = errors.New("invalid configuration")

// An Engine is one inference server at one version of its flags.
type Engine struct {
	family
	flags *flags
}

// Names lists the engines.
func Names() []string { return []string{VLLM, SGLang, TensorRT, LlamaCpp} }

// prefixes of base_runtime, the longer first.
func prefixes() []struct{ prefix, engine string } {
	return []struct{ prefix, engine string }{
		{"tensorrt-llm", TensorRT}, {"tensorrt_llm", TensorRT}, {"tensorrt", TensorRT}, {"trtllm", TensorRT}, {"trt-llm", TensorRT},
		{"llama.cpp", LlamaCpp}, {"llama-cpp", LlamaCpp}, {"llamacpp", LlamaCpp}, {"llama-server", LlamaCpp},
		{"sglang", SGLang}, {"vllm", VLLM},
	}
}

// Lookup returns the engine that the start of a base_runtime names, with the
// newest flags that are known. The error wraps ErrUnknown and names the
// nearest.
func Lookup(runtime string) (*Engine, error) {
	word := strings.ToLower(strings.TrimSpace(runtime))
	for _, p := range prefixes() {
		rest, ok := strings.CutPrefix(word, p.prefix)
		if ok && !misspelt(word, rest) {
			return newest(p.engine)
		}
	}
	start, _, _ := strings.Cut(word, "-")
	for _, candidate := range []string{word, start} {
		if near := space.Nearest(candidate, Names()); near != "" {
			return nil, fmt.Errorf("%w %q: did you mean %q?", ErrUnknown, runtime, near)
		}
	}
	return nil, fmt.Errorf("%w %q: there are %s", ErrUnknown, runtime, strings.Join(Names(), ", "))
}

// misspelt says that a word which begins as an engine's name does goes on like
// a slip of the hand (vllmm) and not like a name that contains it (vllm-small,
// vllmserver).
func misspelt(word, rest string) bool {
	letter, _ := utf8.DecodeRuneInString(rest)
	return unicode.IsLetter(letter) && space.Nearest(word, Names()) != ""
}

// newest is the engine of that name with the newest flags that are known.
func newest(name string) (*Engine, error) {
	families := map[string]family{VLLM: vllmFamily{}, SGLang: sglangFamily{}, TensorRT: tensorrtFamily{}, LlamaCpp: llamaFamily{}}
	list := tables(name)
	return &Engine{family: families[name], flags: list[len(list)-1]}, nil
}

// Of returns the engine of a serving task, with the flags of its version: the
// one that the task names, else the one that the tag of its image names, else
// the newest.
func Of(s *task.Serving) (*Engine, error) {
	name := s.Engine
	if name == "" {
		name = s.Runtime
	}
	e, err := Lookup(name)
	if err != nil {
		return nil, err
	}
	if s.Version == "" {
		tag := s.ImageTag
		image, _, _ := strings.Cut(s.Image, "@")
		if at := strings.LastIndexByte(image, ':'); tag == "" && at > strings.LastIndexByte(image, '/') {
			tag = image[at+1:]
		}
		if tagged, err := e.At(tag); err == nil {
			return tagged, nil
		}
	}
	return e.At(s.Version)
}

// Name of the engine.
func (e *Engine) Name() string { return e.name() }

// Version that the flags are of.
func (e *Engine) Version() string { return e.flags.Version }

// Source names the engine's files that its arguments were read from.
func (e *Engine) Source() string { return e.flags.Source }

// Simulated says whether the simulated engine can stand in for it.
func (e *Engine) Simulated() bool { return e.Name() == VLLM || e.Name() == SGLang }

// Versions lists those whose flags are known, oldest first.
func (e *Engine) Versions() []string {
	var list []string
	for _, f := range tables(e.name()) {
		list = append(list, f.Version)
	}
	return list
}

// At returns the engine with the flags of the newest known version that is not
// after the given one; empty is the newest of all. A version before the first
// that is known gets the first.
func (e *Engine) At(version string) (*Engine, error) {
	list := tables(e.name())
	if version == "" {
		return &Engine{family: e.family, flags: list[len(list)-1]}, nil
	}
	want, err := parseVersion(version)
	if err != nil {
		return nil, err
	}
	best := list[0]
	for _, f := range list {
		known, err := parseVersion(f.Version)
		if err != nil {
			return nil, err
		}
		if slices.Compare(known, want) <= 0 {
			best = f
		}
	}
	return &Engine{family: e.family, flags: best}, nil
}

// A family is what an engine is at every version.
type family interface {
	name() string
	// plan maps precision and parallelism to arguments.
	plan(m *mapping) error
	// world reads the degrees of parallelism from the finished arguments.
	world(a arguments) (World, error)
	command(p Plan, o CommandOptions) []string
	endpoints(f *flags) Endpoints
}
