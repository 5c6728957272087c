package v1

import (
	"time"

	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

// An Insight is what a task's results say about its space and its search.
// Confirmations are left out of all of it.
type Insight struct {
	Task       string           `json:"task"`
	Objective  string           `json:"objective" doc:"metric that the parameters are explained by"`
	Unit       string           `json:"unit" doc:"of that metric; may be empty"`
	Penalised  bool             `json:"penalised" doc:"its values are scores: worse than what was measured where promises are missed"`
	Objectives []task.Objective `json:"objectives" nullable:"false" doc:"in order of importance"`
	Simulated  string           `json:"simulated,omitempty" doc:"the GPU that the figures are simulated for; absent where a real engine is measured"`
	Measured   int              `json:"measured" doc:"successful experiments that were read"`
	Considered int              `json:"considered" doc:"those of them that progress and front come from"`
	Explained  int              `json:"explained" doc:"those of them that the parameters' effects were learned from"`
	Notice     string           `json:"notice" doc:"what is missing or was sampled, and why; may be empty"`
	Parameters []Influence      `json:"parameters" nullable:"false" doc:"the most important first; empty while there are too few results"`
	Progress   []Progress       `json:"progress" nullable:"false" doc:"experiments that were better than all before, and the last one"`
	Front      []Tradeoff       `json:"front,omitempty" doc:"experiments that none beats in every objective, the best in the first one first; with several objectives only"`
	FrontSize  int              `json:"front_size,omitempty" doc:"how many such experiments there are; front may hold fewer"`
	// Hypervolume is absent with one objective.
	Hypervolume *float64  `json:"hypervolume,omitempty" doc:"between the front and the reference, in the product of the objectives' units"`
	Reference   []float64 `json:"reference,omitempty" doc:"the worst value of each objective, which hypervolumes are taken against"`
}

// An Influence says how one parameter acts on the objective.
type Influence struct {
	Name       string  `json:"name"`
	Importance float64 `json:"importance" doc:"share of the predicted variance that the parameter alone explains, 0 to 1"`
	Effect     []Level `json:"effect" nullable:"false" doc:"partial dependence: the predicted objective by value, averaged over the valid points"`
}

// A Level is one value of a parameter, or the first of a range of values.
type Level struct {
	Value    any     `json:"value" doc:"the value; where there are many, the first of a range"`
	Mean     float64 `json:"mean" doc:"predicted objective, in its unit"`
	Measured int     `json:"measured" doc:"explained experiments with this value"`
}

// Progress is the state of a search after one experiment.
type Progress struct {
	Number      int       `json:"number"`
	At          time.Time `json:"at" doc:"when the experiment ended"`
	Best        float64   `json:"best" doc:"best value of the first objective so far"`
	Regret      float64   `json:"regret" doc:"how far that is from the best of all results, in the metric's unit"`
	Hypervolume *float64  `json:"hypervolume,omitempty" doc:"with several objectives only"`
}

// A Tradeoff is an experiment that no other beats in every objective.
type Tradeoff struct {
	Number     int         `json:"number"`
	Parameters space.Point `json:"parameters"`
	Scores     []float64   `json:"scores" nullable:"false" doc:"one value per objective"`
}
