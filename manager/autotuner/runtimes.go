package autotuner

import (
	"errors"
	"net/http"

	"github.com/fleetune/fleetune/manager/catalog"
	"github.com/go-chi/chi/v5"
)

func (t *Translator) runtimeRoutes(r chi.Router) {
	r.Get("/", t.serve(t.runtimes))
	r.Post("/validate", t.serve(t.validate))
	r.HandleFunc("/compatibility", t.serve(instead501("a task file names one engine's arguments, and fleetune submit --dry-run says what those of another are called")))
	r.Get("/{runtime}", t.serve(func(r *http.Request) (int, any, error) {
		return t.parameters(r, flag(r, "commonly_tuned_only"))
	}))
	r.Get("/{runtime}/commonly-tuned", t.serve(func(r *http.Request) (int, any, error) { return t.parameters(r, true) }))
}

// A runtimeCount is an engine with how many arguments are known of it.
type runtimeCount struct {
	Runtime string `json:"runtime"`
	Version string `json:"version"`
	Total   int    `json:"total_parameters"`
	Tuned   int    `json:"commonly_tuned"`
}

func (t *Translator) runtimes(*http.Request) (int, any, error) {
	engines, err := catalog.Engines()
	if err != nil {
		return 0, nil, err
	}
	list := make([]runtimeCount, len(engines))
	for i, e := range engines {
		list[i] = runtimeCount{Runtime: e.Name, Version: e.Version, Total: e.Total, Tuned: e.Tuned}
	}
	return http.StatusOK, map[string][]runtimeCount{"runtimes": list}, nil
}

// runtimeParameters are the names of an engine's arguments.
type runtimeParameters struct {
	Runtime    string   `json:"runtime"`
	Version    string   `json:"version"`
	Count      int      `json:"count"`
	Parameters []string `json:"parameters"`
}

func (t *Translator) parameters(r *http.Request, tuned bool) (int, any, error) {
	known, err := catalog.Arguments(chi.URLParam(r, "runtime"), "", catalog.Filter{Tuned: tuned})
	if err != nil {
		return 0, nil, unknown(err)
	}
	d := runtimeParameters{Runtime: known.Engine, Version: known.Version, Count: len(known.Items), Parameters: []string{}}
	for _, argument := range known.Items {
		d.Parameters = append(d.Parameters, argument.Name)
	}
	return http.StatusOK, d, nil
}

// unknown is the refusal of an engine that is none.
func unknown(err error) error {
	var u *catalog.Unknown
	if errors.As(err, &u) {
		return refuse(http.StatusNotFound, "%s; GET /api/runtime-params/ lists the engines", u.Error())
	}
	return err
}

// A verdict says whether an engine has an argument.
type verdict struct {
	Runtime   string `json:"runtime"`
	Parameter string `json:"parameter"`
	Valid     bool   `json:"is_valid"`
	// Message says what is wrong, with the nearest name; LLM Autotuner has none.
	Message string `json:"message,omitempty"`
}

func (t *Translator) validate(r *http.Request) (int, any, error) {
	var in struct{ Runtime, Parameter string }
	if err := decode(r, &in); err != nil {
		return 0, nil, err
	}
	if in.Runtime == "" || in.Parameter == "" {
		return 0, nil, refuse(http.StatusUnprocessableEntity, `expected {"runtime": …, "parameter": …}`)
	}
	e, err := catalog.Engine(in.Runtime, "")
	if err != nil {
		return 0, nil, unknown(err)
	}
	v := verdict{Runtime: e.Name, Parameter: in.Parameter}
	_, err = catalog.Argument(in.Runtime, "", in.Parameter)
	switch {
	case err == nil:
		v.Valid = true
	case errors.Is(err, catalog.ErrUnknown):
		v.Message = err.Error()
	default:
		return 0, nil, err
	}
	return http.StatusOK, v, nil
}
