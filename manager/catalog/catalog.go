// Package catalog tells what is known of the inference engines: their versions,
// arguments and presets, as documents for the API and the command line.
package catalog

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/shared/engine"
)

// ErrUnknown says that there is no such engine, version or argument. Where one
// was probably meant, the error is an *Unknown.
var ErrUnknown = errors.New("unknown")

// An Unknown name, with what was probably meant.
type Unknown struct {
	Message string
	Nearest string
	// Next says what lists those there are.
	Next string
}

func (u *Unknown) Error() string {
	if u.Nearest == "" {
		return u.Message
	}
	return fmt.Sprintf("%s: did you mean %q?", u.Message, u.Nearest)
}

// Is makes every Unknown an ErrUnknown.
func (u *Unknown) Is(target error) bool { return target == ErrUnknown }

// Engines lists the engines at the newest version that is known of each.
func Engines() ([]v1.Engine, error) {
	list := []v1.Engine{}
	for _, name := range engine.Names() {
		e, err := lookup(name, "")
		if err != nil {
			return nil, err
		}
		list = append(list, document(e))
	}
	return list, nil
}

// Engine describes an engine; without a version the newest that is known.
func Engine(name, version string) (v1.Engine, error) {
	e, err := lookup(name, version)
	if err != nil {
		return v1.Engine{}, err
	}
	return document(e), nil
}

// A Filter narrows a list of arguments.
type Filter struct {
	// Tuned leaves only what is commonly tuned.
	Tuned bool
	// Search is a part of the name or of an alias.
	Search string
}

// Arguments lists those of an engine by name.
func Arguments(name, version string, f Filter) (v1.Arguments, error) {
	e, err := lookup(name, version)
	if err != nil {
		return v1.Arguments{}, err
	}
	d := v1.Arguments{Engine: e.Name(), Version: e.Version(), Items: []v1.Argument{}}
	part := plain(f.Search)
	for _, flag := range e.Flags() {
		named := func(n string) bool { return strings.Contains(plain(n), part) }
		if f.Tuned && !flag.Tuned || !named(flag.Name) && !slices.ContainsFunc(flag.Aliases, named) {
			continue
		}
		d.Items = append(d.Items, argument(e, flag))
	}
	return d, nil
}

// Argument finds one by its name or an alias.
func Argument(name, version, wanted string) (v1.Argument, error) {
	e, err := lookup(name, version)
	if err != nil {
		return v1.Argument{}, err
	}
	flag, ok := e.Flag(wanted)
	if !ok {
		found := e.Check(&task.Serving{}, space.Space{Parameters: []space.Parameter{{Name: wanted, Type: space.Boolean}}})
		u := &Unknown{Message: fmt.Sprintf("%q is no argument of %s %s", wanted, e.Name(), e.Version()),
			Next: fmt.Sprintf("fleetune engines %s --all lists those there are", e.Name())}
		for _, f := range found {
			if _, whose, ok := strings.Cut(f.Expected, "; "); ok {
				u.Message += "; " + whose
			}
			u.Nearest = f.Nearest
		}
		return v1.Argument{}, u
	}
	return argument(e, flag), nil
}

func lookup(name, version string) (*engine.Engine, error) {
	e, err := engine.Lookup(name)
	if err == nil {
		e, err = e.At(version)
	}
	if err != nil {
		return nil, &Unknown{Message: err.Error(), Next: "fleetune engines lists engines and versions"}
	}
	return e, nil
}

func document(e *engine.Engine) v1.Engine {
	d := v1.Engine{Name: e.Name(), Version: e.Version(), Versions: e.Versions(), Source: e.Source(), Image: e.Image(&task.Serving{}),
		QuantPresets: engine.QuantPresets(), ParallelPresets: e.ParallelPresets(), QuantFields: fields(engine.QuantFields()), ParallelFields: fields(e.ParallelFields()),
		Simulated: e.Simulated()}
	for _, flag := range e.Flags() {
		d.Total++
		if flag.Tuned {
			d.Tuned++
		}
	}
	return d
}

func fields(list []engine.Field) []v1.Field {
	out := make([]v1.Field, len(list))
	for i, f := range list {
		out[i] = v1.Field{Name: f.Name, Values: orEmpty(f.Values)}
	}
	return out
}

func argument(e *engine.Engine, f engine.Flag) v1.Argument {
	first, last := e.Span(f.Name)
	return v1.Argument{First: first, Last: last, Name: f.Name, Aliases: orEmpty(f.Aliases), Type: string(f.Type), Default: f.Default, Choices: orEmpty(f.Choices),
		Open: f.Open, Low: f.Low, High: f.High, Tuned: f.Tuned, File: f.File, Reserved: e.Reserved(f.Name), Deprecated: f.Deprecated}
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// plain is what all spellings of a name have in common.
func plain(name string) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimLeft(name, "-")), "_", "-")
}
