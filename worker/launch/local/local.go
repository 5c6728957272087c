// Package local launches engines as processes of this node: from any
// interpreter or virtual environment, on a port of this worker's own, shown
// the attempt's devices and no others. worker/process ends them and proves it.
package local

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fleetune/fleetune/worker/capture"
	"github.com/fleetune/fleetune/worker/device"
	"github.com/fleetune/fleetune/worker/launch"
	"github.com/fleetune/fleetune/worker/launch/port"
	"github.com/fleetune/fleetune/worker/process"
)

// Name of the launcher.
const Name = "local"

// logCap bounds what is kept of an engine's output, in bytes: its first half,
// where it says what it made of its flags, and its last, where it says why it
// died.
const logCap = 4 << 20

// Config of a Launcher.
type Config struct {
	Runner *process.Runner
	Ports  *port.Allocator
	// Environ is what PATH, HOME and the like are taken from, as os.Environ
	// gives it; nil means the worker's own.
	Environ []string
}

// A Launcher starts processes.
type Launcher struct{ Config }

var _ launch.Launcher = (*Launcher)(nil)

// New returns a Launcher.
func New(c Config) *Launcher {
	if c.Environ == nil {
		c.Environ = os.Environ()
	}
	return &Launcher{Config: c}
}

// Name is local.
func (l *Launcher) Name() string { return Name }

// Available is always true: what is missing is the engine's program, and its
// start says so.
func (l *Launcher) Available(context.Context) error { return nil }

// Sweep has nothing to do: processes carry their attempt's tag, and the worker
// sweeps all tags at its start.
func (l *Launcher) Sweep(context.Context) error { return nil }

// Launch starts the engine. A program that cannot be started is
// process.ErrStart.
func (l *Launcher) Launch(ctx context.Context, s launch.Spec) (launch.Server, error) {
	held, err := l.Ports.Take()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", launch.ErrPlace, err)
	}
	model := s.Model.Path
	if model == "" {
		model = s.Model.ID
	}
	v := &server{port: held, done: make(chan struct{}), log: s.Log("engine")}
	place := launch.Place{Host: "127.0.0.1", Port: held.Number, ModelPath: model}
	if s.File != nil {
		place.File = filepath.Join(s.Dir, filepath.Base(s.File.Name))
	}
	v.facts.Command = s.Command(place)
	v.url = fmt.Sprintf("http://127.0.0.1:%d", held.Number)
	if err := prepare(s, place.File); err != nil {
		held.Release()
		return nil, fmt.Errorf("%w: %w", launch.ErrPlace, err)
	}
	// The engine outlives the start: Stop ends it.
	inner, kill := context.WithCancelCause(context.WithoutCancel(ctx))
	v.kill = kill
	v.process, err = l.Runner.Start(inner, process.Spec{
		Argv: v.facts.Command, Dir: s.Dir, Env: l.environment(s), Tag: s.Tag,
		Stdout: v.log, Stderr: v.log, LogCap: logCap, Cores: device.Cores(s.Devices),
	})
	if err != nil {
		kill(nil)
		held.Release()
		return nil, fmt.Errorf("starting the engine: %w", err)
	}
	go v.watch()
	return v, nil
}

// prepare makes the engine's folder with what it reads there.
func prepare(s launch.Spec, file string) error {
	err := os.MkdirAll(filepath.Join(s.Dir, "tmp"), 0o700)
	if err == nil && s.File != nil {
		err = os.WriteFile(file, []byte(s.File.Content), 0o600)
	}
	if err != nil {
		return fmt.Errorf("making the engine's folder: %w", err)
	}
	return nil
}

// passed variables reach every engine: where programs and libraries lie, the
// home with the caches of compiled kernels, and the way to the network.
func passed() []string {
	return []string{"PATH", "HOME", "USER", "LD_LIBRARY_PATH", "CUDA_HOME", "XDG_CACHE_HOME", "HF_ENDPOINT",
		"http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"}
}

// environment is everything the engine sees. The devices come last: nothing
// in a task shows an engine others.
func (l *Launcher) environment(s launch.Spec) []string {
	env := map[string]string{"LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
	for _, name := range passed() {
		for _, e := range l.Environ {
			if value, ok := strings.CutPrefix(e, name+"="); ok {
				env[name] = value
			}
		}
	}
	maps.Copy(env, virtualEnvironment(s.Program, env["PATH"]))
	maps.Copy(env, s.Model.Environment())
	env["TMPDIR"] = filepath.Join(s.Dir, "tmp")
	maps.Copy(env, s.Env)
	maps.Copy(env, s.Secrets)
	maps.Copy(env, device.Visible(s.Devices))
	out := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out = append(out, name+"="+env[name])
	}
	return out
}

// virtualEnvironment is what activating the virtual environment of an
// interpreter does: engines start compilers and helpers that lie beside it.
func virtualEnvironment(program []string, path string) map[string]string {
	if len(program) == 0 || !filepath.IsAbs(program[0]) {
		return nil
	}
	bin := filepath.Dir(program[0])
	if _, err := os.Stat(filepath.Join(filepath.Dir(bin), "pyvenv.cfg")); err != nil {
		return nil
	}
	return map[string]string{"VIRTUAL_ENV": filepath.Dir(bin), "PATH": bin + string(os.PathListSeparator) + path}
}

var errStopped = errors.New("the experiment needs the engine no more")

// server is an engine that was started.
type server struct {
	process *process.Process
	port    *port.Port
	kill    context.CancelCauseFunc
	url     string
	log     string
	facts   launch.Facts
	done    chan struct{}
	stopped atomic.Bool // Stop came before the end
	// Set before done is closed.
	exit   process.Exit
	proven error
}

func (v *server) watch() {
	defer close(v.done)
	v.exit, v.proven = v.process.Wait()
	v.kill(nil)
	v.port.Release()
}

func (v *server) URL() string           { return v.url }
func (v *server) Facts() launch.Facts   { return v.facts }
func (v *server) Done() <-chan struct{} { return v.done }
func (v *server) Log() string           { return capture.Text(v.log) }

func (v *server) End() launch.End {
	end := launch.End{Code: v.exit.Code, OOM: v.exit.OOM, Stopped: v.stopped.Load()}
	if v.exit.Signal != 0 {
		end.Code, end.Signal = -1, v.exit.Signal.String()
	}
	return end
}

// Stop sends SIGTERM to the engine's group, and after grace SIGKILL to its
// whole tree.
func (v *server) Stop(ctx context.Context, grace time.Duration) error {
	select {
	case <-v.done:
	default:
		v.stopped.Store(true)
	}
	if grace > 0 {
		v.process.Terminate()
		launch.Wait(ctx, v.done, grace)
	}
	v.kill(errStopped)
	<-v.done
	if v.proven != nil {
		return fmt.Errorf("%w: %w", launch.ErrUnproven, v.proven)
	}
	return nil
}
