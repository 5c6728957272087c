package autotuner

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/preset"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"
)

func (t *Translator) taskRoutes(r chi.Router) {
	r.Post("/", t.serve(t.createTask))
	r.Get("/", t.serve(t.listTasks))
	r.Get("/name/{task}", t.serve(t.showTaskNamed))
	r.Get("/{task}", t.serve(t.showTask))
	r.Post("/{task}/start", t.serve(t.startTask))
	r.Post("/{task}/cancel", t.serve(t.cancelTask))
	r.Put("/{task}", t.serve(t.replaceTask))
	r.Patch("/{task}", t.serve(t.patchTask))
	r.Delete("/{task}", t.serve(t.deleteTask))
	r.Post("/{task}/restart", t.serve(t.restartTask))
	r.Post("/{task}/clear", t.serve(t.clearTask))
	r.Get("/{task}/logs", t.taskLog)
	r.Delete("/{task}/logs", t.serve(instead501("a task's log is made from what happened to it, and goes with the task")))
	r.Get("/{task}/experiments/{number}/logs", t.logs)
}

// The status names of LLM Autotuner.
const (
	pending   = "pending"
	running   = "running"
	completed = "completed"
	failed    = "failed"
	cancelled = "cancelled"
)

// taskStatus is the name of a task's state there. What is held back, by its
// user or by another task, is pending.
func taskStatus(s store.TaskState) string {
	switch s {
	case store.TaskWaiting, store.TaskPaused:
		return pending
	default:
		return string(s)
	}
}

// taskStates are the states with a status.
func taskStates(status string) ([]store.TaskState, error) {
	switch status {
	case "":
		return nil, nil
	case pending:
		return []store.TaskState{store.TaskWaiting, store.TaskPaused}, nil
	case running, completed, failed, cancelled:
		return []store.TaskState{store.TaskState(status)}, nil
	}
	return nil, refuse(http.StatusUnprocessableEntity,
		"status_filter=%q: expected pending, running, completed, failed or cancelled", status)
}

// task finds a task by its number, name or id.
func (t *Translator) task(ctx context.Context, ref string) (store.Task, error) {
	var found store.Task
	var err error
	if number, notNumber := strconv.ParseInt(ref, 10, 64); notNumber == nil {
		found, err = t.store.TaskNumbered(ctx, number)
		if errors.Is(err, store.ErrNotFound) {
			found, err = t.store.Task(ctx, ref) // a name may be digits
		}
	} else {
		found, err = t.named(ctx, ref)
	}
	if errors.Is(err, store.ErrNotFound) {
		return found, refuse(http.StatusNotFound, "there is no task %q; GET /api/tasks/ lists those there are", ref)
	}
	return found, err
}

// named finds a task by its name or id. A name that no task can have is one
// that became another when its file was read, as My_Task becomes my-task.
func (t *Translator) named(ctx context.Context, name string) (store.Task, error) {
	found, err := t.store.Task(ctx, name)
	if plain := preset.Slug(name); errors.Is(err, store.ErrNotFound) && plain != name {
		return t.store.Task(ctx, plain)
	}
	return found, err
}

// createTask stores a task held back, as LLM Autotuner does: /start lets it go.
func (t *Translator) createTask(r *http.Request) (int, any, error) {
	data, err := body(r)
	if err != nil {
		return 0, nil, err
	}
	submitted, err := t.manager.Submit(r.Context(), v1.Submission{File: "task.json", Source: string(data), Paused: true})
	if err != nil {
		if p := t.manager.Problem(r.Context(), err); p.Status == http.StatusConflict {
			return 0, nil, refuse(http.StatusBadRequest, "%s", p.Detail)
		}
		return 0, nil, err
	}
	d, err := t.submitted(r.Context(), submitted)
	return http.StatusCreated, d, err
}

// submitted is a task that was just handed in, with what is doubtful in it.
func (t *Translator) submitted(ctx context.Context, s v1.Submitted) (fullTask, error) {
	created, err := t.store.Task(ctx, s.Task.ID.String())
	if err != nil {
		return fullTask{}, err
	}
	d, err := t.full(ctx, created)
	for _, warning := range s.Warnings {
		d.Warnings = append(d.Warnings, warning.String())
	}
	return d, err
}

