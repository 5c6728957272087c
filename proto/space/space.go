// Package space describes what a task may vary: its parameters with their
// domains, the conditions under which a parameter exists, and the constraints
// a point must meet. It holds definitions only; enumerating, counting and
// sampling the valid points is the work of manager/search.
package space

// Type is the kind of domain a parameter has.
type Type string

// The domain types. A choice whose values are numbers in strictly increasing
// order is ordinal: samplers may use the order.
const (
	Choice     Type = "choice"
	Integer    Type = "integer"
	Continuous Type = "continuous"
	Boolean    Type = "boolean"
)

// A Parameter is one axis of the space.
type Parameter struct {
	Name string `json:"name"`
	Type Type   `json:"type"`
	// Values lists a choice in the order of the task file. Each is a bool,
	// int64, float64 or string. Empty for the other types.
	Values []any `json:"values,omitempty"`
	// Low and High bound an integer or continuous parameter, both included.
	Low  float64 `json:"low,omitempty"`
	High float64 `json:"high,omitempty"`
	// Step, when above 0, restricts values to Low + k*Step.
	Step float64 `json:"step,omitempty"`
	// Log says that ratios matter, not differences; Low must then be above 0.
	Log bool `json:"log,omitempty"`
	// When is the condition under which the parameter exists: an expression
	// over parameters that stand before it. Empty means always.
	When string `json:"when,omitempty"`
}

// A Space is the set of points a task may measure.
type Space struct {
	// Parameters in the order of the task file; grid search varies the last
	// one fastest.
	Parameters []Parameter `json:"parameters"`
	// Constraints are boolean expressions that every point must meet. One that
	// names a parameter the point does not have (its condition is false) holds.
	Constraints []string `json:"constraints,omitempty"`
}

// A Point assigns a value to every parameter that exists under its conditions.
// Values are bool, int64, float64 or string.
type Point map[string]any
