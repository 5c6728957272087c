// Package api is the manager's front door: REST under /api/v1 with its
// OpenAPI description, problem documents that say what to do next,
// server-sent events with resume, health and metrics. It reads and writes the
// store, reads the log stream, and decides nothing: dispatch does. Clients of
// LLM Autotuner find their own paths beside it; see package autotuner.
//
// Everything asks for the bearer token, /metrics included (a scraper sends it
// as its authorization), save /healthz, /readyz and the API's description.
package api

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/fleetune/fleetune/manager/api/feed"
	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/autotuner"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/go-chi/chi/v5"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
)

// Config of an API.
type Config struct {
	// Store is the truth. Required.
	Store *store.Store
	// JetStream reads attempts' output; without it logs are refused.
	JetStream jetstream.JetStream
	// Token that requests must carry. Required.
	Token string
	// JoinToken, when set, opens POST /workers/{name}/credentials and nothing
	// else, so that a node can join without the keys to the house.
	JoinToken string
	// Credentials gives a worker its access to the bus; without it none joins.
	Credentials func(ctx context.Context, worker string) (v1.Credentials, error)
	// Metrics serves /metrics; without it there is none.
	Metrics http.Handler
	// Version of the program, as the API's description tells it.
	Version string
	Log     zerolog.Logger
}

// An API answers requests. Run follows the store for its watchers.
type API struct {
	config  Config
	store   *store.Store
	log     zerolog.Logger
	feed    *feed.Feed
	handler http.Handler
	// translator serves the paths of LLM Autotuner.
	translator *autotuner.Translator
	// insights has a place for each that may be computed at once.
	insights chan struct{}
	gathers  gathers
	// current remembers that the schema was found up to date: it never goes back.
	current atomic.Bool
}

// New makes an API. It fails without a store or a token.
func New(config Config) (*API, error) {
	if config.Store == nil {
		return nil, errors.New("the API needs a store")
	}
	if config.Token == "" {
		return nil, errors.New("the API needs a token")
	}
	a := &API{config: config, store: config.Store, log: config.Log, feed: feed.New(config.Store, config.Log),
		insights: make(chan struct{}, insightsAtOnce)}
	a.translator = autotuner.New(speaker{a}, a.store, a.feed, version(config.Version), a.log)
	a.handler, _ = a.routes()
	return a, nil
}

// Handler serves the API.
func (a *API) Handler() http.Handler { return a.handler }

// Run follows the store until ctx ends, so that watchers see what happens. It
// returns when the last socket is closed, so the server must end with ctx too.
func (a *API) Run(ctx context.Context) {
	defer a.translator.Wait()
	a.feed.Run(ctx)
}

// routes builds the handler and the description of what it serves.
func (a *API) routes() (http.Handler, *huma.OpenAPI) {
	router := chi.NewMux()
	router.Use(a.guard, a.authenticate)
	router.NotFound(func(w http.ResponseWriter, r *http.Request) {
		writeProblem(w, problem(http.StatusNotFound, nextOf(http.StatusNotFound), "there is no %s", r.URL.Path))
	})
	router.MethodNotAllowed(func(w http.ResponseWriter, r *http.Request) {
		writeProblem(w, problem(http.StatusMethodNotAllowed, nextOf(http.StatusNotFound), "%s does not take %s", r.URL.Path, r.Method))
	})
	a.mountHealth(router)
	a.translator.Mount(router)
	config := huma.DefaultConfig("Fleetune", version(a.config.Version))
	config.Info.Description = "Tunes LLM-inference servers and kernels on a fleet of GPU nodes. " +
		"Every request but /healthz, /readyz and this description carries the token as `Authorization: Bearer …`. " +
		"Errors are problem documents (RFC 9457) that say what to do next."
	// No pages that load scripts from elsewhere, and no schema links in documents.
	config.DocsPath, config.SchemasPath, config.CreateHooks = "", "", nil
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer"}}
	config.Security = []map[string][]string{{"token": {}}}
	described := humachi.New(router, config)
	api := huma.NewGroup(described, v1.Base)
	a.taskRoutes(api)
	a.submitRoutes(api)
	a.deletingRoutes(api)
	a.retryRoutes(api)
	a.experimentRoutes(api)
	a.logRoutes(api)
	a.loadRoutes(api)
	a.whyRoutes(api)
	a.insightRoutes(api)
	a.exportRoutes(api)
	a.compareRoutes(api)
	a.reportRoutes(api)
	a.recordRoutes(api)
	a.workerRoutes(api)
	a.presetRoutes(api)
	a.engineRoutes(api)
	a.recipeRoutes(api)
	a.eventRoutes(api)
	complete(described.OpenAPI())
	return router, described.OpenAPI()
}

func version(v string) string {
	if v == "" {
		return "v1"
	}
	return v
}

// operation describes one route.
func operation(id, method, path, summary, tag string) huma.Operation {
	return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Tags: []string{tag}, MaxBodyBytes: maxBody}
}

// get is the usual operation.
func get(id, path, summary, tag string) huma.Operation {
	return operation(id, http.MethodGet, path, summary, tag)
}
