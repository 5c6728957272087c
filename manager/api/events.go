package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"
)

// heartbeat keeps proxies from closing a quiet stream, and tells either side
// that the other is there.
const heartbeat = 15 * time.Second

// Resume is where a stream of events goes on.
type Resume struct {
	LastEventID string `header:"Last-Event-ID" doc:"id of the last event seen; without it the stream starts now"`
	After       string `query:"after" doc:"the same, for clients that cannot send the header"`
}

func (a *API) eventRoutes(api huma.API) {
	huma.Register(api, stream("events", "/events", "What happens, as server-sent events", "events"),
		func(ctx context.Context, in *Resume) (*huma.StreamResponse, error) {
			return a.events(ctx, nil, in)
		})
	huma.Register(api, stream("task-events", "/tasks/{task}/events", "What happens to a task, as server-sent events", "events"),
		func(ctx context.Context, in *struct {
			Reference
			Resume
		}) (*huma.StreamResponse, error) {
			t, err := a.task(ctx, in.Task)
			if err != nil {
				return nil, failure(ctx, a.log, err)
			}
			return a.events(ctx, &t.ID, &in.Resume)
		})
}

// stream describes a route that answers with server-sent events.
func stream(id, path, summary, tag string) huma.Operation {
	op := get(id, path, summary, tag)
	op.Description = "Each event has an id, a name (`event:`) and a JSON document (`data:`). After a break, send the last id as " +
		"`Last-Event-ID` and nothing is missed. The event `reset` says that the id is too old to go on from: read the present " +
		"state again. Comments (`: beat`) keep a quiet stream open."
	op.Responses = map[string]*huma.Response{"200": {Description: "a stream of events",
		Content: map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: "string"}}}}}
	return op
}

// events answers with a stream of one task's events, or of all.
func (a *API) events(ctx context.Context, task *uuid.UUID, in *Resume) (*huma.StreamResponse, error) {
	given := in.LastEventID
	if given == "" {
		given = in.After
	}
	cursor, reset, err := a.position(ctx, given)
	if err != nil {
		return nil, failure(ctx, a.log, err)
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		ctx, cancel := streaming(hc.Context())
		defer cancel()
		w := newEventWriter(hc)
		if reset {
			w.write("", "reset", struct{}{})
		}
		a.follow(ctx, w, task, cursor)
	}}, nil
}

// position is where a stream starts, and whether something before it is lost
// to the reader.
func (a *API) position(ctx context.Context, given string) (cursor int64, reset bool, err error) {
	if given != "" {
		cursor, err = strconv.ParseInt(given, 10, 64)
		if err != nil || cursor < 0 {
			return 0, false, badCursor(given)
		}
		if cursor == 0 {
			return 0, false, nil
		}
		known, err := a.store.HasEvent(ctx, cursor)
		if err != nil || known {
			return cursor, false, err
		}
	}
	cursor, err = a.feed.Now(ctx)
	return cursor, given != "", err
}

func (a *API) follow(ctx context.Context, w *eventWriter, task *uuid.UUID, cursor int64) {
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	w.beat()
	for w.err == nil {
		events, changed, err := a.feed.After(ctx, cursor)
		if err != nil {
			if ctx.Err() == nil {
				a.log.Warn().Err(err).Msg("reading events for a watcher")
			}
			return // the client comes back with the last id it saw
		}
		for _, e := range events {
			cursor = e.ID
			if task == nil || e.Task != nil && *e.Task == *task {
				w.write(strconv.FormatInt(e.ID, 10), e.Kind, eventDocument(e))
			}
		}
		if len(events) > 0 {
			continue
		}
		select {
		case <-changed:
		case <-beat.C:
			w.beat()
		case <-ctx.Done():
			return
		}
	}
}

// An eventWriter writes server-sent events. Its first error ends it.
type eventWriter struct {
	hc    huma.Context
	flush *http.ResponseController
	err   error
}

func newEventWriter(hc huma.Context) *eventWriter {
	hc.SetHeader("Content-Type", "text/event-stream; charset=utf-8")
	hc.SetHeader("Cache-Control", "no-store")
	hc.SetHeader("X-Accel-Buffering", "no")
	hc.SetStatus(http.StatusOK)
	w := &eventWriter{hc: hc}
	if rw, ok := hc.BodyWriter().(http.ResponseWriter); ok {
		w.flush = http.NewResponseController(rw)
	}
	return w
}

func (w *eventWriter) write(id, name string, document any) {
	data, err := json.Marshal(document)
	if err != nil {
		w.err = fmt.Errorf("encoding an event: %w", err)
		return
	}
	text := ""
	if id != "" {
		text = "id: " + id + "\n"
	}
	w.send(fmt.Sprintf("%sevent: %s\ndata: %s\n\n", text, name, data))
}

// beat keeps the connection up while there is nothing to tell.
func (w *eventWriter) beat() { w.send(": beat\n\n") }

func (w *eventWriter) send(text string) {
	if w.err != nil {
		return
	}
	if _, w.err = w.hc.BodyWriter().Write([]byte(text)); w.err == nil && w.flush != nil {
		w.err = w.flush.Flush()
	}
}
