package autotuner

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"
)

const (
	// beat is how often a socket is asked whether the client is there.
	beat = 15 * time.Second
	// look is how often it is seen what programs write, where it is told.
	look = time.Second
	// patience is how long one frame may take to be written or answered.
	patience = 5 * time.Second
)

func (t *Translator) socketRoutes(r chi.Router) {
	r.Get("/tasks/{task}", func(w http.ResponseWriter, r *http.Request) {
		of, err := t.task(r.Context(), chi.URLParam(r, "task"))
		if err != nil {
			t.fail(w, r, err)
			return
		}
		t.watch(w, r, subject{task: of})
	})
	r.Get("/experiments/{experiment}", func(w http.ResponseWriter, r *http.Request) {
		of, e, err := t.experiment(r, chi.URLParam(r, "experiment"))
		if err != nil {
			t.fail(w, r, err)
			return
		}
		t.watch(w, r, subject{task: of, number: e.Number, experiment: e.ID})
	})
	r.Get("/tasks/{task}/subscribers", t.serve(instead501("watchers are not counted")))
}

// A subject is what a socket tells of: a task, or one of its experiments.
type subject struct {
	task store.Task
	// number of the experiment; 0 is the task and all of them.
	number int
	// experiment's id, where it is one.
	experiment uuid.UUID
	// told are the experiments that the client knows to run, and their phases.
	told map[int]store.Phase
}

// watch upgrades a request to a socket and writes frames until the client goes
// or the server stops.
func (t *Translator) watch(w http.ResponseWriter, r *http.Request, of subject) {
	if !t.sockets.open() {
		t.fail(w, r, refuse(http.StatusServiceUnavailable, "the manager stops"))
		return
	}
	defer t.sockets.close()
	// What happens from here on is told: the client has not been told yet that
	// it is connected.
	cursor, err := t.feed.Now(r.Context())
	if err != nil {
		t.fail(w, r, err)
		return
	}
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{Subprotocol}})
	if err != nil {
		return // Accept has answered
	}
	serving, cancel := t.manager.Streaming(r.Context())
	defer cancel()
	// The library drops a connection when the context of a read or a write ends,
	// so these have one that the server's stop leaves alone: it takes leave.
	gone := conn.CloseRead(context.WithoutCancel(r.Context()))
	ctx, end := context.WithCancel(serving)
	defer end()
	defer context.AfterFunc(gone, end)()
	s := socket{conn: conn, ctx: ctx, gone: gone, of: of}
	err = t.follow(&s, cursor)
	if errors.Is(err, store.ErrNotFound) { // the task went while something of before was told of it
		err = s.deleted()
	}
	switch {
	case serving.Err() != nil:
		_ = conn.Close(websocket.StatusGoingAway, "the manager stops") // the client may be gone
	case errors.Is(err, errOver):
		_ = conn.Close(websocket.StatusNormalClosure, "there is nothing more to tell")
	case gone.Err() == nil && err != nil:
		t.log.Debug().Err(err).Str("task", of.task.Name).Msg("a socket ended")
		_ = s.over("the manager cannot read its database or bus; connect again in a moment") // it may be the connection that failed
		_ = conn.Close(websocket.StatusInternalError, "try again in a moment")
	default:
		_ = conn.CloseNow()
	}
}

// follow writes frames for the events behind cursor until the socket's end.
func (t *Translator) follow(s *socket, cursor int64) error {
	// What runs already is known from the task, and written before is the log's.
	var err error
	working := t.feed.Working()
	if s.of.told, err = t.phases(s.ctx, s.of); err != nil {
		return err
	}
	var talk *talker
	var looks <-chan time.Time
	if s.of.number > 0 {
		if talk, err = t.listen(s.ctx, s.of.experiment); err != nil {
			return err
		}
		defer talk.close(s.gone)
		ticker := time.NewTicker(look)
		defer ticker.Stop()
		looks = ticker.C
	}
	if err := s.greet(); err != nil {
		return err
	}
	beats := time.NewTicker(beat)
	defer beats.Stop()
	for {
		events, changed, err := t.feed.After(s.ctx, cursor)
		if err != nil {
			return err
		}
		for _, e := range events {
			cursor = e.ID
			if e.Task == nil || *e.Task != s.of.task.ID {
				continue
			}
			// What was written before the end is told before the end.
			if err := s.say(talk.frames(s.of)); err != nil {
				return err
			}
			if e.Kind == "deleted" {
				return s.deleted()
			}
			if err := s.say(t.frames(s.ctx, s.of, e)); err != nil {
				return err
			}
		}
		if len(events) > 0 {
			continue
		}
		select {
		case <-changed:
		case <-working:
			working = t.feed.Working() // before the look, which then misses nothing
			if err := t.look(s); err != nil {
				return err
			}
		case <-looks:
			if err := s.say(talk.frames(s.of)); err != nil {
				return err
			}
		case <-beats.C:
			if err := s.ping(); err != nil {
				return err
			}
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
	}
}

// look tells what workers began, and went on to, since the last look.
func (t *Translator) look(s *socket) error {
	now, err := t.phases(s.ctx, s.of)
	if err != nil {
		return err
	}
	frames, err := t.phaseFrames(s.ctx, s.of, s.of.told, now)
	s.of.told = now
	return s.say(frames, err)
}

// A socket is one client's connection.
type socket struct {
	conn *websocket.Conn
	// ctx ends when the client goes and when the server stops.
	ctx context.Context
	// gone ends when the client goes.
	gone context.Context
	of   subject
}

func (s *socket) greet() error {
	text := "watching task " + s.of.task.Name
	f := frame{Type: "connection_established", TaskID: s.of.task.Number, Message: text}
	if s.of.number > 0 {
		f.ExperimentID = &s.of.number
	}
	return s.write(f)
}

func (s *socket) write(f frame) error {
	ctx, cancel := context.WithTimeout(s.gone, patience)
	defer cancel()
	return wsjson.Write(ctx, s.conn, f)
}

// say writes frames, unless making them has failed.
func (s *socket) say(frames []frame, err error) error {
	for _, f := range frames {
		if err := s.write(f); err != nil {
			return err
		}
	}
	return err
}

// errOver ends a socket that has told why.
var errOver = errors.New("there is nothing more to tell")

// over tells why nothing more comes.
func (s *socket) over(why string) error {
	f := frame{Type: "error", TaskID: s.of.task.Number, Timestamp: float64(time.Now().UnixNano()) / float64(time.Second), Message: why}
	if s.of.number > 0 {
		f.ExperimentID = &s.of.number
	}
	return errors.Join(s.write(f), errOver)
}

func (s *socket) deleted() error {
	return s.over("task " + s.of.task.Name + " was deleted, or another took its place")
}

func (s *socket) ping() error {
	ctx, cancel := context.WithTimeout(s.gone, patience)
	defer cancel()
	return s.conn.Ping(ctx)
}

// sockets counts those that are open, so that their end can be waited for: a
// server that shuts down forgets connections that were taken over.
type sockets struct {
	mu      sync.Mutex
	closing bool
	group   sync.WaitGroup
}

func (s *sockets) open() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.group.Add(1)
	return true
}

func (s *sockets) close() { s.group.Done() }

func (s *sockets) wait() {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	s.group.Wait()
}
