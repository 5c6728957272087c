// Package report makes one HTML page of a task: what was found, how sure it
// is, and how it was made. The page asks nothing of any server: its charts are
// drawn here, its style and its one short script are in it, and its policy lets
// nothing else run. Text from task files and programs is escaped wherever it
// stands.
package report

import (
	"embed"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/shared/chart"
	"github.com/fleetune/fleetune/shared/terminal"
)

// Input is what a report is made of.
type Input struct {
	Task v1.Task
	// Source is the task file as submitted.
	Source string
	// Experiments by number, confirmations among them; where a task has many,
	// some of them, and Read says how many there are.
	Experiments []v1.Experiment
	Read        int
	Insight     v1.Insight
	// Servings holds what the baseline, the best and other leaders measured,
	// by number; nil of what starts no engine.
	Servings map[int]*v1.Serving
	// Comparison of the best with the baseline; nil without both.
	Comparison *v1.Comparison
	// SLO as the task promises it.
	SLO []v1.Promise
	// Version of the program, and when the report is made.
	Version string
	At      time.Time
}

//go:embed page.html style.css script.js
var files embed.FS

// page is what the template fills in.
type page struct {
	Data
	Policy string
	Style  template.CSS
	Script template.JS
}

// Write makes the page.
func Write(w io.Writer, in Input) error {
	own, err := files.ReadFile("style.css")
	if err != nil {
		return fmt.Errorf("reading the style: %w", err)
	}
	style := chart.Style() + string(own)
	script, err := files.ReadFile("script.js")
	if err != nil {
		return fmt.Errorf("reading the script: %w", err)
	}
	t, err := template.New("page.html").Funcs(functions()).ParseFS(files, "page.html")
	if err != nil {
		return fmt.Errorf("reading the page: %w", err)
	}
	if err := chart.Add(t); err != nil {
		return err
	}
	p := page{Data: Build(in), Style: template.CSS(style), Script: template.JS(script), Policy: chart.Policy(style, string(script))}
	var text strings.Builder
	if err := t.Execute(&text, p); err != nil {
		return fmt.Errorf("making the report: %w", err)
	}
	// Control characters and marks that turn the writing direction have no
	// place in a page, whoever wrote them.
	if _, err := io.WriteString(w, terminal.CleanText(text.String())); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

func functions() template.FuncMap {
	return template.FuncMap{
		"mul":    func(a, b int) int { return a * b },
		"moment": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") },
		"percent": func(share float64) string {
			return fmt.Sprintf("%.0f %%", 100*share)
		},
		"short": func(name string) string { return chart.Shorten(name, 19) },
		"wide":  func(share float64) string { return chart.Px(share * 300) },
	}
}