func (t *Translator) listTasks(r *http.Request) (int, any, error) {
	p, err := paged(r)
	if err != nil {
		return 0, nil, err
	}
	states, err := taskStates(r.URL.Query().Get("status_filter"))
	if err != nil {
		return 0, nil, err
	}
	tasks, err := t.store.SkipTasks(r.Context(), states, p.skip, p.limit)
	if err != nil {
		return 0, nil, err
	}
	list, err := t.listed(r.Context(), tasks)
	return http.StatusOK, list, err
}

func (t *Translator) showTask(r *http.Request) (int, any, error) {
	found, err := t.task(r.Context(), chi.URLParam(r, "task"))
	if err != nil {
		return 0, nil, err
	}
	d, err := t.full(r.Context(), found)
	return http.StatusOK, d, err
}

func (t *Translator) showTaskNamed(r *http.Request) (int, any, error) {
	name := chi.URLParam(r, "task")
	found, err := t.named(r.Context(), name)
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil, refuse(http.StatusNotFound, "there is no task named %q; GET /api/tasks/ lists those there are", name)
	}
	if err != nil {
		return 0, nil, err
	}
	d, err := t.full(r.Context(), found)
	return http.StatusOK, d, err
}

func (t *Translator) startTask(r *http.Request) (int, any, error) {
	return t.change(r, t.start, "only a pending task can be started")
}

func (t *Translator) start(ctx context.Context, of store.Task) error {
	if of.State == store.TaskWaiting {
		return refuse(http.StatusBadRequest, "task %s starts by itself when the tasks it depends on are completed", of.Name)
	}
	return t.store.Resume(ctx, of.ID)
}

func (t *Translator) cancelTask(r *http.Request) (int, any, error) {
	return t.change(r, func(ctx context.Context, found store.Task) error {
		return t.store.CancelTask(ctx, found.ID, "cancelled by its user")
	}, "only a task that has not ended can be cancelled")
}

// change moves a task to another state and answers with the task as it is then.
func (t *Translator) change(r *http.Request, f func(context.Context, store.Task) error, rule string) (int, any, error) {
	ctx := r.Context()
	found, err := t.task(ctx, chi.URLParam(r, "task"))
	if err != nil {
		return 0, nil, err
	}
	err = f(ctx, found)
	if errors.Is(err, store.ErrState) {
		return 0, nil, refuse(http.StatusBadRequest, "task %s is %s: %s", found.Name, taskStatus(found.State), rule)
	}
	if err != nil {
		return 0, nil, err
	}
	if found, err = t.store.Task(ctx, found.ID.String()); err != nil {
		return 0, nil, err
	}
	d, err := t.full(ctx, found)
	return http.StatusOK, d, err
}

// A listedTask is a task in a listing.
type listedTask struct {
	ID                    int64          `json:"id"`
	Name                  string         `json:"task_name"`
	Description           string         `json:"description"`
	Status                string         `json:"status"`
	BaseRuntime           string         `json:"base_runtime"`
	TotalExperiments      int            `json:"total_experiments"`
	SuccessfulExperiments int            `json:"successful_experiments"`
	BestExperimentID      *int64         `json:"best_experiment_id"`
	CreatedAt             time.Time      `json:"created_at"`
	ElapsedTime           *float64       `json:"elapsed_time"`
	SLO                   map[string]any `json:"slo"`
}

// A fullTask is a task by itself. Its sections are the task file's.
type fullTask struct {
	listedTask
	// UUID is the task's id in Fleetune's own API.
	UUID           uuid.UUID       `json:"uuid"`
	Model          json.RawMessage `json:"model"`
	ImageTag       *string         `json:"runtime_image_tag"`
	Parameters     json.RawMessage `json:"parameters"`
	Optimization   json.RawMessage `json:"optimization"`
	Benchmark      json.RawMessage `json:"benchmark"`
	QuantConfig    json.RawMessage `json:"quant_config"`
	ParallelConfig json.RawMessage `json:"parallel_config"`
	BaseModel      json.RawMessage `json:"clusterbasemodel_config"`
	ServingRuntime json.RawMessage `json:"clusterservingruntime_config"`
	// Fleetune creates neither of these.
	CreatedBaseModel      *string    `json:"created_clusterbasemodel"`
	CreatedServingRuntime *string    `json:"created_clusterservingruntime"`
	DeploymentMode        string     `json:"deployment_mode"`
	GPUType               *string    `json:"gpu_type"`
	StartedAt             *time.Time `json:"started_at"`
	CompletedAt           *time.Time `json:"completed_at"`
	// Cause is why the task has this status; LLM Autotuner has none.
	Cause string `json:"cause,omitempty"`
	// Warnings are what was doubtful in the task file when it was handed in.
	Warnings []string `json:"warnings,omitempty"`
}

