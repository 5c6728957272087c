package autotuner

import (
	"net/http"

	"github.com/go-chi/chi/v5"
)

// elsewhere answers what LLM Autotuner has and Fleetune does in another way.
func (t *Translator) elsewhere(r chi.Router) {
	for prefix, instead := range map[string]string{
		"/api/docker":    "containers belong to the workers that start them; fleetune workers and GET /api/v1/workers show what each is running",
		"/api/dashboard": "devices and workers are at GET /api/v1/workers, counts at GET /api/v1/tasks, time series at GET /metrics",
		"/api/ome":       "tasks with deployment_mode ome or kubernetes start plain deployments; no cluster resources have to be there first",
		"/api/agent":     "Fleetune has no chat; every command has --json, and GET /api/v1/tasks/{task}/insights explains results",
		"/api/workers":   "workers register over the bus and are listed at GET /api/v1/workers",
	} {
		answer := t.serve(instead501(instead))
		r.HandleFunc(prefix, answer)
		r.HandleFunc(prefix+"/*", answer)
	}
}

// instead501 says that something is not done here, and what does it.
func instead501(instead string) handler {
	return func(r *http.Request) (int, any, error) {
		return 0, nil, refuse(http.StatusNotImplemented, "%s %s is not done here: %s", r.Method, r.URL.Path, instead)
	}
}
