package autotuner

import (
	"net/http"

	"github.com/fleetune/fleetune/shared/engine"
	"github.com/go-chi/chi/v5"
)

func (t *Translator) systemRoutes(r chi.Router) {
	r.Get("/health", t.serve(t.health))
	r.Get("/info", t.serve(t.info))
}

// alive is what LLM Autotuner's probe asks for: that something answers.
func alive(*http.Request) (int, any, error) {
	return http.StatusOK, map[string]string{"status": "healthy"}, nil
}

// health tells the bus's state where LLM Autotuner tells that of its queue.
func (t *Translator) health(r *http.Request) (int, any, error) {
	d := struct {
		Status   string `json:"status"`
		Database string `json:"database"`
		Redis    string `json:"redis"`
	}{Status: "healthy"}
	if d.Database, d.Redis = t.manager.Ready(r.Context()); d.Database != "ok" || d.Redis != "ok" {
		d.Status = "unhealthy"
		return http.StatusServiceUnavailable, d, nil
	}
	return http.StatusOK, d, nil
}

// defaultMode is the deployment_mode of task files that name none.
const defaultMode = "docker"

func (t *Translator) info(*http.Request) (int, any, error) {
	return http.StatusOK, struct {
		Name     string   `json:"app_name"`
		Version  string   `json:"version"`
		Mode     string   `json:"deployment_mode"`
		Runtimes []string `json:"available_runtimes"`
		Timezone string   `json:"timezone"`
	}{"Fleetune", t.version, defaultMode, engine.Names(), "UTC"}, nil
}
