package autotuner

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/shared/terminal"
	"github.com/go-chi/chi/v5"
)

// An entry is a line of a task's log.
type entry struct {
	at    time.Time
	level string
	text  string
}

// String writes a line as LLM Autotuner does. What it tells of others is made
// safe to print.
func (e entry) String() string {
	return fmt.Sprintf("[%s] [%s] %s", e.at.UTC().Format(time.DateTime), e.level, terminal.Clean(e.text))
}

// taskLog answers with what is known of a task, in the order in which it
// happened, or goes on with it as server-sent events until the task has ended.
// What programs write is in the logs of their experiments.
func (t *Translator) taskLog(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	of, err := t.task(ctx, chi.URLParam(r, "task"))
	if err != nil {
		t.fail(w, r, err)
		return
	}
	cursor, err := t.feed.Now(ctx)
	if err != nil {
		t.fail(w, r, err)
		return
	}
	// Read anew behind the cursor, so that what happened in between is told.
	l := taskLog{of: of, told: map[int]bool{}}
	if err := l.read(ctx, t.store); err != nil {
		t.fail(w, r, err)
		return
	}
	if !flag(r, "follow") {
		var text strings.Builder
		for _, e := range l.take() {
			text.WriteString(e.String() + "\n")
		}
		write(w, http.StatusOK, map[string]string{"logs": text.String()})
		return
	}
	if err := t.followLog(w, r, &l, cursor); err != nil {
		t.log.Debug().Err(err).Msg("following a task")
	}
}

// A taskLog makes lines of rows.
type taskLog struct {
	of store.Task
	// told are the experiments whose end has been told.
	told  map[int]bool
	lines []entry
}

func (l *taskLog) add(at *time.Time, level, format string, args ...any) {
	if at != nil {
		l.lines = append(l.lines, entry{*at, level, fmt.Sprintf(format, args...)})
	}
}

// take returns the lines that were added since the last call, oldest first.
func (l *taskLog) take() []entry {
	lines := l.lines
	l.lines = nil
	slices.SortStableFunc(lines, func(a, b entry) int { return a.at.Compare(b.at) })
	return lines
}

// read adds all that has happened.
func (l *taskLog) read(ctx context.Context, db *store.Store) error {
	var err error
	if l.of, err = db.Task(ctx, l.of.ID.String()); err != nil {
		return err
	}
	l.add(&l.of.CreatedAt, "INFO", "task %s is handed in", l.of.Name)
	for after := 0; ; {
		list, err := db.Experiments(ctx, l.of.ID, after, maxPage)
		if err != nil {
			return err
		}
		for _, e := range list {
			l.experiment(e)
			after = e.Number
		}
		if len(list) < maxPage {
			break
		}
	}
	l.end()
	return nil
}

// experiment adds how an experiment began and, once, how it ended.
func (l *taskLog) experiment(e store.Experiment) {
	if l.told[e.Number] {
		return
	}
	name := fmt.Sprintf("experiment %d", e.Number)
	if e.Purpose != experiment.Search {
		name += " (" + string(e.Purpose) + ")"
	}
	if e.Worker != nil {
		var order []string
		if l.of.Spec != nil {
			for _, p := range l.of.Spec.Space.Parameters {
				order = append(order, p.Name)
			}
		}
		l.add(e.StartedAt, "INFO", "%s starts on %s: %s", name, *e.Worker, cmp.Or(terminal.Point(e.Parameters, order), "the engine's defaults"))
	}
	if !e.State.Final() {
		return
	}
	l.told[e.Number] = true
	outcome := string(e.State)
	if e.Outcome != nil {
		outcome = string(*e.Outcome)
	}
	switch {
	case e.Failure != nil:
		l.add(e.FinishedAt, "ERROR", "%s ends: %s: %s", name, outcome, strings.Join(nonEmpty(e.Failure.Message, e.Failure.Hint), "; "))
	case len(e.Scores) > 0:
		l.add(e.FinishedAt, "INFO", "%s ends: %s, score %s", name, outcome, terminal.Number(e.Scores[0]))
	default:
		l.add(e.FinishedAt, "INFO", "%s ends: %s", name, outcome)
	}
}

// end adds how the task has ended, if it has.
func (l *taskLog) end() {
	level := "INFO"
	if l.of.State != store.TaskCompleted {
		level = "ERROR"
	}
	l.add(l.of.FinishedAt, level, "task %s is %s", l.of.Name, strings.Join(nonEmpty(string(l.of.State), l.of.Cause), ": "))
}

// event adds what an event tells.
func (l *taskLog) event(ctx context.Context, db *store.Store, e store.Event) error {
	var payload struct {
		Numbers []int `json:"numbers"`
	}
	if err := json.Unmarshal(e.Payload, &payload); err != nil {
		return fmt.Errorf("reading event %d: %w", e.ID, err)
	}
	for _, number := range payload.Numbers {
		ended, err := db.Experiment(ctx, l.of.ID, number)
		if errors.Is(err, store.ErrNotFound) {
			continue // the task was deleted meanwhile
		}
		if err != nil {
			return err
		}
		l.experiment(ended)
	}
	if e.Kind != "task" || l.of.State.Final() {
		return nil
	}
	now, err := db.Task(ctx, l.of.ID.String())
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	before := l.of.State
	if l.of = now; now.State.Final() {
		l.end()
	} else if now.State != before {
		l.add(&e.At, "INFO", "task %s is %s", now.Name, strings.Join(nonEmpty(string(now.State), now.Cause), ": "))
	}
	return nil
}

// followLog writes lines as they come, until the task has ended or is gone.
func (t *Translator) followLog(w http.ResponseWriter, r *http.Request, l *taskLog, cursor int64) error {
	ctx, cancel := t.manager.Streaming(r.Context())
	defer cancel()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	controller := http.NewResponseController(w)
	for gone := false; ; {
		for _, line := range l.take() {
			if _, err := fmt.Fprintf(w, "data: %s\n\n", line); err != nil {
				return fmt.Errorf("writing to the client: %w", err)
			}
		}
		if err := controller.Flush(); err != nil {
			return fmt.Errorf("writing to the client: %w", err)
		}
		if gone || l.of.State.Final() {
			return nil
		}
		events, changed, err := t.feed.After(ctx, cursor)
		if err != nil {
			return err
		}
		for _, e := range events {
			cursor = e.ID
			if e.Task == nil || *e.Task != l.of.ID {
				continue
			}
			gone = gone || e.Kind == "deleted"
			if err := l.event(ctx, t.store, e); err != nil {
				return err
			}
		}
		if len(events) > 0 {
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
