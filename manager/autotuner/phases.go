package autotuner

import (
	"context"
	"errors"
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
func (t *Translator) phases(ctx context.Context, of subject) (map[int]store.Phase, error) {
	all, err := t.store.Phases(ctx, of.task.ID)
	if err != nil || of.number == 0 {
		return all, err
	}
	maps.DeleteFunc(all, func(number int, _ store.Phase) bool { return number != of.number })
	return all, nil
}

// begun is the data of experiment_started.
type begun struct {
	Parameters any    `json:"parameters"`
	Status     string `json:"status"`
}

// doing is the data of experiment_progress, benchmark_started and
// benchmark_progress.
type doing struct {
	Status string `json:"status"`
	// Phase is Fleetune's own, finer than the status.
	Phase string `json:"phase"`
	// Detail says how far the phase is, in words.
	Detail string `json:"detail,omitempty"`
}

// phaseFrames tell what has changed between two looks at the experiments that
// run. Those whose attempt was lost begin again when another worker has them.
func (t *Translator) phaseFrames(ctx context.Context, of subject, before, now map[int]store.Phase) ([]frame, error) {
	var frames []frame
	at := float64(time.Now().UnixNano()) / float64(time.Second)
	for _, number := range slices.Sorted(maps.Keys(now)) {
		phase := now[number]
		old, known := before[number]
		if !known {
			e, err := t.store.Experiment(ctx, of.task.ID, number)
			if errors.Is(err, store.ErrNotFound) {
				continue // its task was deleted meanwhile
			}
			if err != nil {
				return nil, err
			}
			frames = append(frames, startedFrame(of, e, at))
		}
		if phase.Name == "" || phase == old {
			continue
		}
		status := runningStatus(of.task, phase.Name)
		f := frame{Type: "experiment_progress", TaskID: of.task.Number, Timestamp: at, ExperimentID: &number, Message: phase.Name,
			Data: doing{status, phase.Name, phase.Detail}}
		switch {
		case status == benchmarking && (!known || runningStatus(of.task, old.Name) != benchmarking):
			f.Type = "benchmark_started"
		case status == benchmarking && phase.Name == old.Name:
			f.Type, f.Message = "benchmark_progress", phase.Detail
		}
		frames = append(frames, f)
	}
	return frames, nil
}

func startedFrame(of subject, e store.Experiment, at float64) frame {
	return frame{Type: "experiment_started", TaskID: of.task.Number, Timestamp: at, ExperimentID: &e.Number,
		Data: begun{Parameters: e.Parameters, Status: deploying}}
}
