package engine

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

// A Finding is one mistake, or likely mistake, in what a task asks of an
// engine.
type Finding struct {
	// Path of the value in the task, as in parameters.tp-size.
	Path string
	// Message says what is wrong, Expected what would be right, and Nearest
	// what was probably meant.
	Message  string
	Expected string
	Nearest  string
	// Warning says that the task means something all the same.
	Warning bool
}

// Reserved says whether an argument is Fleetune's own, and no parameter of a
// task.
func (e *Engine) Reserved(name string) bool {
	list := []string{"host", "port", "model", "model-path", "served-model-name", "api-key"}
	if e.Name() == LlamaCpp {
		list = append(list, "alias", "hf-repo", "model-url")
	}
	return slices.Contains(list, spelling(name))
}

// Check finds what the engine would not take: unknown flags, values of the
// wrong type, values of axes that mean nothing. Whether values go together is
// for Plan.
func (e *Engine) Check(s *task.Serving, sp space.Space) []Finding {
	var found []Finding
	canonical := map[string]string{}
	for _, p := range sp.Parameters {
		at := "parameters." + p.Name
		switch {
		case !task.IsArgument(p.Name):
			found = append(found, e.checkAxis(at, p)...)
			continue
		case e.Reserved(p.Name):
			found = append(found, Finding{Path: at, Message: fmt.Sprintf("--%s is set by Fleetune", spelling(p.Name))})
			continue
		}
		flag, negated := e.flags.find(p.Name)
		if flag == nil {
			found = append(found, e.unknown(at, p.Name))
			continue
		}
		if negated {
			found = append(found, Finding{Path: at, Warning: true, Message: fmt.Sprintf("is the negative form of --%s", flag.Name), Expected: flag.Name + " with true and false"})
		}
		if other, ok := canonical[flag.Name]; ok && p.When == "" {
			found = append(found, Finding{Path: at, Message: fmt.Sprintf("is the same argument as %s", other), Expected: "one of the two"})
		}
		canonical[flag.Name] = p.Name
		if flag.Deprecated != "" {
			found = append(found, Finding{Path: at, Warning: true, Message: fmt.Sprintf("is deprecated in %s %s", e.Name(), e.Version()), Expected: flag.Deprecated})
		}
		found = append(found, e.checkValues(at, flag, p)...)
	}
	return found
}

// unknown is a finding for a flag that the version does not have; it says so
// where another version or another engine has it.
func (e *Engine) unknown(at, name string) Finding {
	// A warning: the engine that is started may be of another version.
	f := Finding{Path: at, Warning: true, Message: fmt.Sprintf("is no argument of %s %s", e.Name(), e.Version()), Nearest: space.Nearest(spelling(name), e.flags.names())}
	if first, last := e.Span(name); first != "" {
		when := "this one came later, " + first + " has it"
		if compareVersions(last, e.Version()) < 0 {
			when = "this one was given up after " + last
		}
		f.Expected = fmt.Sprintf("an argument of %s; %s", e.Version(), when)
		if now := renamed()[spelling(name)]; e.flags.has(now) {
			f.Nearest = now
		}
		return f
	}
	for _, other := range Names() {
		list := tables(other)
		if other != e.Name() && list[len(list)-1].has(name) {
			f.Expected = fmt.Sprintf("an argument of %s; this one is %s's", e.Name(), other)
			if own := e.counterpart(other, name); own != "" {
				f.Nearest = own
			}
			return f
		}
	}
	return f
}

func (e *Engine) checkValues(at string, flag *Flag, p space.Parameter) []Finding {
	values := p.Values
	switch p.Type {
	case space.Boolean:
		values = []any{true}
	case space.Integer:
		values = []any{int64(p.Low), int64(p.High)}
	case space.Continuous:
		values = []any{p.Low, p.High}
	case space.Choice:
	}
	var found []Finding
	for i, value := range values {
		if value == task.Omitted {
			continue
		}
		if f, ok := e.checkValue(flag, value); ok {
			f.Path = at
			if p.Type == space.Choice && len(values) > 1 {
				f.Path = fmt.Sprintf("%s[%d]", at, i)
			}
			found = append(found, f)
		}
	}
	return found
}

