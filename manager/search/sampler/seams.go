package sampler

import (
	"context"

	"github.com/fleetune/fleetune/proto/space"
)

// An Expecter is a Sampler with a model of the objective. ExpectedImprovement
// says how much better than the incumbent the most promising point is expected
// to be, in parts of the incumbent's value; known is false while the model
// cannot tell, and where there are several objectives. It is as pure as
// Propose.
type Expecter interface {
	ExpectedImprovement(ctx context.Context, history []Observation, pending []space.Point) (part float64, known bool, err error)
}

// A Proposal is a point with the level to measure it at.
type Proposal struct {
	Point space.Point
	// Fidelity is one of the levels of Problem.Fidelity; 0 stands for a full
	// measurement.
	Fidelity float64
}

// A Leveler is a Sampler that measures many points roughly and the promising
// ones again at higher levels. ProposeAt is what Propose is, but for two
// things: nothing is repeated at the same level, rather than at all, and an
// empty answer without an error says that more can be chosen once what is
// pending has ended. Of pending experiments it reads number, point and level.
type Leveler interface {
	Sampler
	ProposeAt(ctx context.Context, history, pending []Observation, n int) ([]Proposal, error)
}
