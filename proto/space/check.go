package space

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
)

// An Issue is one mistake in a space, with the place to look at.
type Issue struct {
	// Path is like parameters.tile_m.low, constraints[2] or conditions.algo.
	Path    string `json:"path"`
	Message string `json:"message"`
	// Nearest is the valid name closest to a misspelt one.
	Nearest string `json:"nearest,omitempty"`
}

func (i *Issue) Error() string {
	text := i.Path + ": " + i.Message
	if i.Nearest != "" {
		text += fmt.Sprintf(" (nearest is %q)", i.Nearest)
	}
	return text
}

// Bounds on a space.
const (
	maxParameters  = 256
	maxValues      = 65536
	maxConstraints = 256
	maxNameBytes   = 64
	maxTextBytes   = 4096
)

// Check returns every mistake in the space, in the order of the file.
func (s Space) Check() []Issue {
	_, issues := build(s)
	return issues
}

// checker collects issues.
type checker struct{ issues []Issue }

func (c *checker) add(path, format string, args ...any) {
	c.issues = append(c.issues, Issue{Path: path, Message: fmt.Sprintf(format, args...)})
}

func (c *checker) expression(path string, err error) {
	var e *expressionError
	if errors.As(err, &e) {
		c.issues = append(c.issues, Issue{Path: path, Message: e.message, Nearest: e.nearest})
		return
	}
	c.add(path, "%v", err)
}

// build compiles what it can and reports the rest.
func build(s Space) (*Compiled, []Issue) {
	var c checker
	c.limits(s)
	seen := map[string]string{}
	for i := range s.Parameters {
		c.name(i, s.Parameters[i].Name, seen)
		c.parameter(&s.Parameters[i])
	}
	if len(c.issues) > 0 {
		return nil, c.issues
	}
	out := &Compiled{space: s, position: map[string]int{}}
	names := &scope{params: map[string]int{}, coder: &coder{codes: map[any]float64{}}}
	for i, p := range s.Parameters {
		d := p.Domain()
		out.domains = append(out.domains, d)
		out.position[p.Name] = i
		names.params[expressionName(p.Name)] = i
		names.kinds = append(names.kinds, d.kind)
	}
	encodeDomains(out.domains, names.coder)
	c.conditions(out, names)
	c.constraints(out, names)
	return out, c.issues
}

func (c *checker) limits(s Space) {
	if len(s.Parameters) > maxParameters {
		c.add("parameters", "%d parameters are more than the %d allowed", len(s.Parameters), maxParameters)
	}
	if len(s.Constraints) > maxConstraints {
		c.add("constraints", "%d constraints are more than the %d allowed", len(s.Constraints), maxConstraints)
	}
}

func (c *checker) conditions(out *Compiled, names *scope) {
	out.conditions = make([]*Expression, len(out.domains))
	for i, p := range out.space.Parameters {
		if p.When == "" {
			continue
		}
		names.limit = i
		e, err := names.compile(p.When)
		if err != nil {
			c.expression("conditions."+p.Name, err)
			continue
		}
		out.conditions[i] = e
	}
}

func (c *checker) constraints(out *Compiled, names *scope) {
	names.limit = len(out.domains)
	for i, text := range out.space.Constraints {
		e, err := names.compile(text)
		if err != nil {
			c.expression(fmt.Sprintf("constraints[%d]", i), err)
			continue
		}
		out.constraints = append(out.constraints, e)
	}
}

// reserved lists the words that mean something else in an expression.
func reserved() []string {
	return append(Functions(), "true", "false", "nil", "and", "or", "not", "in", "if", "else", "let",
		"matches", "contains", "startsWith", "endsWith")
}

