package cli

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/rehearse"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/shared/terminal"
)

// A rehearsal is what --dry-run tells about a task file, and its JSON.
type rehearsal struct {
	File     string         `json:"file"`
	Task     string         `json:"task"`
	Warnings []task.Problem `json:"warnings"`
	// Points of the space without its constraints; null when unlimited.
	Points *float64 `json:"points"`
	// Valid points, and whether that is counted or estimated.
	Valid *float64 `json:"valid"`
	Exact bool     `json:"exact"`
	// How the sampler works for the task.
	How string `json:"how,omitempty"`
	// Planned is how many experiments the budget and the space allow.
	Planned int `json:"planned"`
	// Objectives, and what a serving task promises.
	Objectives []task.Objective `json:"objectives,omitempty"`
	SLO        *task.SLO        `json:"slo,omitempty"`
	// Cells that every experiment of a serving task measures, and what ends
	// each, whichever comes first.
	Cells        []task.Cell `json:"cells,omitempty"`
	CellRequests int         `json:"cell_requests,omitempty"`
	CellSeconds  float64     `json:"cell_seconds,omitempty"`
	// Image of the engine's container, and the device that is simulated.
	Image     string    `json:"image,omitempty"`
	Simulated string    `json:"simulated,omitempty"`
	Examples  []example `json:"examples"`
	// Errors are all that there is to tell of a file that has any.
	Errors []v1.Finding `json:"errors,omitempty"`
}

// An example is one experiment as a worker would run it.
type example struct {
	Purpose    experiment.Purpose `json:"purpose"`
	Parameters space.Point        `json:"parameters"`
	Steps      []rehearse.Step    `json:"steps"`
	Devices    int                `json:"devices"`
	Notes      []string           `json:"notes,omitempty"`
	// Refused says why the engine would not take it.
	Refused string `json:"refused,omitempty"`
	order   []string
}

// dryRun rehearses every file before it says that one has errors.
func (a *app) dryRun(files []taskFile, examples int) error {
	list := []rehearsal{}
	for i := range files {
		r := a.rehearse(&files[i], examples)
		if r.Errors == nil && !a.json {
			if err := a.printRehearsal(r); err != nil {
				return err
			}
		}
		list = append(list, r)
	}
	if a.json {
		if err := a.printJSON(list); err != nil {
			return err
		}
	}
	return mistakes(files)
}

// rehearse rehearses a file, and notes in it what is wrong.
func (a *app) rehearse(f *taskFile, examples int) rehearsal {
	if len(f.wrong) == 0 {
		found := rehearse.Task(f.spec, f.bundle, examples)
		task.Locate(f.name, f.source, found.Problems)
		for i := range found.Problems {
			found.Problems[i].File = f.path
		}
		if !found.Failed() {
			if !a.json {
				for _, p := range found.Problems {
					a.complain(p.String())
				}
			}
			return rehearsed(f, found)
		}
		f.blame(found.Problems...)
	}
	r := rehearsal{File: f.path, Warnings: []task.Problem{}, Examples: []example{}, Errors: f.wrong}
	if f.spec != nil {
		r.Task = f.spec.Name
	}
	return r
}

// rehearsed is what a rehearsal came to.
func rehearsed(f *taskFile, found rehearse.Rehearsal) rehearsal {
	r := rehearsal{File: f.path, Task: f.spec.Name, Warnings: append(append([]task.Problem{}, f.warnings...), found.Problems...),
		Points: finite(found.Points), Valid: finite(found.Valid), Exact: found.Exact, How: found.How, Planned: found.Planned, Cells: found.Cells, Image: found.Image, Simulated: found.Simulated, Examples: []example{}}
	r.Objectives = f.spec.Optimization.Objectives
	if serving := f.spec.Serving; serving != nil {
		r.SLO, r.CellRequests, r.CellSeconds = serving.SLO, serving.Benchmark.CellRequests, time.Duration(serving.Benchmark.CellTime).Seconds()
	}
	var order []string
	for _, parameter := range f.spec.Space.Parameters {
		order = append(order, parameter.Name)
	}
	for _, e := range found.Examples {
		r.Examples = append(r.Examples, example{Purpose: e.Purpose, Parameters: e.Parameters, Steps: e.Steps, Devices: e.Devices,
			Notes: e.Notes, Refused: e.Refused, order: order})
	}
	return r
}

func finite(f float64) *float64 {
	if math.IsInf(f, 0) {
		return nil
	}
	return &f
}

func (a *app) printRehearsal(r rehearsal) error {
	f := &fields{app: a}
	f.add("task", "%s", r.Task)
	f.add("space", "%s", size(r.Points, r.Valid, r.Exact))
	f.add("sampler", "%s", r.How)
	f.add("measures", "%s", plural(r.Planned, "experiment at most", "experiments at most"))
	if len(r.Cells) > 0 {
		cells := make([]string, len(r.Cells))
		for i, c := range r.Cells {
			cells[i] = c.String()
		}
		f.add("cells", "%s", strings.Join(cells, ", "))
		f.add("each cell", "%s, or %s at the most", plural(r.CellRequests, "request", "requests"), terminal.Duration(time.Duration(r.CellSeconds*float64(time.Second))))
	}
	f.add("objective", "%s", objectives(v1.Task{Objectives: r.Objectives}))
	f.add("promised", "%s", terms(r.SLO))
	if r.Image != "" {
		f.add("image", "%s", r.Image)
	}
	if r.Simulated != "" {
		f.add("simulated", "%s: figures will be those of a model, not of a device", r.Simulated)
	}
	number := 0
	for _, e := range r.Examples {
		title := string(experiment.Baseline)
		if e.Purpose != experiment.Baseline {
			number++
			title = fmt.Sprintf("example %d", number)
		}
		point := terminal.Point(e.Parameters, e.order)
		if point == "" {
			point = "the engine's defaults"
		}
		f.add(title, "%s", point)
		for _, s := range e.Steps {
			f.add("  "+s.Step, "%s", s.Command)
		}
		if len(r.Cells) > 0 {
			f.add("  devices", "%d", e.Devices)
		}
		for _, note := range e.Notes {
			f.add("  note", "%s", note)
		}
		if e.Refused != "" {
			f.add("  refused", "%s", e.Refused)
		}
	}
	return f.err
}

// terms writes what an SLO promises; empty without one.
func terms(slo *task.SLO) string {
	if slo == nil {
		return ""
	}
	var list []string
	for _, term := range slo.Terms {
		text := fmt.Sprintf("%s ≤ %s", term.Metric, terminal.Seconds(term.Threshold))
		if term.HardFail {
			text += fmt.Sprintf(" (infeasible above %s)", terminal.Seconds(term.Threshold*(1+term.FailRatio)))
		}
		list = append(list, text)
	}
	return strings.Join(list, ", ")
}

// size says how many points are searched, and where they are not counted, what
// that means.
func size(points, valid *float64, exact bool) string {
	if points == nil || valid == nil {
		return "unlimited: a parameter is continuous"
	}
	about, drawn := "", ""
	if !exact {
		about, drawn = "about ", "; too many to count, so they are drawn at random, each as likely as any other"
	}
	text := terminal.Count(*points) + " points"
	if *points == 1 {
		text = "1 point"
	}
	if *valid < *points {
		text += fmt.Sprintf(", of which the constraints leave %s%s (%s %%)", about, terminal.Count(*valid), terminal.Number(100**valid / *points))
	}
	return text + drawn
}
