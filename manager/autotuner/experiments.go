package autotuner

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"
)

func (t *Translator) experimentRoutes(r chi.Router) {
	r.Get("/", t.serve(t.listExperiments))
	r.Get("/{experiment}", t.serve(t.showExperiment))
	r.Get("/task/{task}", t.serve(t.taskExperiments))
}

// perTask is the room that each task has among the ids of experiments: the id
// is the task's number times perTask plus the experiment's number. It stays
// below 2^53, which is what clients in JavaScript can count to, for 900 million
// tasks.
const perTask = 10_000_000

// experimentID is an experiment's id among all tasks.
func experimentID(of store.Task, number int) int64 { return of.Number*perTask + int64(number) }

// An experimentDocument is an experiment in LLM Autotuner's words.
type experimentDocument struct {
	ID     int64 `json:"id"`
	TaskID int64 `json:"task_id"`
	// Number within the task.
	Number     int                `json:"experiment_id"`
	Parameters space.Point        `json:"parameters"`
	Status     string             `json:"status"`
	Error      *string            `json:"error_message"`
	Metrics    map[string]float64 `json:"metrics"`
	// Score is lower for what is better, whatever the objective.
	Score *float64 `json:"objective_score"`
	GPU   *gpuInfo `json:"gpu_info"`
	// Fleetune tells of no service: an engine lives as long as its attempt.
	ServiceName *string    `json:"service_name"`
	ServiceURL  *string    `json:"service_url"`
	CreatedAt   time.Time  `json:"created_at"`
	StartedAt   *time.Time `json:"started_at"`
	CompletedAt *time.Time `json:"completed_at"`
	ElapsedTime *float64   `json:"elapsed_time"`
	// UUID, Purpose and Outcome are Fleetune's own.
	UUID    uuid.UUID          `json:"uuid"`
	Purpose experiment.Purpose `json:"purpose"`
	Outcome string             `json:"outcome,omitempty"`
}

// gpuInfo are the devices of the present or the last attempt.
type gpuInfo struct {
	Model     *string  `json:"model"`
	Count     int      `json:"count"`
	DeviceIDs []string `json:"device_ids"`
	WorldSize int      `json:"world_size"`
}

// experimentStatus is the name of an experiment's state, and of what is done
// for one that runs. LLM Autotuner knows neither cancelled nor infeasible.
func experimentStatus(of store.Task, e store.Experiment, phase string) string {
	switch {
	case e.State == experiment.Queued:
		return pending
	case e.State == experiment.Running:
		return runningStatus(of, phase)
	case e.Outcome != nil && *e.Outcome == experiment.OutcomeInfeasible:
		return "infeasible"
	default:
		return string(e.State)
	}
}

func documentOf(of store.Task, e store.Experiment, phase string) experimentDocument {
	d := experimentDocument{ID: experimentID(of, e.Number), TaskID: of.Number, Number: e.Number, Parameters: e.Parameters,
		Status: experimentStatus(of, e, phase), Score: objectiveScore(of, e), CreatedAt: e.QueuedAt.UTC(), StartedAt: utc(e.StartedAt),
		CompletedAt: utc(e.FinishedAt), ElapsedTime: elapsed(e.StartedAt, e.FinishedAt), UUID: e.ID, Purpose: e.Purpose}
	if e.Outcome != nil {
		d.Outcome = string(*e.Outcome)
	}
	if f := e.Failure; f != nil {
		text := strings.Join(nonEmpty(f.Message, f.Hint), "; ")
		d.Error = &text
	}
	if len(e.Metrics) > 0 {
		d.Metrics = make(map[string]float64, len(e.Metrics))
		for name, m := range e.Metrics {
			d.Metrics[name] = m.Median
		}
	}
	if n := len(e.Devices); n > 0 {
		d.GPU = &gpuInfo{Count: n, DeviceIDs: e.Devices, WorldSize: n}
	}
	return d
}