// listed describes tasks as a listing does.
func (t *Translator) listed(ctx context.Context, tasks []store.Task) ([]listedTask, error) {
	standings, err := t.standings(ctx, tasks)
	if err != nil {
		return nil, err
	}
	list := make([]listedTask, len(tasks))
	for i, task := range tasks {
		list[i] = describe(task, standings[i])
	}
	return list, nil
}

func (t *Translator) full(ctx context.Context, task store.Task) (fullTask, error) {
	standings, err := t.standings(ctx, []store.Task{task})
	if err != nil {
		return fullTask{}, err
	}
	source, err := t.store.TaskSource(ctx, task.ID)
	if err != nil {
		return fullTask{}, err
	}
	file := sectionsOf(source)
	d := fullTask{listedTask: describe(task, standings[0]), UUID: task.ID, Cause: task.Cause,
		Model: file.model(), Parameters: file.object("parameters"), Optimization: file.object("optimization"),
		Benchmark: file.object("benchmark"), QuantConfig: file["quant_config"], ParallelConfig: file["parallel_config"],
		BaseModel: file["clusterbasemodel_config"], ServingRuntime: file["clusterservingruntime_config"],
		GPUType: file.text("gpu_type"), StartedAt: utc(task.StartedAt), CompletedAt: utc(task.FinishedAt)}
	if task.Spec != nil && task.Spec.Serving != nil {
		s := task.Spec.Serving
		d.DeploymentMode = s.Launcher
		if s.ImageTag != "" {
			d.ImageTag = &s.ImageTag
		}
	}
	if mode := file.text("deployment_mode"); mode != nil {
		d.DeploymentMode = *mode
	}
	return d, nil
}

func describe(task store.Task, s standing) listedTask {
	d := listedTask{ID: task.Number, Name: task.Name, Status: taskStatus(task.State), TotalExperiments: s.total,
		SuccessfulExperiments: s.counts.Success, CreatedAt: task.CreatedAt.UTC(),
		ElapsedTime: elapsed(task.StartedAt, task.FinishedAt)}
	if task.Spec != nil {
		d.Description = task.Spec.Description
		if task.Spec.Serving != nil {
			d.BaseRuntime, d.SLO = task.Spec.Serving.Runtime, promises(task.Spec.Serving.SLO)
		}
	}
	if s.best != nil {
		id := experimentID(task, s.best.Number)
		d.BestExperimentID = &id
	}
	return d
}

// A standing is how far a task is.
type standing struct {
	counts store.Counts
	// total is how many experiments there will be, as far as is known.
	total int
	best  *store.Experiment
}

func (t *Translator) standings(ctx context.Context, tasks []store.Task) ([]standing, error) {
	ids := make([]uuid.UUID, len(tasks))
	for i, task := range tasks {
		ids[i] = task.ID
	}
	counts, err := t.store.Counts(ctx, ids)
	if err != nil {
		return nil, err
	}
	landmarks, err := t.store.Landmarks(ctx, tasks)
	if err != nil {
		return nil, err
	}
	list := make([]standing, len(tasks))
	for i, task := range tasks {
		c := counts[task.ID]
		list[i] = standing{counts: c, total: c.Total, best: landmarks[task.ID].Best}
		if !task.State.Final() {
			list[i].total = max(c.Total, task.Planned)
		}
	}
	return list, nil
}

// elapsed is the time between two moments in seconds, up to now where the
// second is yet to come.
func elapsed(from, to *time.Time) *float64 {
	if from == nil {
		return nil
	}
	end := time.Now()
	if to != nil {
		end = *to
	}
	seconds := end.Sub(*from).Seconds()
	return &seconds
}

func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC()
	return &u
}
