package form

// Records say what a task's measurements are measurements of, so that others
// find them, and which earlier ones serve this task.
type Records struct {
	// What is tuned; the task's name unless told otherwise. Tasks with the same
	// operation learn from each other.
	Operation string `json:"operation,omitempty" jsonschema:"pattern=^[A-Za-z0-9][A-Za-z0-9_./:-]*$,maxLength=200" expected:"letters, digits and _ . / : -, as in \"gemm\""`
	// Meaning of the operation; measurements of another version are never mixed in.
	Version Word `json:"version,omitempty" jsonschema:"maxLength=64"`
	// What else sets its runner apart, as in {layout: 8x4, bias: true}.
	Extras Options `json:"extras,omitempty" jsonschema:"maxItems=64"`
	// What the operation works on: shapes, types, a model, as in {m: 4096, dtype: fp16}.
	Workload Options `json:"workload,omitempty" jsonschema:"maxItems=64"`
	// Labels of the worker that measurements depend on, as in [cuda, cudnn];
	// devices and driver always count.
	Environment Texts `json:"environment,omitempty" jsonschema:"maxItems=32"`
	// exact answers an experiment from a record of the very same measurement.
	Reuse string `json:"reuse,omitempty" jsonschema:"enum=off,enum=exact,default=off"`
	// related starts the search at the best points of similar tasks.
	Transfer string `json:"transfer,omitempty" jsonschema:"enum=off,enum=related,default=off"`
}
