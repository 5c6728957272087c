// Package recipe writes an engine's configuration in the form in which it will
// be run: a command line, a Compose file, a Kubernetes manifest, Helm values,
// the engine's own configuration file, a systemd unit. What it writes starts
// the engine as the experiment did, with the arguments that were measured, and
// holds no secret: only where each comes from.
package recipe

import (
	"errors"
	"fmt"
	"strings"

	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/shared/engine"
)

// A Format is one form of a recipe.
type Format string

// The formats.
const (
	Command    Format = "command"
	Compose    Format = "compose"
	Kubernetes Format = "kubernetes"
	Helm       Format = "helm"
	Config     Format = "config"
	Systemd    Format = "systemd"
)

// Formats lists them.
func Formats() []Format { return []Format{Command, Compose, Kubernetes, Helm, Config, Systemd} }

// File is the usual name of a file of the format.
func (f Format) File() string {
	switch f {
	case Command:
		return "serve.sh"
	case Compose:
		return "compose.yaml"
	case Kubernetes:
		return "deployment.yaml"
	case Helm:
		return "values.yaml"
	case Config:
		return "config.yaml"
	default:
		return "engine.service"
	}
}

// Errors that callers act upon.
var (
	// ErrFormat says that there is no such format.
	ErrFormat = errors.New("unknown format")
	// ErrImpossible says that the engine or the task has no such form.
	ErrImpossible = errors.New("there is no such form of this configuration")
)

// A Recipe is a configuration that is to be run.
type Recipe struct {
	Task *task.Task
	// Parameters of the experiment.
	Parameters space.Point
	// Origin says in a line where the configuration comes from.
	Origin string
	// Port that the engine will serve on; 0 is 8000.
	Port int

	plan  engine.Plan
	image string
}

// Write writes a recipe. The errors are ErrFormat and ErrImpossible.
func (r Recipe) Write(f Format) (string, error) {
	s := r.Task.Serving
	if s == nil || s.Endpoint != nil {
		return "", fmt.Errorf("%w: the task starts no engine", ErrImpossible)
	}
	e, err := engine.Of(s)
	if err != nil {
		return "", err
	}
	if r.plan, err = e.Plan(s, r.Parameters); err != nil {
		return "", fmt.Errorf("%w: %w", ErrImpossible, err)
	}
	r.image = e.Image(s)
	if r.Port == 0 {
		r.Port = 8000
	}
	switch f {
	case Command:
		return r.command(), nil
	case Compose:
		return r.compose()
	case Kubernetes:
		return r.kubernetes()
	case Helm:
		return r.helm()
	case Config:
		return r.config()
	case Systemd:
		return r.systemd(), nil
	}
	return "", fmt.Errorf("%w %q: there are %v", ErrFormat, f, Formats())
}

// header is what stands above everything that is written.
func (r Recipe) header() string {
	var b strings.Builder
	line := func(text string) {
		b.WriteString("# " + strings.NewReplacer("\n", " ", "\r", " ").Replace(text) + "\n")
	}
	line("Written by Fleetune: " + r.Origin)
	if sim := r.Task.Serving.Simulate; sim != nil {
		line("Chosen in a rehearsal: the figures are those of a simulated " + sim.GPU + ", not of a real one.")
	}
	for _, note := range r.plan.Notes {
		line(note)
	}
	return b.String()
}

// words is the engine's command line; in a container it stands behind the
// image, and the model is where it is mounted.
func (r Recipe) words(container bool) []string {
	o := engine.CommandOptions{ServedName: r.Task.Serving.Benchmark.ModelName, Host: "127.0.0.1", Port: r.Port}
	if container {
		o.Container, o.Host = true, "0.0.0.0"
		if r.mounted() {
			o.ModelPath = mountPoint
		}
	} else {
		o.Program = r.Task.Serving.Program
	}
	if file, ok := r.plan.File(); ok {
		o.File = file.Name
	}
	return r.plan.Command(o)
}

const mountPoint = "/model"

// mounted says that the model is a folder, not an id of the hub.
func (r Recipe) mounted() bool {
	id := r.plan.Model.ID
	return strings.HasPrefix(id, "/") || !strings.Contains(id, "/")
}

// env is what the task and the point set, without secrets.
func (r Recipe) env() map[string]string {
	env := map[string]string{}
	for name, value := range r.Task.Serving.Env.Set {
		env[name] = value
	}
	for name, value := range r.plan.Env {
		env[name] = value
	}
	return env
}

// secrets maps variables to the names of secrets.
func (r Recipe) secrets() map[string]string {
	secrets := map[string]string{}
	for variable, name := range r.Task.Serving.Env.Secrets {
		secrets[variable] = name
	}
	if name := r.plan.Model.TokenSecret; name != "" {
		secrets["HF_TOKEN"] = name
	}
	return secrets
}

// name is fit for a service, a unit or an object of Kubernetes.
func (r Recipe) name() string { return r.Task.Name }