// checkValue says what is wrong with one value; false where nothing is.
func (e *Engine) checkValue(flag *Flag, value any) (Finding, bool) {
	text := word(value)
	_, isBool := truth(value)
	wrong := func(expected string) (Finding, bool) {
		return Finding{Message: fmt.Sprintf("has the value %q", text), Expected: expected}, true
	}
	if isBool && slices.Contains(flag.Choices, "on") {
		return Finding{}, false
	}
	switch flag.Type {
	case Switch, Toggle:
		if !isBool {
			return wrong("true or false: the flag stands alone")
		}
		return Finding{}, false
	case Integer, Number:
		n, ok := e.amount(text)
		switch {
		case !ok:
			return wrong("a number")
		case flag.Type == Integer && n != math.Trunc(n):
			return wrong("a whole number")
		case flag.Low != nil && n < *flag.Low:
			return wrong(fmt.Sprintf("%v or more", *flag.Low))
		case flag.High != nil && n > *flag.High:
			return wrong(fmt.Sprintf("%v or less", *flag.High))
		}
	case List:
		return Finding{}, false
	case JSON:
		// Some take a word or a number instead.
		if (strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[")) && !json.Valid([]byte(text)) {
			return wrong("JSON")
		}
	case Text:
	}
	if len(flag.Choices) == 0 {
		if _, ok := value.(bool); ok {
			return wrong("a value: the flag does not stand alone")
		}
		return Finding{}, false
	}
	if !slices.ContainsFunc(flag.Choices, func(c string) bool { return sameValue(c, text) }) {
		f, _ := wrong("one of " + strings.Join(flag.Choices, ", "))
		f.Warning = flag.Open
		if !isNumber(text) {
			f.Nearest = space.Nearest(text, flag.Choices)
		}
		return f, true
	}
	return Finding{}, false
}

// amount reads a number; vLLM also takes 8k for 8000, 8K for 8192, and auto.
func (e *Engine) amount(text string) (float64, bool) {
	if n, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(n) && !math.IsInf(n, 0) {
		return n, true
	}
	if e.Name() != VLLM || text == "" {
		return 0, false
	}
	if text == "auto" {
		return -1, true
	}
	scale, ok := map[byte]float64{'k': 1e3, 'm': 1e6, 'g': 1e9, 'K': 1 << 10, 'M': 1 << 20, 'G': 1 << 30}[text[len(text)-1]]
	n, err := strconv.ParseFloat(text[:len(text)-1], 64)
	return math.Trunc(n * scale), ok && err == nil
}

func (e *Engine) checkAxis(at string, p space.Parameter) []Finding {
	var fields []Field
	name := p.Name
	switch {
	case strings.HasPrefix(name, task.PrefixQuant):
		fields, name = append(QuantFields(), Field{task.ParameterPreset, QuantPresets()}), strings.TrimPrefix(name, task.PrefixQuant)
	case strings.HasPrefix(name, task.PrefixParallel):
		fields, name = append(e.ParallelFields(), Field{task.ParameterPreset, e.ParallelPresets()}), strings.TrimPrefix(name, task.PrefixParallel)
	default:
		return nil
	}
	i := slices.IndexFunc(fields, func(f Field) bool { return f.Name == name })
	if i < 0 {
		return []Finding{{Path: at, Warning: true, Message: fmt.Sprintf("has no effect on %s %s", e.Name(), e.Version())}}
	}
	var found []Finding
	degree := strings.HasPrefix(p.Name, task.PrefixParallel) && name != task.ParameterPreset && name != "enable_expert_parallel"
	for _, value := range p.Values {
		text := word(value)
		if value == task.Omitted || slices.Contains(fields[i].Values, text) {
			continue
		}
		f := Finding{Path: at, Message: fmt.Sprintf("has the value %q", text), Expected: "one of " + strings.Join(fields[i].Values, ", ")}
		if !degree {
			f.Nearest = space.Nearest(text, fields[i].Values)
		} else if n, err := strconv.Atoi(text); err == nil && n > 0 {
			f.Warning = true
			f.Expected = "usually " + strings.Join(fields[i].Values, ", ") + ": attention heads have to divide by it"
		}
		found = append(found, f)
	}
	return found
}
