package autotuner

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
)

// A frame is one message of a socket.
type frame struct {
	Type   string `json:"type"`
	TaskID int64  `json:"task_id"`
	// Timestamp in seconds since 1970; the first frame has none.
	Timestamp float64 `json:"timestamp,omitempty"`
	// ExperimentID is the experiment's number within its task.
	ExperimentID *int   `json:"experiment_id,omitempty"`
	Message      string `json:"message,omitempty"`
	Data         any    `json:"data,omitempty"`
}

// progress is the data of task_progress.
type progress struct {
	Current    int      `json:"current_experiment"`
	Total      int      `json:"total_experiments"`
	Successful int      `json:"successful_experiments"`
	Percent    float64  `json:"progress_percent"`
	BestScore  *float64 `json:"best_score"`
}

// ending is the data of task_completed and task_failed.
type ending struct {
	Status      string   `json:"status"`
	Total       int      `json:"total_experiments"`
	Successful  int      `json:"successful_experiments"`
	Best        *int64   `json:"best_experiment_id"`
	BestScore   *float64 `json:"best_score"`
	ElapsedTime *float64 `json:"elapsed_time"`
}

// result is the data of experiment_completed and experiment_failed.
type result struct {
	Status      string             `json:"status"`
	Metrics     map[string]float64 `json:"metrics"`
	Score       *float64           `json:"objective_score"`
	ElapsedTime *float64           `json:"elapsed_time"`
}

// frames are what a client is told of an event.
func (t *Translator) frames(ctx context.Context, of subject, e store.Event) ([]frame, error) {
	var payload struct {
		State   store.TaskState `json:"state"`
		Cause   string          `json:"cause"`
		Numbers []int           `json:"numbers"`
	}
	if err := json.Unmarshal(e.Payload, &payload); err != nil {
		return nil, fmt.Errorf("reading event %d: %w", e.ID, err)
	}
	at := float64(e.At.UnixNano()) / float64(time.Second)
	if e.Kind == "task" {
		return t.taskFrames(ctx, of, payload.State, payload.Cause, at)
	}
	return t.resultFrames(ctx, of, payload.Numbers, at)
}

func (t *Translator) taskFrames(ctx context.Context, of subject, state store.TaskState, cause string, at float64) ([]frame, error) {
	f := frame{TaskID: of.task.Number, Timestamp: at, Message: cause}
	switch {
	case of.number > 0:
		return nil, nil
	case state == store.TaskRunning:
		f.Type = "task_started"
		return []frame{f}, nil
	case !state.Final():
		return nil, nil // LLM Autotuner has no word for it
	}
	f.Type = "task_failed"
	if state == store.TaskCompleted {
		f.Type = "task_completed"
	}
	task, s, err := t.standing(ctx, of.task)
	if err != nil {
		return nil, err
	}
	d := ending{Status: taskStatus(state), Total: s.total, Successful: s.counts.Success, ElapsedTime: elapsed(task.StartedAt, task.FinishedAt)}
	if s.best != nil {
		id := experimentID(task, s.best.Number)
		d.Best, d.BestScore = &id, objectiveScore(task, *s.best)
	}
	f.Data = d
	return []frame{f}, nil
}

// resultFrames tell of experiments that ended, and how far the task is then.
func (t *Translator) resultFrames(ctx context.Context, of subject, numbers []int, at float64) ([]frame, error) {
	var frames []frame
	current := 0
	slices.Sort(numbers)
	for _, number := range numbers {
		if of.number > 0 && of.number != number {
			continue
		}
		e, err := t.store.Experiment(ctx, of.task.ID, number)
		if err != nil {
			return nil, err
		}
		if e.Purpose == experiment.Confirm || !e.State.Final() {
			continue
		}
		current = number
		f := frame{Type: "experiment_completed", TaskID: of.task.Number, Timestamp: at, ExperimentID: &e.Number}
		d := documentOf(of.task, e, "")
		if _, told := of.told[number]; !told && e.StartedAt != nil {
			frames = append(frames, startedFrame(of, e, at)) // it was quicker than a look
		}
		if e.State != experiment.Success {
			f.Type = "experiment_failed"
		}
		if d.Error != nil {
			f.Message = *d.Error
		}
		f.Data = result{Status: d.Status, Metrics: d.Metrics, Score: d.Score, ElapsedTime: d.ElapsedTime}
		frames = append(frames, f)
	}
	if current == 0 || of.number > 0 {
		return frames, nil
	}
	task, s, err := t.standing(ctx, of.task)
	if err != nil {
		return nil, err
	}
	d := progress{Current: current, Total: s.total, Successful: s.counts.Success}
	if ended := s.counts.Success + s.counts.Failed + s.counts.Cancelled; s.total > 0 {
		d.Percent = 100 * float64(ended) / float64(s.total)
	}
	if s.best != nil {
		d.BestScore = objectiveScore(task, *s.best)
	}
	return append(frames, frame{Type: "task_progress", TaskID: task.Number, Timestamp: at, Data: d}), nil
}

// standing reads a task as it is now and how far it is.
func (t *Translator) standing(ctx context.Context, of store.Task) (store.Task, standing, error) {
	task, err := t.store.Task(ctx, of.ID.String())
	if err != nil {
		return of, standing{}, err
	}
	list, err := t.standings(ctx, []store.Task{task})
	if err != nil {
		return of, standing{}, err
	}
	return task, list[0], nil
}
