package v1

// A Serving is what an attempt of a serving experiment measured, cell by cell,
// and on what.
type Serving struct {
	Cells       []Cell            `json:"cells" nullable:"false" doc:"in the order of the task's fixed set; one that could not be measured is there and says why"`
	Reference   []Cell            `json:"reference,omitempty" doc:"the baseline's cells, measured in alternation; confirmations only"`
	Simulated   string            `json:"simulated" doc:"the GPU that was simulated; empty where the engine was a real one"`
	WorldSize   int               `json:"world_size" doc:"devices that the engine used"`
	Command     []string          `json:"command" nullable:"false" doc:"the engine's command line, secrets left out"`
	ModelPath   string            `json:"model_path" doc:"where the model lay on the worker's node; empty where the engine fetched it"`
	Image       string            `json:"image" doc:"container image; empty where none ran"`
	ImageDigest string            `json:"image_digest" doc:"of that image; may be empty"`
	Version     string            `json:"version" doc:"of the engine, as it told; may be empty"`
	Effective   map[string]string `json:"effective" nullable:"false" doc:"settings as the engine told them, which may differ from what was asked for"`
	Notes       []string          `json:"notes" nullable:"false" doc:"what was suppressed or replaced on the way to the command"`
	LoadSeconds float64           `json:"load_s" doc:"from the start of the engine until it served, in seconds"`
	Launches    []Launch          `json:"launches" nullable:"false" doc:"starts of an engine, in their order; several in a confirmation"`
}

// A Launch is one start of an engine.
type Launch struct {
	Side        string   `json:"side" enum:"candidate,baseline"`
	Log         string   `json:"log" doc:"stream of the engine's output"`
	Command     []string `json:"command" nullable:"false" doc:"its command line, secrets left out"`
	LoadSeconds float64  `json:"load_s" doc:"until it served, in seconds; 0 where it never did"`
}

// A Cell is one traffic scenario at one concurrency, measured or missing.
type Cell struct {
	Scenario      string             `json:"scenario"`
	Concurrency   int                `json:"concurrency"`
	Missing       string             `json:"missing" doc:"why there are no metrics; empty where there are"`
	Metrics       map[string]Sampled `json:"metrics" nullable:"false" doc:"one sample for every repeat"`
	Requests      int                `json:"requests"`
	Errors        int                `json:"errors"`
	ErrorsByClass map[string]int     `json:"errors_by_class" nullable:"false"`
	Promises      []Promise          `json:"promises" nullable:"false" doc:"the terms of the task's SLO in this cell; empty without an SLO"`
}

// A Promise is one term of the SLO in one cell.
type Promise struct {
	Metric    string  `json:"metric"`
	Threshold float64 `json:"threshold" doc:"in seconds"`
	Actual    float64 `json:"actual" doc:"in seconds"`
	Margin    float64 `json:"margin" doc:"above the threshold as a share of it; negative where the promise is kept"`
	Severity  string  `json:"severity" enum:"kept,minor,severe,broken" doc:"kept, missed by at most a fifth, by more, or beyond a hard limit"`
}
