// Package preset holds named sets of engine parameters that tasks start from:
// those that come with Fleetune, those that users add, and the rules by which
// several are merged into one.
package preset

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/fleetune/fleetune/shared/engine"
)

// A Preset is a named set of parameters with the values worth trying.
type Preset struct {
	// Slug names the preset in addresses and commands: its name in lower-case
	// letters, digits and dashes.
	Slug        string
	Name        string
	Description string
	// Category groups presets for people, as in performance or memory.
	Category string
	// Runtime is the engine that the parameters are of; empty is any.
	Runtime    string
	Parameters Parameters
	// Metadata is the writer's own.
	Metadata map[string]json.RawMessage
	// System presets come with Fleetune: they can be read, copied and merged,
	// and neither changed nor deleted.
	System    bool
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Errors that callers act upon.
var (
	// ErrInvalid says that a preset is none.
	ErrInvalid = errors.New("not a preset")
	// ErrUnmergeable says that presets make nothing together.
	ErrUnmergeable = errors.New("these presets cannot be merged")
	// ErrProtected says that a preset comes with Fleetune.
	ErrProtected = errors.New("this preset comes with Fleetune and stays as it is")
)

// Bounds on a preset.
const (
	maxName       = 100
	maxText       = 4000
	maxParameters = 256
	maxValues     = 1000
)

var notSlug = regexp.MustCompile(`[^a-z0-9]+`)

// Slug is how a preset of that name is addressed.
func Slug(name string) string {
	return strings.Trim(notSlug.ReplaceAllString(strings.ToLower(name), "-"), "-")
}

// Check finds everything that is wrong with a preset, fills in its slug and
// calls its engine by name.
// The error wraps ErrInvalid.
func (p *Preset) Check() error {
	var wrong []error
	p.Slug = Slug(p.Name)
	switch {
	case p.Slug == "":
		wrong = append(wrong, errors.New("name: needs a letter or a digit"))
	case len(p.Name) > maxName:
		wrong = append(wrong, fmt.Errorf("name: has %d bytes; expected at most %d", len(p.Name), maxName))
	}
	for field, text := range map[string]string{"description": p.Description, "category": p.Category, "runtime": p.Runtime} {
		if len(text) > maxText {
			wrong = append(wrong, fmt.Errorf("%s: has %d bytes; expected at most %d", field, len(text), maxText))
		}
	}
	if p.Runtime != "" {
		e, err := engine.Lookup(p.Runtime)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("runtime: %w", err))
		} else {
			p.Runtime = e.Name()
		}
	}
	wrong = append(wrong, p.Parameters.check()...)
	if err := errors.Join(wrong...); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}
