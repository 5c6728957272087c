package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/rs/zerolog"
)

// The model of errors can only be given to huma in this way; set once, before
// any API exists, it is the same for all.
func init() { huma.NewError = newProblem }

// newProblem makes the problem of what huma itself finds wrong with a request.
func newProblem(status int, message string, errs ...error) huma.StatusError {
	p := &v1.Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: message, Next: nextOf(status)}
	for _, err := range errs {
		if err == nil {
			continue
		}
		f := v1.Finding{Severity: "error", Message: err.Error()}
		var detailed huma.ErrorDetailer
		if errors.As(err, &detailed) {
			d := detailed.ErrorDetail()
			f.Field, f.Message = d.Location, d.Message
		}
		p.Errors = append(p.Errors, f)
	}
	return p
}

func nextOf(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "send the token as 'Authorization: Bearer …'; fleetune reads it from FLEETUNE_TOKEN"
	case http.StatusNotFound:
		return "see /openapi.json for what there is"
	case http.StatusUnsupportedMediaType:
		return "send the body as Content-Type: application/json"
	case http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusMethodNotAllowed, http.StatusNotAcceptable:
		return "correct the request as /openapi.json describes it"
	case http.StatusRequestEntityTooLarge:
		return "send less: a task's files may add up to 8 MiB"
	case http.StatusServiceUnavailable:
		return "try again in a moment; /readyz says what is missing"
	default:
		return "look into the manager's log"
	}
}

// problem refuses a request.
func problem(status int, next, format string, args ...any) *v1.Problem {
	return &v1.Problem{Type: "about:blank", Title: http.StatusText(status), Status: status,
		Detail: fmt.Sprintf(format, args...), Next: next}
}

// failure turns an error of the store or the bus into a problem. What the
// caller cannot mend is logged, and told without its inner detail.
func failure(ctx context.Context, log zerolog.Logger, err error) *v1.Problem {
	var p *v1.Problem
	switch {
	case errors.As(err, &p):
		return p
	case errors.Is(err, store.ErrNotFound):
		return problem(http.StatusNotFound, "see fleetune tasks and fleetune workers for what there is", "%s", err.Error())
	case errors.Is(err, store.ErrTaskExists):
		return problem(http.StatusConflict, "give it another name: fleetune submit --name NAME", "%s", err.Error())
	case errors.Is(err, store.ErrState):
		return problem(http.StatusConflict, "fleetune show tells how it stands", "%s", err.Error())
	case ctx.Err() != nil:
		return problem(http.StatusServiceUnavailable, nextOf(http.StatusServiceUnavailable), "the request was given up")
	}
	log.Error().Err(err).Msg("request failed")
	return problem(http.StatusServiceUnavailable, nextOf(http.StatusServiceUnavailable), "the manager could not reach its database or bus")
}

// writeProblem answers outside huma.
func writeProblem(w http.ResponseWriter, p *v1.Problem) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	// The connection is all that can fail here, and with it the answer.
	_ = huma.DefaultJSONFormat.Marshal(w, p)
}
