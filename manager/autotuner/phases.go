package autotuner

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/fleetune/fleetune/manager/store"
)

// The statuses of an experiment that a worker holds.
const (
	deploying    = "deploying"
	benchmarking = "benchmarking"
)

// runningStatus is what a worker's phase is called: all that comes before
// anything is measured is deploying. Experiments that serve nothing measure as
// soon as they run.
func runningStatus(of store.Task, phase string) string {
	serves := of.Spec != nil && of.Spec.Serving != nil
	switch phase {
	case "benchmark", "stop", "reporting":
		return benchmarking
	case "running":
		if !serves {
			return benchmarking
		}
	}
	return deploying
}

// phases are those of the running experiments that a subject is about.
func (t *Translator) phases(ctx context.Context, of subject) (map[int]string, error) {
	all, err := t.store.Phases(ctx, of.task.ID)
	if err != nil || of.number == 0 {
		return all, err
	}
	maps.DeleteFunc(all, func(number int, _ string) bool { return number != of.number })
	return all, nil
}

// begun is the data of experiment_started.
type begun struct {
	Parameters any    `json:"parameters"`
	Status     string `json:"status"`
}

// doing is the data of experiment_progress and benchmark_started.
type doing struct {
	Status string `json:"status"`
	// Phase is Fleetune's own, finer than the status.
	Phase string `json:"phase"`
}

// phaseFrames tell what has changed between two looks at the experiments that
// run. Those whose attempt was lost begin again when another worker has them.
func (t *Translator) phaseFrames(ctx context.Context, of subject, before, now map[int]string) ([]frame, error) {
	var frames []frame
	at := float64(time.Now().UnixNano()) / float64(time.Second)
	for _, number := range slices.Sorted(maps.Keys(now)) {
		phase := now[number]
		old, known := before[number]
		if !known {
			e, err := t.store.Experiment(ctx, of.task.ID, number)
			if err != nil {
				return nil, err
			}
			frames = append(frames, startedFrame(of, e, at))
		}
		status := runningStatus(of.task, phase)
		switch f := (frame{Type: "experiment_progress", TaskID: of.task.Number, Timestamp: at, ExperimentID: &number, Message: phase,
			Data: doing{status, phase}}); {
		case phase == "" || phase == old:
		case status == benchmarking && (!known || runningStatus(of.task, old) != benchmarking):
			f.Type = "benchmark_started"
			frames = append(frames, f)
		default:
			frames = append(frames, f)
		}
	}
	return frames, nil
}

func startedFrame(of subject, e store.Experiment, at float64) frame {
	return frame{Type: "experiment_started", TaskID: of.task.Number, Timestamp: at, ExperimentID: &e.Number,
		Data: begun{Parameters: e.Parameters, Status: deploying}}
}