func (c *checker) name(i int, name string, seen map[string]string) {
	path := "parameters." + name
	if name == "" {
		c.add(fmt.Sprintf("parameters[%d]", i), "the parameter has no name")
		return
	}
	if !regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`).MatchString(name) || len(name) > maxNameBytes {
		c.add(path, "a name starts with a letter or _, goes on with letters, digits, _ . and -, and has at most %d bytes", maxNameBytes)
		return
	}
	if slices.Contains(reserved(), name) {
		c.add(path, "%q means something else in expressions; choose another name", name)
	}
	written := expressionName(name)
	if other, ok := seen[written]; ok {
		if other == name {
			c.add(path, "the parameter is defined twice")
		} else {
			c.add(path, "%q and %q would both be written %s in expressions", other, name, written)
		}
	}
	seen[written] = name
}

func (c *checker) parameter(p *Parameter) {
	path := "parameters." + p.Name
	switch p.Type {
	case Choice:
		c.choice(path, p)
	case Boolean:
		c.unused(path, p, true)
	case Integer, Continuous:
		if len(p.Values) > 0 {
			c.add(path+".values", "only a choice lists values")
		}
		c.numeric(path, p)
	default:
		known := []string{string(Choice), string(Integer), string(Continuous), string(Boolean)}
		c.issues = append(c.issues, Issue{Path: path + ".type", Nearest: Nearest(string(p.Type), known),
			Message: fmt.Sprintf("%q is not a type; the types are choice, integer, continuous and boolean", p.Type)})
	}
}

// unused reports settings that have no meaning for the type.
func (c *checker) unused(path string, p *Parameter, values bool) {
	if values && len(p.Values) > 0 {
		c.add(path+".values", "only a choice lists values")
	}
	for _, f := range []struct {
		name string
		set  bool
	}{{"low", p.Low != 0}, {"high", p.High != 0}, {"step", p.Step != 0}, {"log", p.Log}} {
		if f.set {
			c.add(path+"."+f.name, "a %s has no %s", p.Type, f.name)
		}
	}
}

func (c *checker) choice(path string, p *Parameter) {
	c.unused(path, p, false)
	switch {
	case len(p.Values) == 0:
		c.add(path+".values", "a choice needs at least one value")
		return
	case len(p.Values) > maxValues:
		c.add(path+".values", "%d values are more than the %d allowed", len(p.Values), maxValues)
		return
	}
	first := map[any]int{}
	for i, v := range p.Values {
		at := fmt.Sprintf("%s.values[%d]", path, i)
		key := v
		switch value := v.(type) {
		case bool:
		case string:
			if len(value) > maxTextBytes {
				c.add(at, "a text has at most %d bytes", maxTextBytes)
			}
		case int64, float64:
			n := number(v)
			if !finite(n) {
				c.add(at, "%v is not a finite number", v)
				continue
			}
			key = n
		default:
			c.add(at, "a value is a number, a text or a boolean, not %T", v)
			continue
		}
		if at0, ok := first[key]; ok {
			c.add(at, "%s stands in the list already, at %d", show(v), at0)
			continue
		}
		first[key] = i
	}
}

func (c *checker) numeric(path string, p *Parameter) {
	bad := len(c.issues)
	for _, f := range []struct {
		name  string
		value float64
	}{{"low", p.Low}, {"high", p.High}, {"step", p.Step}} {
		switch {
		case !finite(f.value):
			c.add(path+"."+f.name, "%v is not a finite number", f.value)
		case p.Type == Integer && (f.value != math.Trunc(f.value) || math.Abs(f.value) > maxExact):
			c.add(path+"."+f.name, "%v is not a whole number up to 2^53", f.value)
		}
	}
	if len(c.issues) > bad {
		return
	}
	if p.Low > p.High {
		c.add(path+".low", "low %v is above high %v", p.Low, p.High)
	}
	if p.Step < 0 {
		c.add(path+".step", "the step %v is below 0", p.Step)
	} else if p.Step > 0 && p.Low < p.High && p.Step > p.High-p.Low {
		c.add(path+".step", "the step %v is wider than the range %v to %v", p.Step, p.Low, p.High)
	}
	if p.Step > 0 && steps(*p) > maxExact {
		c.add(path+".step", "the step %v is too small for the range", p.Step)
	}
	if p.Log && p.Low <= 0 {
		c.add(path+".low", "a log parameter needs a low above 0, not %v", p.Low)
	}
}
