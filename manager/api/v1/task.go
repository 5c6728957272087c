package v1

import (
	"time"

	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/google/uuid"
)

// A Task as it stands.
type Task struct {
	ID          uuid.UUID         `json:"id"`
	Name        string            `json:"name"`
	Status      string            `json:"status" enum:"waiting,running,paused,completed,failed,cancelled"`
	Search      *Search           `json:"search" doc:"what is searched and how; null for tasks of earlier versions"`
	Stopped     *Stopped          `json:"stopped" doc:"why no more experiments are chosen; null while they are"`
	Fidelity    string            `json:"fidelity" doc:"what its experiments may be measured with less of; empty without a fidelity"`
	Cause       string            `json:"cause" doc:"why the task has this status; may be empty"`
	Description string            `json:"description"`
	Kind        string            `json:"kind" doc:"the kind of its experiments"`
	Strategy    string            `json:"strategy" doc:"the sampler that chooses the points"`
	Parameters  []string          `json:"parameters" nullable:"false" doc:"names, in the task file's order"`
	Objectives  []task.Objective  `json:"objectives" nullable:"false" doc:"in order of importance"`
	Priority    task.Priority     `json:"priority" enum:"high,normal,low"`
	MaxParallel int               `json:"max_parallel" doc:"bound on experiments in flight; 0 means what the fleet can hold"`
	Resources   node.Requirements `json:"resources"`
	DependsOn   []string          `json:"depends_on" nullable:"false"`
	Applicable  bool              `json:"applicable" doc:"whether the task file says how its best is put to use"`
	Experiments Counts            `json:"experiments"`
	Running     []Held            `json:"running,omitempty" doc:"what workers do for it now, as they told last; where one task is asked for"`
	Baseline    *Baseline         `json:"baseline" doc:"the point everything is compared with, once it is measured"`
	Best        *Best             `json:"best" doc:"the incumbent while the task runs, the task's result once it is completed"`
	Simulated   string            `json:"simulated,omitempty" doc:"the GPU that its figures are simulated for; absent where a real engine is measured"`
	Records     *Served           `json:"records" doc:"how records serve it; null where its file does not ask"`
	CreatedAt   time.Time         `json:"created_at"`
	StartedAt   *time.Time        `json:"started_at" doc:"when its first experiment was claimed"`
	FinishedAt  *time.Time        `json:"finished_at"`
	DeadlineAt  *time.Time        `json:"deadline_at" doc:"when the task's time-out ends it"`
}

// Final says that nothing more will happen to the task.
func (t *Task) Final() bool {
	return t.Status == "completed" || t.Status == "failed" || t.Status == "cancelled"
}

// A Search is what a task's search goes over, and how its sampler works there.
type Search struct {
	How    string   `json:"how" doc:"how the sampler works for this task; may be empty"`
	Points *float64 `json:"points" doc:"of the space without its constraints; null when unlimited"`
	Valid  *float64 `json:"valid" doc:"points that meet the constraints; null when unlimited"`
	Exact  bool     `json:"exact" doc:"whether valid is counted, rather than estimated from points drawn at random"`
}

// Stopped says why a search is over.
type Stopped struct {
	Rule    string `json:"rule" enum:"max_iterations,space,time,device_hours,cost,plateau,expected_improvement,timeout" doc:"the limit that was reached"`
	Message string `json:"message" doc:"the same in words, with the figures"`
}

// Counts of a task's experiments by status. Confirmations measure finalists
// again and are counted apart.
type Counts struct {
	Total         int `json:"total" doc:"experiments chosen so far, confirmations left out"`
	Planned       int `json:"planned" doc:"experiments that the budget and the space allow"`
	Queued        int `json:"queued"`
	Running       int `json:"running" doc:"in a worker's hands"`
	Staging       int `json:"staging,omitempty" doc:"of those running, how many are still built, fetched for, or wait for their devices; told of single tasks"`
	Success       int `json:"success"`
	Failed        int `json:"failed"`
	Cancelled     int `json:"cancelled"`
	Confirmations int `json:"confirmations"`
	Confirmed     int `json:"confirmed" doc:"confirmations that have ended"`
}

// Finished is how many experiments have ended, confirmations left out.
func (c Counts) Finished() int { return c.Success + c.Failed + c.Cancelled }

// A Baseline is the experiment that the others are compared with.
type Baseline struct {
	Number     int               `json:"number"`
	Parameters space.Point       `json:"parameters"`
	Metrics    map[string]Metric `json:"metrics" nullable:"false"`
	Score      *float64          `json:"score" doc:"value of the first objective; null until it is measured, or when it failed"`
}

// A Best is the experiment with the best score, the lowest number among equals.
type Best struct {
	Number     int               `json:"number"`
	Parameters space.Point       `json:"parameters"`
	Metrics    map[string]Metric `json:"metrics" nullable:"false"`
	Score      float64           `json:"score" doc:"value of the first objective"`
	Simulated  string            `json:"simulated,omitempty" doc:"as of the task"`
	Speedup    *Speedup          `json:"speedup" doc:"over the baseline; null without a baseline"`
}

// A Speedup compares with the baseline: above 1 is better, whatever the
// objective's direction. Until the finalists are confirmed only Ratio is known.
type Speedup struct {
	Ratio       float64  `json:"ratio"`
	Low         *float64 `json:"low" doc:"lower end of the confidence interval; null until confirmed"`
	High        *float64 `json:"high" doc:"upper end of the confidence interval; null until confirmed"`
	Confidence  *float64 `json:"confidence" doc:"of the interval, such as 0.95; null until confirmed"`
	Significant bool     `json:"significant" doc:"the interval lies above 1"`
}

// A Submission hands a task in.
type Submission struct {
	File   string `json:"file" minLength:"1" maxLength:"255" doc:"name of the task file, for messages; its suffix says whether it is YAML or JSON" example:"task.yaml"`
	Source string `json:"source" minLength:"1" maxLength:"1048576" doc:"text of the task file"`
	Name   string `json:"name,omitempty" maxLength:"128" doc:"takes the place of the file's task_name"`
	Bundle []byte `json:"bundle,omitempty" doc:"tar archive of the files that the task names as sources, base64"`
	DryRun bool   `json:"dry_run,omitempty" doc:"check only, store nothing"`
	Paused bool   `json:"paused,omitempty" doc:"store it paused, so that nothing starts until it is resumed"`
}

// A Submitted task. Warnings did not keep it from being accepted.
type Submitted struct {
	Task     *Task     `json:"task" doc:"null after a dry run"`
	Warnings []Finding `json:"warnings" nullable:"false"`
}

// A Change says why a task is cancelled.
type Change struct {
	Cause string `json:"cause,omitempty" maxLength:"500" doc:"kept with the task"`
}

// A Source is a task file with what the manager made of it.
type Source struct {
	Task   string `json:"task"`
	Source string `json:"source" doc:"text of the task file"`
	Spec   any    `json:"spec" doc:"the validated task with every default filled in"`
}
