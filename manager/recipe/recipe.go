// Package recipe writes an engine's configuration in the form in which it will
// be run: a command line, a Compose file, a Kubernetes manifest, Helm values,
// the engine's own configuration file, a systemd unit. What it writes starts
// the engine as the experiment did, with the arguments that were measured, and
// holds no secret: only where each comes from.
package recipe

import (
	"errors"
	"fmt"
	"path"
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
	// ErrImage says that a container's image has to be named.
	ErrImage = errors.New("no image is known")
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
	// Image of the container; empty is the task's or the engine's own.
	Image string
	// Vendor of the devices that the engine ran on, as nodes name them; empty
	// is NVIDIA's, or what the task asks for.
	Vendor string
	// ModelPath is where the model was on the node that ran the engine; empty
	// is its id.
	ModelPath string

	plan  engine.Plan
	image string
	notes []string // what the reader of this form has to do
}

// Write writes a recipe. The errors are ErrFormat, ErrImpossible and ErrImage.
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
	if r.image = r.Image; r.image == "" {
		r.image = r.knownImage(e)
	}
	if r.Port == 0 {
		r.Port = 8000
	}
	r.notes = r.hints(f)
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

// knownImage is the image that the task names, that the experiment ran in, or
// that the engine's makers publish, which is one for NVIDIA's GPUs.
func (r Recipe) knownImage(e *engine.Engine) string {
	s := r.Task.Serving
	contained := s.Simulate == nil && (s.Launcher == "docker" || s.Launcher == "kubernetes")
	if s.Image != "" || contained || r.vendor() == nvidia {
		return e.Image(s)
	}
	return ""
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
	for _, note := range append(r.plan.Notes[:len(r.plan.Notes):len(r.plan.Notes)], r.notes...) {
		line(note)
	}
	return b.String()
}

// hints say what the form does not bring along.
func (r Recipe) hints(f Format) []string {
	var hints []string
	file, hasFile := r.plan.File()
	switch {
	case hasFile && f == Compose:
		hints = append(hints, fmt.Sprintf("%s has to lie beside this file: fleetune apply %s --as config --to %s", file.Name, r.Task.Name, file.Name))
	case hasFile && f == Helm:
		hints = append(hints, fmt.Sprintf("%s has to be in the ConfigMap %s: fleetune apply %s --as config --to %s", file.Name, r.name(), r.Task.Name, file.Name))
	}
	m := r.model()
	if from := r.source(); m.outside != "" && !path.IsAbs(from) {
		switch f {
		case Compose:
			hints = append(hints, from+" is expected beside this file: mend the volume if it is elsewhere")
		case Kubernetes, Helm:
			if r.storage() == nil {
				hints = append(hints, from+" is expected in /models of the node: mend the volume if it is elsewhere")
			}
		default:
			hints = append(hints, from+" is a name among the models of a worker: write where it is on this machine")
		}
	}
	return hints
}

// words is the engine's command line with the model at a path; in a container
// it stands behind the image.
func (r Recipe) words(model string, container bool) []string {
	o := engine.CommandOptions{ModelPath: model, ServedName: r.servedName(model), Host: "127.0.0.1", Port: r.Port}
	if container {
		o.Container, o.Host = true, "0.0.0.0"
	}
	if s := r.Task.Serving; !container || s.Launcher != "local" {
		o.Program = s.Program // of this machine, or of the image
	}
	if file, ok := r.plan.File(); ok {
		if o.File = file.Name; container {
			o.File = path.Join(optionsInside, file.Name)
		}
	}
	return r.plan.Command(o)
}

// servedName is how requests name the model, as they did when it was measured;
// empty leaves it to the engine.
func (r Recipe) servedName(model string) string {
	name := r.Task.Serving.Benchmark.ModelName
	if name == "" && model != "" && model != r.plan.Model.ID {
		name = r.plan.Model.ID
	}
	return name
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
