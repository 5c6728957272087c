package autotuner

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"
)

// An Output reads what the programs of one experiment write.
type Output interface {
	// Read returns what has come since it was last asked, nothing where nothing has.
	Read() ([]v1.LogChunk, error)
	Close(ctx context.Context)
}

const (
	// maxOutput is how much of an experiment's output one answer holds, in bytes:
	// the last of it.
	maxOutput = 4 << 20
	// maxLine is where a line is cut that does not end, in bytes.
	maxLine = 64 << 10
)

// lines makes lines of pieces, which may end anywhere. Programs that write at
// the same time each have a line of their own.
type lines map[string]string

func (l lines) add(c v1.LogChunk) []string {
	key := strconv.Itoa(c.Attempt) + c.Stream
	list := strings.Split(l[key]+c.Data, "\n")
	rest := list[len(list)-1]
	list = list[:len(list)-1]
	if rest != "" && (c.Last || len(rest) > maxLine) {
		list, rest = append(list, rest), ""
	}
	l[key] = rest
	for i, line := range list {
		list[i] = strings.TrimSuffix(line, "\r")
	}
	return list
}

// flush returns the lines that nobody ended.
func (l lines) flush() []string {
	var list []string
	for key, rest := range l {
		if rest != "" {
			list = append(list, rest)
		}
		delete(l, key)
	}
	return list
}

// logs answers with what an experiment's programs wrote, or goes on with it as
// server-sent events until the experiment has ended.
func (t *Translator) logs(w http.ResponseWriter, r *http.Request) {
	e, err := t.numbered(r)
	if err != nil {
		t.fail(w, r, err)
		return
	}
	output, err := t.manager.Output(r.Context(), e.ID, false)
	if err != nil {
		t.fail(w, r, err)
		return
	}
	defer output.Close(r.Context())
	if flag(r, "follow") {
		if err := t.followOutput(w, r, e, output); err != nil {
			t.log.Debug().Err(err).Msg("following output")
		}
		return
	}
	text, err := collect(output)
	if err != nil {
		t.fail(w, r, err)
		return
	}
	write(w, http.StatusOK, map[string]string{"logs": text})
}

// numbered is the experiment of a path with a task and a number.
func (t *Translator) numbered(r *http.Request) (store.Experiment, error) {
	of, err := t.task(r.Context(), chi.URLParam(r, "task"))
	if err != nil {
		return store.Experiment{}, err
	}
	given := chi.URLParam(r, "number")
	missing := refuse(http.StatusNotFound, "task %s has no experiment %q; GET /api/experiments/task/%d lists them", of.Name, given, of.Number)
	n, err := strconv.Atoi(given)
	if err != nil {
		return store.Experiment{}, missing
	}
	e, err := t.store.Experiment(r.Context(), of.ID, n)
	if errors.Is(err, store.ErrNotFound) {
		err = missing
	}
	return e, err
}

// collect reads all there is and keeps the end of it.
func collect(output Output) (string, error) {
	var text strings.Builder
	cut := lines{}
	add := func(list []string) {
		for _, line := range list {
			text.WriteString(line + "\n")
		}
		if text.Len() > 2*maxOutput {
			end := text.String()[text.Len()-maxOutput:]
			text.Reset()
			text.WriteString(end)
		}
	}
	for {
		chunks, err := output.Read()
		if err != nil {
			return "", err
		}
		if len(chunks) == 0 {
			break
		}
		for _, c := range chunks {
			add(cut.add(c))
		}
	}
	add(cut.flush())
	all := text.String()
	if over := len(all) - maxOutput; over > 0 {
		all = all[over:]
		if _, rest, ok := strings.Cut(all, "\n"); ok {
			all = rest
		}
	}
	return strings.ToValidUTF8(all, "\uFFFD"), nil
}

// followOutput writes lines as they come, until the experiment has ended and
// nothing is left.
func (t *Translator) followOutput(w http.ResponseWriter, r *http.Request, e store.Experiment, output Output) error {
	ctx, cancel := t.manager.Streaming(r.Context())
	defer cancel()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	controller := http.NewResponseController(w)
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	cut := lines{}
	for ended := false; ; {
		chunks, err := output.Read()
		if err != nil {
			return err
		}
		var list []string
		for _, c := range chunks {
			list = append(list, cut.add(c)...)
		}
		if ended && len(chunks) == 0 {
			list = append(list, cut.flush()...)
		}
		for _, line := range list {
			if _, err := fmt.Fprintf(w, "data: %s\n\n", strings.ToValidUTF8(strings.ReplaceAll(line, "\r", " "), "\uFFFD")); err != nil {
				return fmt.Errorf("writing to the client: %w", err)
			}
		}
		if err := controller.Flush(); err != nil {
			return fmt.Errorf("writing to the client: %w", err)
		}
		switch {
		case len(chunks) > 0:
			continue
		case ended:
			return nil
		}
		// What was written before the end is there by the time the end is
		// committed, so one more look after it finds everything.
		now, err := t.store.Experiment(ctx, e.TaskID, e.Number)
		if err != nil {
			return err
		}
		if ended = now.State.Final(); ended {
			continue
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// A talker turns an experiment's output into frames. A nil one has none.
type talker struct {
	output Output
	cut    lines
}

// listen opens what an experiment writes from now on. A manager without a bus
// has no output to tell of.
func (t *Translator) listen(ctx context.Context, experiment uuid.UUID) (*talker, error) {
	output, err := t.manager.Output(ctx, experiment, true)
	if err != nil {
		if p := t.manager.Problem(ctx, err); p.Status == http.StatusNotImplemented {
			return nil, nil //nolint:nilnil // see above
		}
		return nil, err
	}
	return &talker{output: output, cut: lines{}}, nil
}

func (k *talker) close(ctx context.Context) {
	if k != nil {
		k.output.Close(ctx)
	}
}

// frames are what has been written since the last call.
func (k *talker) frames(of subject) ([]frame, error) {
	if k == nil {
		return nil, nil
	}
	chunks, err := k.output.Read()
	if err != nil {
		return nil, err
	}
	var list []frame
	for _, c := range chunks {
		at := float64(c.At.UnixNano()) / float64(time.Second)
		for _, line := range k.cut.add(c) {
			list = append(list, frame{Type: "log_message", TaskID: of.task.Number, Timestamp: at, ExperimentID: &of.number,
				Message: strings.ToValidUTF8(line, "\uFFFD")})
		}
	}
	return list, nil
}
