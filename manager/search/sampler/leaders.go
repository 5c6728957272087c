package sampler

import "github.com/fleetune/fleetune/manager/search/valid"

// archive bounds the measured points that are compared pair by pair: with
// several objectives the cost grows with the square, so the newest count then.
const archive = 1000

// Leaders returns at most n measured points, best first in the sense of Order.
func Leaders(trials []Trial, n int) []valid.Vec {
	var measured []Trial
	several := false
	for _, t := range trials {
		if t.Losses != nil {
			measured = append(measured, t)
			several = several || len(t.Losses) > 1
		}
	}
	if several && len(measured) > archive {
		measured = measured[len(measured)-archive:]
	}
	out := make([]valid.Vec, 0, min(n, len(measured)))
	for _, i := range Order(measured) {
		if len(out) == n {
			break
		}
		out = append(out, measured[i].Vec)
	}
	return out
}
