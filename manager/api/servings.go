package api

import (
	"math"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/score"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/task"
)

// sloOf is what a task promises; nil where it promises nothing.
func sloOf(t *task.Task) *task.SLO {
	if t == nil || t.Serving == nil {
		return nil
	}
	return t.Serving.SLO
}

// servingDocument says what an attempt measured, cell by cell; nil for what is
// no serving experiment.
func servingDocument(t store.Task, m *experiment.Measurement) *v1.Serving {
	if m == nil || m.Serving == nil {
		return nil
	}
	s := m.Serving
	d := &v1.Serving{Cells: cellDocuments(t, s.Cells), Simulated: s.Simulated, WorldSize: s.WorldSize, Command: orEmpty(s.Command),
		ModelPath: s.ModelPath, Image: s.Image, ImageDigest: s.ImageDigest, Version: s.Version, Effective: orNone(s.Effective), Notes: orEmpty(s.Notes),
		LoadSeconds: s.LoadSeconds, Launches: []v1.Launch{}}
	for _, l := range s.Launches {
		d.Launches = append(d.Launches, v1.Launch{Side: l.Side, Log: l.Log, Command: orEmpty(l.Command), LoadSeconds: l.LoadSeconds})
	}
	if len(s.Reference) > 0 {
		d.Reference = cellDocuments(t, s.Reference)
	}
	return d
}

func cellDocuments(t store.Task, cells []experiment.Cell) []v1.Cell {
	slo := sloOf(t.Spec)
	list := make([]v1.Cell, len(cells))
	for i, c := range cells {
		d := v1.Cell{Scenario: c.Scenario, Concurrency: c.Concurrency, Missing: c.Missing, Metrics: sampled(c.Metrics),
			Requests: c.Requests, Errors: c.Errors, ErrorsByClass: orNone(c.ErrorsByClass), Promises: []v1.Promise{}}
		for _, p := range score.Compliance(slo, cells[i:i+1]) {
			if !math.IsNaN(p.Actual) && !math.IsInf(p.Actual, 0) {
				d.Promises = append(d.Promises, v1.Promise{Metric: p.Metric, Threshold: p.Threshold, Actual: p.Actual,
					Margin: p.Margin, Severity: string(p.Severity)})
			}
		}
		list[i] = d
	}
	return list
}

// orNone makes an empty object of none, so that JSON says {} and not null.
func orNone[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return m
}
