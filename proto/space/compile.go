package space

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// A Compiled space has its domains laid out and its expressions compiled. It
// is immutable and safe for concurrent use.
type Compiled struct {
	space       Space
	domains     []Domain
	position    map[string]int
	conditions  []*Expression // nil where the parameter always exists
	constraints []*Expression
}

// Compile checks the space and prepares it. The error joins every issue.
func Compile(s Space) (*Compiled, error) {
	c, issues := build(s)
	if len(issues) == 0 {
		return c, nil
	}
	errs := make([]error, len(issues))
	for i := range issues {
		errs[i] = &issues[i]
	}
	return nil, fmt.Errorf("compiling the space: %w", errors.Join(errs...))
}

// Space returns what was compiled.
func (c *Compiled) Space() Space { return c.space }

// Len is the number of parameters.
func (c *Compiled) Len() int { return len(c.domains) }

// Domain returns the domain of the parameter at a position.
func (c *Compiled) Domain(i int) *Domain { return &c.domains[i] }

// Position finds a parameter by name.
func (c *Compiled) Position(name string) (int, bool) {
	i, ok := c.position[name]
	return i, ok
}

// Condition returns the condition of a parameter, nil when it always exists.
func (c *Compiled) Condition(i int) *Expression { return c.conditions[i] }

// Constraints returns the compiled constraints in order.
func (c *Compiled) Constraints() []*Expression { return c.constraints }

// Quantities returns the numbers that constraints compute from several
// parameters, each once, in the order of the constraints.
func (c *Compiled) Quantities() []Quantity {
	var out []Quantity
	for _, e := range c.constraints {
		for _, q := range e.quantities {
			if !slices.ContainsFunc(out, func(o Quantity) bool { return o.source == q.source }) {
				out = append(out, q)
			}
		}
	}
	return out
}

// Exists decides whether parameter i exists, given the coordinates of the
// parameters before it. One that depends on an absent parameter does not.
func (c *Compiled) Exists(i int, coords []float64) bool {
	e := c.conditions[i]
	return e == nil || e.Present(coords) && e.Holds(coords)
}

// Coord is the coordinate that expressions see for a rank of parameter i.
func (c *Compiled) Coord(i int, rank float64) float64 {
	d := &c.domains[i]
	if d.numbers != nil {
		return d.numbers[int(rank)]
	}
	return d.number(rank)
}

// Coords gives the coordinates of a point for expressions, and its ranks
// (continuous values as they are), absent parameters marked by Absent. The
// error names the first parameter that is missing, superfluous or outside its
// domain. Constraints are not checked.
func (c *Compiled) Coords(p Point) (coords, ranks []float64, err error) {
	coords = make([]float64, len(c.domains))
	ranks = make([]float64, len(c.domains))
	present := 0
	for i := range c.domains {
		name := c.space.Parameters[i].Name
		value, given := p[name]
		exists := c.Exists(i, coords)
		switch {
		case !exists && given:
			return nil, nil, fmt.Errorf("%s does not exist here: its condition %q is false", name, c.space.Parameters[i].When)
		case !exists:
			coords[i], ranks[i] = Absent(), Absent()
			continue
		case !given:
			return nil, nil, fmt.Errorf("%s is missing", name)
		}
		rank, err := c.domains[i].Rank(value)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", name, err)
		}
		ranks[i], coords[i] = rank, c.Coord(i, rank)
		present++
	}
	if present < len(p) {
		for name := range p {
			if _, ok := c.position[name]; !ok {
				return nil, nil, fmt.Errorf("no parameter is named %q%s", name, hint(name, c.names()))
			}
		}
	}
	return coords, ranks, nil
}

func hint(name string, known []string) string {
	if n := Nearest(name, known); n != "" {
		return fmt.Sprintf(" (nearest is %q)", n)
	}
	return ""
}

func (c *Compiled) names() []string {
	names := make([]string, len(c.space.Parameters))
	for i, p := range c.space.Parameters {
		names[i] = p.Name
	}
	return names
}

// Violated returns the first constraint the coordinates break, nil for none.
func (c *Compiled) Violated(coords []float64) *Expression {
	for _, e := range c.constraints {
		if e.Present(coords) && !e.Holds(coords) {
			return e
		}
	}
	return nil
}

// Point turns ranks (as Coords gives them) into a point.
func (c *Compiled) Point(ranks []float64) Point {
	p := make(Point, len(ranks))
	for i, rank := range ranks {
		if !IsAbsent(rank) {
			p[c.space.Parameters[i].Name] = c.domains[i].Value(rank)
		}
	}
	return p
}

// Normalize turns decoded values into the domains' own values and types (an
// integer parameter given as 8.0 becomes int64 8). The error says what lies
// outside the domains; constraints are not checked.
func (c *Compiled) Normalize(p Point) (Point, error) {
	_, ranks, err := c.Coords(p)
	if err != nil {
		return nil, err
	}
	return c.Point(ranks), nil
}

// Contains reports why a point is not in the space, nil when it is.
func (c *Compiled) Contains(p Point) error {
	coords, _, err := c.Coords(p)
	if err != nil {
		return err
	}
	if e := c.Violated(coords); e != nil {
		return fmt.Errorf("the constraint %q does not hold", e.source)
	}
	return nil
}

// Normalize is Compiled.Normalize for a single point.
func (s Space) Normalize(p Point) (Point, error) {
	c, err := Compile(s)
	if err != nil {
		return nil, err
	}
	return c.Normalize(p)
}

// Contains is Compiled.Contains for a single point.
func (s Space) Contains(p Point) error {
	c, err := Compile(s)
	if err != nil {
		return err
	}
	return c.Contains(p)
}

// Key is the canonical text of a normalised point: its JSON with the
// parameters in the order of the space. Equal points have equal keys.
func (s Space) Key(p Point) string {
	names := make([]string, len(s.Parameters))
	for i := range s.Parameters {
		names[i] = s.Parameters[i].Name
	}
	text, err := p.encode(names)
	if err != nil { // only NaN and infinity, which no domain holds
		return ""
	}
	return string(text)
}

// Equal compares two points value by value, numbers by amount.
func (p Point) Equal(q Point) bool {
	if len(p) != len(q) {
		return false
	}
	for name, a := range p {
		b, ok := q[name]
		if !ok || !equal(a, b) {
			return false
		}
	}
	return true
}

// expressionName is how a parameter is written in expressions: a minus or a
// dot, which would be operators there, becomes an underscore.
func expressionName(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r == '.' {
			return '_'
		}
		return r
	}, name)
}

// encodeDomains fills in the coordinates of listed values.
func encodeDomains(domains []Domain, codes *coder) {
	for i := range domains {
		d := &domains[i]
		if d.values == nil {
			continue
		}
		d.numbers = make([]float64, len(d.values))
		for k, v := range d.values {
			d.numbers[k] = codes.encode(v, d.kind)
		}
	}
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
