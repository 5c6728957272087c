// Package place says what an experiment asks of a place: which worker may
// claim it, and how many devices it holds. For most tasks that is the same for
// every experiment; an inference server's tensor, pipeline and data
// parallelism are parameters, so that its need follows from the point.
package place

import (
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/shared/engine"
)

// Need is what one experiment of a task asks for. A point that the engine
// refuses needs what the task asks for: the worker says what is wrong with it.
func Need(t *task.Task, p space.Point) node.Requirements {
	need := t.Needs()
	if t.Serving == nil {
		return need
	}
	if p == nil {
		p = t.Serving.Baseline
	}
	e, err := engine.Of(t.Serving)
	if err != nil {
		return need
	}
	if devices, err := e.Need(t.Serving, p); err == nil {
		need.Devices = max(need.Devices, devices)
	}
	return need
}

// Model is the model that a point's engine serves from its node, which is fetched
// where the node does not have it; empty where the engine brings its own, or
// none is needed.
func Model(t *task.Task, p space.Point) string {
	s := t.Serving
	if s == nil || s.Simulate != nil || s.Launcher != "local" && s.Launcher != "docker" {
		return ""
	}
	return s.Model(p).ID
}

// Most joins the needs of points that are measured in one attempt.
func Most(t *task.Task, points ...space.Point) node.Requirements {
	most := Need(t, nil)
	for i, p := range points {
		need := Need(t, p)
		if i == 0 || need.Devices > most.Devices {
			most = need
		}
	}
	return most
}