// objectiveScore is the first score, turned where more is better.
func objectiveScore(of store.Task, e store.Experiment) *float64 {
	if len(e.Scores) == 0 || math.IsNaN(e.Scores[0]) || math.IsInf(e.Scores[0], 0) {
		return nil
	}
	score := e.Scores[0]
	if of.Spec != nil && len(of.Spec.Optimization.Objectives) > 0 && of.Spec.Optimization.Objectives[0].Direction == task.Maximize {
		score = -score
	}
	return &score
}

func nonEmpty(list ...string) []string {
	var out []string
	for _, s := range list {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}

func (t *Translator) listExperiments(r *http.Request) (int, any, error) {
	ctx := r.Context()
	p, err := paged(r)
	if err != nil {
		return 0, nil, err
	}
	list, err := t.store.SkipExperiments(ctx, p.skip, p.limit)
	if err != nil {
		return 0, nil, err
	}
	var ids []uuid.UUID
	for _, e := range list {
		ids = append(ids, e.TaskID)
	}
	tasks, err := t.store.TasksByID(ctx, ids)
	if err != nil {
		return 0, nil, err
	}
	documents := make([]experimentDocument, len(list))
	phases := map[uuid.UUID]map[int]store.Phase{}
	for i, e := range list {
		if e.State == experiment.Running && phases[e.TaskID] == nil {
			if phases[e.TaskID], err = t.store.Phases(ctx, e.TaskID); err != nil {
				return 0, nil, err
			}
		}
		documents[i] = documentOf(tasks[e.TaskID], e, phases[e.TaskID][e.Number].Name)
	}
	return http.StatusOK, documents, nil
}

// taskExperiments lists all of a task's experiments, as LLM Autotuner does,
// save confirmations, which it does not have.
func (t *Translator) taskExperiments(r *http.Request) (int, any, error) {
	ctx := r.Context()
	of, err := t.task(ctx, chi.URLParam(r, "task"))
	if err != nil {
		return 0, nil, err
	}
	phases, err := t.store.Phases(ctx, of.ID)
	if err != nil {
		return 0, nil, err
	}
	documents := []experimentDocument{}
	f := store.ExperimentFilter{Task: of.ID, Purposes: []experiment.Purpose{experiment.Baseline, experiment.Search}, Limit: maxPage}
	for {
		list, err := t.store.ListExperiments(ctx, f)
		if err != nil {
			return 0, nil, err
		}
		for _, e := range list {
			documents = append(documents, documentOf(of, e, phases[e.Number].Name))
			f.After = e.Number
		}
		if len(list) < f.Limit {
			return http.StatusOK, documents, nil
		}
	}
}

func (t *Translator) showExperiment(r *http.Request) (int, any, error) {
	of, e, err := t.experiment(r, chi.URLParam(r, "experiment"))
	if err != nil {
		return 0, nil, err
	}
	phases, err := t.store.Phases(r.Context(), of.ID)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, documentOf(of, e, phases[e.Number].Name), nil
}

// experiment finds an experiment by its id here, or by its own.
func (t *Translator) experiment(r *http.Request, ref string) (store.Task, store.Experiment, error) {
	ctx := r.Context()
	missing := refuse(http.StatusNotFound, "there is no experiment %q; GET /api/experiments/task/{task_id} lists a task's", ref)
	if id, err := uuid.Parse(ref); err == nil {
		list, err := t.store.ExperimentsByID(ctx, []uuid.UUID{id})
		if err != nil {
			return store.Task{}, store.Experiment{}, err
		}
		if len(list) == 0 {
			return store.Task{}, store.Experiment{}, missing
		}
		of, err := t.store.Task(ctx, list[0].TaskID.String())
		return of, list[0], err
	}
	id, err := strconv.ParseInt(ref, 10, 64)
	if err != nil || id < perTask {
		return store.Task{}, store.Experiment{}, missing
	}
	of, err := t.store.TaskNumbered(ctx, id/perTask)
	if errors.Is(err, store.ErrNotFound) {
		return of, store.Experiment{}, missing
	}
	if err != nil {
		return of, store.Experiment{}, err
	}
	e, err := t.store.Experiment(ctx, of.ID, int(id%perTask))
	if errors.Is(err, store.ErrNotFound) {
		err = missing
	}
	return of, e, err
}
