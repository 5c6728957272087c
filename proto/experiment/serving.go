package experiment

// Serving is what a serving experiment measured and on what. The metrics of
// the measurement are aggregated over its cells, in the units there.
type Serving struct {
	// Cells in the order of the task's fixed set: a cell that could not be
	// measured is there too and says why.
	Cells []Cell `json:"cells"`
	// Reference holds the baseline's cells; confirmations only.
	Reference []Cell `json:"reference,omitempty"`
	// Simulated names the hardware that was simulated; empty where the
	// engine was a real one.
	Simulated string `json:"simulated,omitempty"`
	// WorldSize is the number of devices that the engine used.
	WorldSize int `json:"world_size"`
	// Command is the engine's full command line, secrets left out.
	Command []string `json:"command"`
	// ModelPath is where the model lay on the worker's node; empty where the
	// engine fetched it.
	ModelPath string `json:"model_path,omitempty"`
	// Image and its digest, where a container ran.
	Image       string `json:"image,omitempty"`
	ImageDigest string `json:"image_digest,omitempty"`
	// Version that the engine told.
	Version string `json:"version,omitempty"`
	// Effective settings as the engine told them, which may differ from what
	// was asked for.
	Effective map[string]string `json:"effective,omitempty"`
	// Notes say what was suppressed or replaced on the way to the command.
	Notes []string `json:"notes,omitempty"`
	// LoadSeconds from the start of the engine until it served.
	LoadSeconds float64 `json:"load_s"`
	// Launches of the experiment in their order: one, but for confirmations and
	// for ports that were taken.
	Launches []Launch `json:"launches,omitempty"`
}

// A Launch is one start of an engine.
type Launch struct {
	// Side is candidate, or baseline in a confirmation.
	Side string `json:"side"`
	// Log is the stream of the engine's output.
	Log string `json:"log"`
	// Command is the full command line, secrets left out.
	Command []string `json:"command"`
	// LoadSeconds until it served; 0 where it never did.
	LoadSeconds float64 `json:"load_s"`
}

// A Cell is one traffic scenario at one concurrency, measured or missing.
type Cell struct {
	Scenario    string `json:"scenario"`
	Concurrency int    `json:"concurrency"`
	// Missing says why there are no metrics; empty where there are.
	Missing string `json:"missing,omitempty"`
	// Metrics by the same names and units as in the measurement; one sample
	// for every repeat.
	Metrics  map[string]Metric `json:"metrics,omitempty"`
	Requests int               `json:"requests"`
	Errors   int               `json:"errors"`
	// ErrorsByClass counts errors by what went wrong.
	ErrorsByClass map[string]int `json:"errors_by_class,omitempty"`
}
