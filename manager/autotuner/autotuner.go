// Package autotuner speaks to the clients of LLM Autotuner in their words: its
// REST paths below /api, its status names, its WebSocket frames. It translates
// what the manager does anyway and decides nothing; what Fleetune does not do is
// answered with 501 and the way to do it here.
package autotuner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/fleetune/fleetune/manager/api/feed"
	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/preset"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"
	"github.com/rs/zerolog"
)

// A Manager is what the API does in its own words.
type Manager interface {
	// Submit hands a task in.
	Submit(ctx context.Context, s v1.Submission) (v1.Submitted, error)
	// Replace puts a task into the place of one that has not begun.
	Replace(ctx context.Context, task uuid.UUID, s v1.Submission) (v1.Submitted, error)
	// Again puts a task that has ended back to where it was when it was handed
	// in, and deletes what was measured of it; tuning records stay.
	Again(ctx context.Context, task store.Task, paused bool) (store.Task, error)
	// Delete deletes a task that has ended.
	Delete(ctx context.Context, task store.Task) error
	// Problem turns any error into what is told of it.
	Problem(ctx context.Context, err error) *v1.Problem
	// Streaming is a context that ends with ctx and when the server stops.
	Streaming(ctx context.Context) (context.Context, context.CancelFunc)
	// Ready tells what state the database and the bus are in, "ok" or what is wrong.
	Ready(ctx context.Context) (database, bus string)
	// Output reads what an experiment's programs write: all of it, or only what
	// comes from now on.
	Output(ctx context.Context, experiment uuid.UUID, fromNow bool) (Output, error)

	Presets(ctx context.Context) ([]preset.Preset, error)
	Preset(ctx context.Context, name string) (preset.Preset, error)
	AddPresets(ctx context.Context, presets []preset.Preset) ([]v1.Preset, error)
	ReplacePreset(ctx context.Context, name string, p preset.Preset) (v1.Preset, error)
	DeletePreset(ctx context.Context, name string) error
	MergePresets(ctx context.Context, in v1.PresetMerge) (v1.PresetMerged, error)
}

// A Translator answers the paths of LLM Autotuner.
type Translator struct {
	manager Manager
	store   *store.Store
	feed    *feed.Feed
	version string
	log     zerolog.Logger
	sockets sockets
}

// New makes a translator over a manager, its store and its events.
func New(m Manager, s *store.Store, f *feed.Feed, version string, log zerolog.Logger) *Translator {
	return &Translator{manager: m, store: s, feed: f, version: version, log: log}
}

// Mount adds the paths to a router that authenticates already.
func (t *Translator) Mount(r chi.Router) {
	r.Route("/api/tasks", t.taskRoutes)
	r.Route("/api/experiments", t.experimentRoutes)
	r.Route("/api/presets", t.presetRoutes)
	r.Route("/api/runtime-params", t.runtimeRoutes)
	r.Route("/api/system", t.systemRoutes)
	r.Route("/api/ws", t.socketRoutes)
	r.Get("/health", t.serve(alive))
	t.elsewhere(r)
}

// Wait returns when no socket is open any more; their contexts have to end
// first. Sockets that come later are refused.
func (t *Translator) Wait() { t.sockets.wait() }

// maxBody bounds a request in bytes; a task file has 1 MiB at most.
const maxBody = 1 << 20

// A refusal is an error with the status that LLM Autotuner gives it.
type refusal struct {
	status int
	detail string
}

func (r *refusal) Error() string { return r.detail }

func refuse(status int, format string, args ...any) error {
	return &refusal{status: status, detail: fmt.Sprintf(format, args...)}
}

// A handler answers with a status and a document, or with an error.
type handler func(r *http.Request) (status int, document any, err error)

// serve writes what a handler answers.
func (t *Translator) serve(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		status, document, err := h(r)
		if err != nil {
			t.fail(w, r, err)
			return
		}
		if document == nil {
			w.WriteHeader(status)
			return
		}
		write(w, status, document)
	}
}

func write(w http.ResponseWriter, status int, document any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(document) //nolint:errchkjson // the connection is all that can fail here, and with it the answer
}

// detail is how LLM Autotuner tells an error.
type detail struct {
	Detail string `json:"detail"`
	// Errors are the findings one by one; LLM Autotuner has none.
	Errors []v1.Finding `json:"errors,omitempty"`
}

func (t *Translator) fail(w http.ResponseWriter, r *http.Request, err error) {
	var own *refusal
	if errors.As(err, &own) {
		write(w, own.status, detail{Detail: own.detail})
		return
	}
	p := t.manager.Problem(r.Context(), err)
	text := p.Error()
	for _, f := range p.Errors {
		text += "\n" + f.String()
	}
	write(w, p.Status, detail{Detail: text, Errors: p.Errors})
}

// body reads a request's body.
func body(r *http.Request) ([]byte, error) {
	data, err := io.ReadAll(r.Body)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, refuse(http.StatusRequestEntityTooLarge, "the body is larger than %d bytes", large.Limit)
	case err != nil:
		return nil, refuse(http.StatusBadRequest, "the body could not be read: %v", err)
	}
	return data, nil
}

// decode reads a request's body as JSON.
func decode(r *http.Request, into any) error {
	data, err := body(r)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return refuse(http.StatusUnprocessableEntity, "the body is not what is expected here: %v", err)
	}
	return nil
}

// A page of a listing.
type page struct{ skip, limit int }

// maxPage bounds a page, and how much is read for one request.
const maxPage = 1000

func paged(r *http.Request) (page, error) {
	p := page{limit: 100}
	for name, field := range map[string]struct {
		into      *int
		low, high int
	}{"skip": {&p.skip, 0, 1 << 30}, "limit": {&p.limit, 1, maxPage}} {
		given := r.URL.Query().Get(name)
		if given == "" {
			continue
		}
		n, err := strconv.Atoi(given)
		if err != nil || n < field.low || n > field.high {
			return p, refuse(http.StatusUnprocessableEntity, "%s=%q: expected a whole number from %d to %d", name, given, field.low, field.high)
		}
		*field.into = n
	}
	return p, nil
}

// flag reads a query parameter that is true or false.
func flag(r *http.Request, name string) bool {
	switch strings.ToLower(r.URL.Query().Get(name)) {
	case "true", "1", "yes", "on":
		return true
	}
	return false
}
