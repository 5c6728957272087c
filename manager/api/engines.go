package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/catalog"
)

// EngineNamed names an engine and its version.
type EngineNamed struct {
	Engine  string `path:"engine" maxLength:"100" doc:"name of an engine, as base_runtime begins"`
	Version string `query:"version" maxLength:"100" doc:"version of the engine; the newest that is known without it"`
}

func (a *API) engineRoutes(api huma.API) {
	huma.Register(api, get("list-engines", "/engines", "The engines that tasks can tune, at the newest version that is known", "engines"),
		func(ctx context.Context, _ *struct{}) (*answer[v1.Page[v1.Engine]], error) {
			list, err := catalog.Engines()
			return reply(ctx, a, v1.Page[v1.Engine]{Items: list}, unknownEngine(err))
		})
	huma.Register(api, get("show-engine", "/engines/{engine}", "An engine with its versions and presets", "engines"),
		func(ctx context.Context, in *EngineNamed) (*answer[v1.Engine], error) {
			e, err := catalog.Engine(in.Engine, in.Version)
			return reply(ctx, a, e, unknownEngine(err))
		})
	huma.Register(api, get("list-arguments", "/engines/{engine}/arguments", "The arguments of an engine, by name", "engines"),
		func(ctx context.Context, in *struct {
			EngineNamed
			Tuned  bool   `query:"tuned" doc:"only what is commonly tuned"`
			Search string `query:"search" maxLength:"100" doc:"only those with this in their name or an alias"`
		}) (*answer[v1.Arguments], error) {
			list, err := catalog.Arguments(in.Engine, in.Version, catalog.Filter{Tuned: in.Tuned, Search: in.Search})
			return reply(ctx, a, list, unknownEngine(err))
		})
	huma.Register(api, get("show-argument", "/engines/{engine}/arguments/{argument}", "One argument, by its name or an alias", "engines"),
		func(ctx context.Context, in *struct {
			EngineNamed
			Argument string `path:"argument" maxLength:"100" doc:"with dashes or underscores"`
		}) (*answer[v1.Argument], error) {
			argument, err := catalog.Argument(in.Engine, in.Version, in.Argument)
			return reply(ctx, a, argument, unknownEngine(err))
		})
}

// unknownEngine is the problem of a name that is none.
func unknownEngine(err error) error {
	var u *catalog.Unknown
	if !errors.As(err, &u) {
		return err
	}
	p := problem(http.StatusNotFound, u.Next, "%s", err.Error())
	if u.Nearest != "" {
		p.Errors = []v1.Finding{{Severity: "error", Message: u.Message, Nearest: u.Nearest}}
	}
	return p
}
