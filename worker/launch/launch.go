// Package launch is the seam between a serving experiment and the place where
// its engine runs: a process of this node, a container, a pod, or a server that
// runs already. A launcher is a package below this one.
//
// What every launcher promises: a server is stopped when Stop has returned nil,
// and not before that is proven; what a dead session of this worker left is
// swept before a device is offered to anyone; secrets reach the engine's
// environment and nothing else.
package launch

import (
	"context"
	"errors"
	"time"

	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/task"
)

// ErrUnproven says that an engine may still run although everything was done
// to end it. Its devices must be quarantined.
var ErrUnproven = errors.New("the engine could not be proven gone")

// ErrPlace says that the place refused, whatever the configuration: a registry
// or an API that cannot be reached, say. Another attempt may end differently.
var ErrPlace = errors.New("the launcher could not do its part")

// A Launcher starts engines at one kind of place. Its methods may be called
// from many goroutines.
type Launcher interface {
	// Name is what a task file calls it.
	Name() string
	// Available says why the launcher cannot be used here, nil if it can.
	Available(ctx context.Context) error
	// Launch starts an engine. ctx bounds the start alone; the server lives
	// until Stop, which must be called for every server returned. Without one,
	// whatever was begun is gone, or the error is ErrUnproven.
	Launch(ctx context.Context, s Spec) (Server, error)
	// Sweep ends what dead sessions of this worker left. It must be called
	// before the first Launch.
	Sweep(ctx context.Context) error
}

// A Server is a launched engine.
type Server interface {
	// URL of the server, without a path.
	URL() string
	// Facts of the launch.
	Facts() Facts
	// Done is closed when the engine has ended, by itself or by Stop.
	Done() <-chan struct{}
	// End says how the engine ended; it is valid when Done is closed.
	End() End
	// Log is the engine's output so far, bounded: its beginning and, once the
	// engine has ended, its last part too.
	Log() string
	// Stop ends the engine. It asks first and waits as Wait does; then it
	// kills, and returns nil only when the engine is proven gone, which has a
	// bound of its own. Stop may be called more than once.
	Stop(ctx context.Context, grace time.Duration) error
}

// A Spec says what to start.
type Spec struct {
	// Tag marks everything that belongs to the attempt; unique.
	Tag string
	// Name for people, such as the task's name and the experiment's number.
	Name string
	// Dir is a folder for this launch alone.
	Dir string
	// Command writes the command line for a place.
	Command func(Place) []string
	// Program is the interpreter or program on the local launcher, for the
	// environment it needs; Command has it already.
	Program []string
	// File holds settings that have no flag; nil for none.
	File *File
	// Env is the engine's environment without its secrets, Secrets the rest.
	Env, Secrets map[string]string
	Devices      []node.Device
	// Accelerators is how many devices the engine asks a cluster for.
	Accelerators int
	// Image of the engine, for launchers that run one.
	Image string
	Model Model
	// Kubernetes says how a pod is placed.
	Kubernetes *task.Kubernetes
	// Endpoint is the server that runs already.
	Endpoint *task.Endpoint
	// Log names the file that captures a stream.
	Log func(stream string) (path string)
	// Progress tells how far the launch has come, a line at a time; may be nil.
	Progress func(line string)
}

// Tell passes a line to Progress if there is one.
func (s *Spec) Tell(line string) {
	if s.Progress != nil {
		s.Progress(line)
	}
}

// A Model is what the engine serves, as a launcher sees it.
type Model struct {
	// ID is a hub id, a folder's name or a path, as in the task.
	ID       string
	Revision string
	// Path is where the model lies on this node; empty when the engine is to
	// fetch it.
	Path string
	// Cache is this node's model cache (HF_HOME); empty for none.
	Cache string
	// Offline says that everything is in place, so that the engine needs no hub.
	Offline bool
}

// A Place is where an engine will run, as its command line must name it.
type Place struct {
	Host string
	Port int
	// ModelPath is the model as the engine sees it: a path, or a hub id.
	ModelPath string
	// File is the spec's file as the engine sees it; empty without one.
	File string
	// Container says that the command replaces an image's entry point.
	Container bool
}

// A File is read by the engine at its start.
type File struct{ Name, Content string }

// Courtesy is how long an engine may still take to end when nobody can wait.
const Courtesy = time.Second

// Wait waits for the end of an engine that was asked to stop: for grace at
// most, and for Courtesy at most once ctx has ended.
func Wait(ctx context.Context, done <-chan struct{}, grace time.Duration) {
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-done:
		return
	case <-timer.C:
		return
	case <-ctx.Done():
	}
	last := time.NewTimer(min(grace, Courtesy))
	defer last.Stop()
	select {
	case <-done:
	case <-timer.C:
	case <-last.C:
	}
}

// Facts of a launch, for the measurement.
type Facts struct {
	Command            []string
	Image, ImageDigest string
}

// An End says how an engine ended.
type End struct {
	// Code is the exit code, -1 where there is none.
	Code   int
	Signal string
	// OOM says that it was killed for memory.
	OOM bool
	// Stopped says that Stop ended it.
	Stopped bool
	// Lost is why the place does not know how it ended, such as a daemon that
	// went away; empty where it does.
	Lost string
}

// Environment tells the libraries of a hub where the model lies, and to ask
// nobody when it is in place.
func (m Model) Environment() map[string]string {
	env := map[string]string{}
	if m.Cache != "" {
		env["HF_HOME"] = m.Cache
	}
	if m.Offline {
		env["HF_HUB_OFFLINE"], env["TRANSFORMERS_OFFLINE"] = "1", "1"
	}
	return env
}
