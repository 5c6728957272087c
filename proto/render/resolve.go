package render

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fleetune/fleetune/proto/render/placeholder"
)

// Resolve fills in the builtins. One that has no value in this step, such as
// EXP_RESULT_PATH in a build, is an error unless it has a fallback.
func (a Argv) Resolve(builtins map[string]string) ([]string, error) {
	out := make([]string, 0, len(a))
	for i, segments := range a {
		s, err := Resolve(segments, builtins)
		if err != nil {
			return nil, fmt.Errorf("argv[%d]: %w", i, err)
		}
		out = append(out, s)
	}
	return out, nil
}

// Resolve fills in the builtins of one text.
func Resolve(segments []placeholder.Segment, builtins map[string]string) (string, error) {
	var b strings.Builder
	for _, s := range segments {
		value, ok := builtins[s.Name]
		switch {
		case s.Name == "":
			b.WriteString(s.Text)
		case ok:
			b.WriteString(value)
		case s.Fallback:
			b.WriteString(s.Text)
		default:
			return "", fmt.Errorf("%w: {{%s}} has no value in this step", ErrRender, s.Name)
		}
	}
	return b.String(), nil
}

// Shell writes the argument list as a line for a POSIX shell, builtins as
// variables, so that a user can read it and paste it.
func (a Argv) Shell() string {
	words := make([]string, 0, len(a))
	for _, segments := range a {
		words = append(words, shellArgument(segments))
	}
	return strings.Join(words, " ")
}

// shellArgument quotes one argument; inside double quotes variables are open.
func shellArgument(segments []placeholder.Segment) string {
	var text strings.Builder
	open := false
	for _, s := range segments {
		open = open || s.Name != ""
	}
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`, "`", "\\`")
	for _, s := range segments {
		switch {
		case s.Name != "":
			text.WriteString("${" + s.Name + "}")
		case open:
			text.WriteString(escape.Replace(s.Text))
		default:
			text.WriteString(s.Text)
		}
	}
	if open {
		return `"` + text.String() + `"`
	}
	return shellWord(text.String())
}

// Preview writes the commands of a rendering, one a line, as the command line
// shows them before a task is submitted.
func (r *Rendering) Preview() string {
	var b strings.Builder
	for _, s := range []struct {
		name string
		step *Step
	}{{"build", r.Build}, {"inputs", r.Inputs}, {"check", r.Check}, {"reference", r.Reference}, {"run", r.Run}} {
		if s.step != nil {
			fmt.Fprintf(&b, "%-10s %s\n", s.name, s.step.Argv.Shell())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Env)) {
		fmt.Fprintf(&b, "%-10s %s=%s\n", "env", name, Argv{r.Env[name]}.Shell())
	}
	return b.String()
}

// ShellLine writes words as a line for a POSIX shell.
func ShellLine(words []string) string {
	argv := make(Argv, len(words))
	for i, word := range words {
		argv[i] = []placeholder.Segment{{Text: word}}
	}
	return argv.Shell()
}
