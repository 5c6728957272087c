package form

import "github.com/fleetune/fleetune/proto/task/internal/document"

// Stop says when a search ends before max_iterations: at the first of the
// limits that is reached. What runs then ends in peace, and the leaders are
// measured again.
type Stop struct {
	// How long to choose new experiments, from the first one on.
	Time Timeout `json:"time,omitempty"`
	// How many hours of devices to use.
	DeviceHours float64 `json:"device_hours,omitempty" jsonschema:"minimum=0,maximum=100000000"`
	// How much to spend, in the currency of cost_per_device_hour.
	Cost float64 `json:"cost,omitempty" jsonschema:"minimum=0,maximum=1000000000000"`
	// When the last so many experiments brought no improvement.
	Plateau *Plateau `json:"plateau,omitempty"`
	// When no point is expected to improve the incumbent by this part of it any
	// more, as in 0.01; for samplers with a model: gp and bayesian.
	ExpectedImprovement float64 `json:"expected_improvement,omitempty" jsonschema:"minimum=0,maximum=1"`
}

// Plateau says when a search has come to rest.
type Plateau struct {
	// How many experiments without an improvement.
	Experiments int64 `json:"experiments" jsonschema:"minimum=1,maximum=1000000" expected:"how many experiments without an improvement, as in 40"`
	// What counts as an improvement, in parts of the incumbent's score.
	MinImprovement float64 `json:"min_improvement,omitempty" jsonschema:"minimum=0,maximum=1,default=0.001"`
}

// A Racing is a RacingForm, or true for its defaults.
type Racing struct {
	RacingForm
	On bool
}

// RacingForm says when an experiment is given up as surely worse.
type RacingForm struct {
	// How sure the manager must be, over all looks at one experiment together.
	Confidence float64 `json:"confidence,omitempty" jsonschema:"minimum=0.5,maximum=0.999999,default=0.99"`
	// How many samples to wait for.
	MinSamples int64 `json:"min_samples,omitempty" jsonschema:"minimum=2,maximum=100000,default=3"`
}

// The defaults of RacingForm.
const (
	racingConfidence = 0.99
	racingSamples    = 3
)

// BindNode reads true, false or a mapping.
func (r *Racing) BindNode(b *document.Binder, n *document.Node, at string) {
	switch n.Kind {
	case document.Map:
		r.On = true
		b.Bind(n, at, &r.RacingForm)
	case document.Bool:
		r.On = n.Value() == true
		r.RacingForm = RacingForm{Confidence: racingConfidence, MinSamples: racingSamples}
	default:
		b.Mismatch(n, at, "true, or a mapping with confidence and min_samples")
	}
}

// Fidelity names what makes an experiment cheaper and rougher: a duration, a
// number of requests, a problem size. asha and hyperband measure many
// configurations at little of it and the promising ones at more.
type Fidelity struct {
	// Its name, for {{NAME}} placeholders.
	Name string `json:"name" jsonschema:"pattern=^[A-Za-z_][A-Za-z0-9_.-]*$,maxLength=100" expected:"a name, as in \"requests\""`
	// The least that says something.
	Min float64 `json:"min,omitempty"`
	// That of a full measurement; the best is chosen among those.
	Max float64 `json:"max,omitempty"`
	// One of so many configurations goes on to the next level, which is so
	// many times as high.
	Eta float64 `json:"eta,omitempty" jsonschema:"minimum=1.5,maximum=100,default=3"`
	// The levels themselves, rising, instead of min and max.
	Levels []float64 `json:"levels,omitempty" jsonschema:"maxItems=20"`
}
