package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/autotuner"
	"github.com/go-chi/chi/v5/middleware"
)

// authenticate lets requests pass that carry the token, or one of the open
// paths. The join token opens the credentials of workers and nothing else.
func (a *API) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/health", "/healthz", "/readyz", "/openapi.json", "/openapi.yaml":
			next.ServeHTTP(w, r)
			return
		}
		given, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !bearer && strings.HasPrefix(r.URL.Path, "/api/ws/") {
			given, bearer = autotuner.SocketToken(r)
		}
		allowed := bearer && same(given, a.config.Token)
		if !allowed && bearer && a.config.JoinToken != "" && joins(r) {
			allowed = same(given, a.config.JoinToken)
		}
		if !allowed {
			w.Header().Set("WWW-Authenticate", `Bearer realm="fleetune"`)
			detail := "the request carries no token"
			if bearer {
				detail = "the token is not this manager's"
			}
			writeProblem(w, problem(http.StatusUnauthorized, nextOf(http.StatusUnauthorized), "%s", detail))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// joins says whether the request asks for a worker's credentials.
func joins(r *http.Request) bool {
	rest, ok := strings.CutPrefix(r.URL.Path, v1.Base+"/workers/")
	name, ok2 := strings.CutSuffix(rest, "/credentials")
	return ok && ok2 && r.Method == http.MethodPost && !strings.Contains(name, "/")
}

// same compares in a time that tells nothing about how much of it is right.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// maxBody bounds a request in bytes: a bundle in base64, its task file and
// some air. Every operation has it.
const maxBody = 16 << 20

// guard keeps a panic to its request, and logs.
func (a *API) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun := time.Now()
		ww := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		defer func() {
			if cause := recover(); cause != nil {
				if cause == http.ErrAbortHandler { //nolint:errorlint // net/http itself compares so
					panic(cause) // net/http's own way to drop a connection
				}
				a.log.Error().Interface("panic", cause).Bytes("stack", debug.Stack()).Str("path", r.URL.Path).Msg("request panicked")
				if ww.Status() == 0 {
					writeProblem(ww, problem(http.StatusInternalServerError, nextOf(0), "the manager failed on this request"))
				}
			}
			a.log.Debug().Str("method", r.Method).Str("path", r.URL.Path).Int("status", ww.Status()).
				Dur("took", time.Since(begun)).Msg("request")
		}()
		next.ServeHTTP(ww, r)
	})
}
