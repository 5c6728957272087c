package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"
	"github.com/nats-io/nats.go"
)

// readyTime bounds the checks of one /readyz.
const readyTime = 3 * time.Second

// A readiness tells which parts are there: "ok", or what is wrong.
type readiness struct {
	Ready      bool   `json:"ready"`
	Database   string `json:"database"`
	Migrations string `json:"migrations"`
	Bus        string `json:"bus"`
}

func (a *API) mountHealth(router chi.Router) {
	router.Get("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok\n"))
	})
	router.Get("/readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readyTime)
		defer cancel()
		state := a.ready(ctx)
		w.Header().Set("Content-Type", "application/json")
		if !state.Ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = huma.DefaultJSONFormat.Marshal(w, state)
	})
	if a.config.Metrics != nil {
		router.Method(http.MethodGet, "/metrics", a.config.Metrics)
	}
}

func (a *API) ready(ctx context.Context) readiness {
	state := readiness{Ready: true, Database: "ok", Migrations: "ok", Bus: "ok"}
	if err := a.store.Ping(ctx); err != nil {
		a.log.Warn().Err(err).Msg("the database is not ready")
		return readiness{Database: "cannot be reached", Migrations: "unknown", Bus: a.busState()}
	}
	if !a.current.Load() {
		if err := a.store.CheckSchema(ctx); err != nil {
			a.log.Warn().Err(err).Msg("the schema is not ready")
			state.Ready, state.Migrations = false, "not applied"
		} else {
			a.current.Store(true)
		}
	}
	if state.Bus = a.busState(); state.Bus != "ok" {
		state.Ready = false
	}
	return state
}

func (a *API) busState() string {
	if a.config.JetStream == nil {
		return "not configured"
	}
	if status := a.config.JetStream.Conn().Status(); status != nats.CONNECTED {
		return status.String()
	}
	return "ok"
}
