package v1

import "github.com/fleetune/fleetune/proto/space"

// A Comparison puts experiments side by side. Everything is told against the
// first of them.
type Comparison struct {
	Sides       []Side         `json:"sides" nullable:"false"`
	Comparable  bool           `json:"comparable" doc:"whether figures over all cells may be compared: false where a difference blocks it"`
	Notice      string         `json:"notice" doc:"how they were measured, where that matters; may be empty"`
	Differences []Disparity    `json:"differences" nullable:"false" doc:"what differs beside the parameters"`
	Parameters  []Aligned      `json:"parameters" nullable:"false"`
	Metrics     []Contrast     `json:"metrics" nullable:"false" doc:"over all cells of a serving experiment; the objectives first"`
	Cells       []CellContrast `json:"cells" nullable:"false" doc:"serving experiments only"`
}

// A Side is one experiment of a comparison.
type Side struct {
	Of         string      `json:"of" doc:"as it was asked for"`
	Task       string      `json:"task"`
	Number     int         `json:"number"`
	Purpose    string      `json:"purpose"`
	Outcome    string      `json:"outcome"`
	Simulated  string      `json:"simulated" doc:"the GPU that its figures are simulated for; empty where they are measured"`
	Score      *float64    `json:"score" doc:"value of its task's first objective"`
	Parameters space.Point `json:"parameters"`
	Worker     string      `json:"worker"`
	Devices    string      `json:"devices" doc:"their number and models, as far as they are known"`
}

// A Disparity is something that differs between the sides and is no parameter.
type Disparity struct {
	What   string   `json:"what" enum:"kind,command,cells,benchmark,simulated,fidelity,model,engine,version,image,world_size,devices,worker"`
	Values []string `json:"values" nullable:"false" doc:"one for each side; empty where it is not known"`
	Blocks bool     `json:"blocks" doc:"figures over all cells are not compared because of it"`
}

// An Aligned parameter has a value for each side.
type Aligned struct {
	Name   string `json:"name"`
	Values []any  `json:"values" nullable:"false" doc:"one for each side; null where a side does not set it"`
	Same   bool   `json:"same"`
}

// A Contrast is one metric of every side.
type Contrast struct {
	Name      string     `json:"name"`
	Unit      string     `json:"unit"`
	Direction string     `json:"direction" doc:"minimize or maximize; empty where neither is better"`
	Values    []Compared `json:"values" nullable:"false" doc:"one for each side"`
}

// A Compared value is told against the first side's.
type Compared struct {
	Median  *float64 `json:"median" doc:"null where it was not measured"`
	Spread  float64  `json:"spread"`
	Count   int      `json:"count" doc:"number of samples"`
	Change  *float64 `json:"change" doc:"share by which it lies above the first side's; null where that says nothing"`
	Ratio   *float64 `json:"ratio" doc:"above 1 is better, or more where neither is better; null where nothing is claimed"`
	Low     *float64 `json:"low" doc:"lower end of the ratio's interval"`
	High    *float64 `json:"high" doc:"upper end of the ratio's interval"`
	Verdict string   `json:"verdict" enum:"base,better,worse,more,less,within_noise,unproven,incomparable,missing" doc:"unproven: fewer than three samples on a side, or no positive values"`
}

// A CellContrast is one cell of every side.
type CellContrast struct {
	Scenario    string     `json:"scenario"`
	Concurrency int        `json:"concurrency"`
	Missing     []string   `json:"missing" nullable:"false" doc:"why a side has no metrics here; empty where it has"`
	Metrics     []Contrast `json:"metrics" nullable:"false"`
}
