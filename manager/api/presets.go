package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/preset"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/shared/engine"
)

type presetReference struct {
	Preset string `path:"preset" maxLength:"200" doc:"name or slug of a preset"`
}

type presetFilter struct {
	Category string `query:"category" maxLength:"100"`
	Runtime  string `query:"runtime" maxLength:"100"`
}

func (a *API) presetRoutes(api huma.API) {
	huma.Register(api, get("list-presets", "/presets", "Named sets of parameters, those that come with Fleetune first", "presets"),
		func(ctx context.Context, in *presetFilter) (*answer[v1.Page[v1.Preset]], error) {
			list, err := a.listPresets(ctx, *in)
			return reply(ctx, a, v1.Page[v1.Preset]{Items: list}, err)
		})
	huma.Register(api, get("show-preset", "/presets/{preset}", "A preset", "presets"),
		func(ctx context.Context, in *presetReference) (*answer[v1.Preset], error) {
			p, err := a.preset(ctx, in.Preset)
			return reply(ctx, a, presetDocument(p), err)
		})
	add := operation("add-preset", http.MethodPost, "/presets", "Add a preset", "presets")
	add.DefaultStatus = http.StatusCreated
	huma.Register(api, add, func(ctx context.Context, in *struct{ Body v1.PresetDraft }) (*answer[v1.Preset], error) {
		list, err := a.addPresets(ctx, []preset.Preset{presetOf(in.Body)})
		if err != nil {
			return nil, failure(ctx, a.log, err)
		}
		return reply(ctx, a, list[0], nil)
	})
	huma.Register(api, operation("replace-preset", http.MethodPut, "/presets/{preset}", "Change a preset", "presets"),
		func(ctx context.Context, in *struct {
			Preset string `path:"preset" maxLength:"200" doc:"name or slug of a preset"`
			Body   v1.PresetDraft
		}) (*answer[v1.Preset], error) {
			d, err := a.replacePreset(ctx, in.Preset, presetOf(in.Body))
			return reply(ctx, a, d, err)
		})
	remove := operation("delete-preset", http.MethodDelete, "/presets/{preset}", "Delete a preset", "presets")
	remove.DefaultStatus = http.StatusNoContent
	huma.Register(api, remove, func(ctx context.Context, in *presetReference) (*struct{}, error) {
		if err := a.deletePreset(ctx, in.Preset); err != nil {
			return nil, failure(ctx, a.log, err)
		}
		return &struct{}{}, nil
	})
	a.presetFileRoutes(api)
}

func (a *API) presetFileRoutes(api huma.API) {
	huma.Register(api, get("export-preset", "/presets/{preset}/export", "A preset as a file that can be imported", "presets"),
		func(ctx context.Context, in *presetReference) (*answer[v1.PresetFile], error) {
			p, err := a.preset(ctx, in.Preset)
			return reply(ctx, a, presetFile(p), err)
		})
	take := operation("import-presets", http.MethodPost, "/presets/import", "Add the presets of an exported file, all or none", "presets")
	take.DefaultStatus = http.StatusCreated
	huma.Register(api, take, func(ctx context.Context, in *struct {
		Body map[string]json.RawMessage
	}) (*answer[v1.Page[v1.Preset]], error) {
		file, err := json.Marshal(in.Body)
		if err != nil {
			return nil, failure(ctx, a.log, presetProblem(fmt.Errorf("%w: %w", preset.ErrInvalid, err)))
		}
		presets, err := preset.Import(file)
		if err != nil {
			return nil, failure(ctx, a.log, presetProblem(err))
		}
		list, err := a.addPresets(ctx, presets)
		return reply(ctx, a, v1.Page[v1.Preset]{Items: list}, err)
	})
	huma.Register(api, operation("merge-presets", http.MethodPost, "/presets/merge", "What several presets make together", "presets"),
		func(ctx context.Context, in *struct{ Body v1.PresetMerge }) (*answer[v1.PresetMerged], error) {
			d, err := a.mergePresets(ctx, in.Body)
			return reply(ctx, a, d, err)
		})
}

// allPresets are those that come with Fleetune and then those of users.
func (a *API) allPresets(ctx context.Context) ([]preset.Preset, error) {
	own, err := a.store.Presets(ctx)
	if err != nil {
		return nil, err
	}
	return slices.Concat(preset.System(), own), nil
}

func (a *API) listPresets(ctx context.Context, filter presetFilter) ([]v1.Preset, error) {
	all, err := a.allPresets(ctx)
	if err != nil {
		return nil, err
	}
	if filter, err = known(filter, all); err != nil {
		return nil, err
	}
	list := []v1.Preset{}
	for _, p := range all {
		if (filter.Category == "" || filter.Category == p.Category) && (filter.Runtime == "" || p.Runtime == "" || filter.Runtime == p.Runtime) {
			list = append(list, presetDocument(p))
		}
	}
	return list, nil
}

// known is a filter with the engine's own name as its runtime. One that can
// find nothing is refused: an empty list would say that there are no presets
// yet, where only the word is wrong.
func known(filter presetFilter, all []preset.Preset) (presetFilter, error) {
	var categories, runtimes []string
	for _, p := range all {
		categories, runtimes = append(categories, p.Category), append(runtimes, p.Runtime)
	}
	if filter.Runtime != "" && !slices.Contains(runtimes, filter.Runtime) {
		e, err := engine.Lookup(filter.Runtime)
		if err != nil {
			return filter, problem(http.StatusUnprocessableEntity, "fleetune engines lists the engines", "runtime: %v", err)
		}
		filter.Runtime = e.Name()
	}
	if filter.Category == "" || slices.Contains(categories, filter.Category) {
		return filter, nil
	}
	slices.Sort(categories)
	next := "there are " + strings.Join(slices.DeleteFunc(slices.Compact(categories), func(s string) bool { return s == "" }), ", ")
	if near := space.Nearest(filter.Category, categories); near != "" {
		next = "did you mean " + near + "? " + next
	}
	return filter, problem(http.StatusUnprocessableEntity, next, "category: there is no preset of the category %q", filter.Category)
}

// preset finds a preset by its slug, or by its name in any spelling.
func (a *API) preset(ctx context.Context, name string) (preset.Preset, error) {
	all, err := a.allPresets(ctx)
	if err != nil {
		return preset.Preset{}, err
	}
	slug := preset.Slug(name)
	slugs := make([]string, len(all))
	for i, p := range all {
		if slugs[i] = p.Slug; p.Slug == slug {
			return p, nil
		}
	}
	next := "fleetune presets lists those there are"
	if near := space.Nearest(slug, slugs); near != "" {
		next += "; did you mean " + near + "?"
	}
	return preset.Preset{}, problem(http.StatusNotFound, next, "there is no preset %q", name)
}

func (a *API) addPresets(ctx context.Context, presets []preset.Preset) ([]v1.Preset, error) {
	for i := range presets {
		if err := presets[i].Check(); err != nil {
			return nil, presetProblem(err)
		}
		if isSystem(presets[i].Slug) {
			return nil, presetTaken(presets[i].Name)
		}
	}
	if err := a.store.AddPresets(ctx, presets); err != nil {
		return nil, presetProblem(err)
	}
	list := make([]v1.Preset, len(presets))
	for i := range presets {
		p, err := a.preset(ctx, presets[i].Slug)
		if err != nil {
			return nil, err
		}
		list[i] = presetDocument(p)
	}
	return list, nil
}

func (a *API) replacePreset(ctx context.Context, name string, p preset.Preset) (v1.Preset, error) {
	before, err := a.preset(ctx, name)
	switch {
	case err != nil:
		return v1.Preset{}, err
	case before.System:
		return v1.Preset{}, presetProblem(preset.ErrProtected)
	}
	if err := p.Check(); err != nil {
		return v1.Preset{}, presetProblem(err)
	}
	if isSystem(p.Slug) {
		return v1.Preset{}, presetTaken(p.Name)
	}
	if err := a.store.ReplacePreset(ctx, before.Slug, p); err != nil {
		return v1.Preset{}, presetProblem(err)
	}
	after, err := a.preset(ctx, p.Slug)
	return presetDocument(after), err
}

func (a *API) deletePreset(ctx context.Context, name string) error {
	p, err := a.preset(ctx, name)
	switch {
	case err != nil:
		return err
	case p.System:
		return presetProblem(preset.ErrProtected)
	}
	return a.store.DeletePreset(ctx, p.Slug)
}

func (a *API) mergePresets(ctx context.Context, in v1.PresetMerge) (v1.PresetMerged, error) {
	presets := make([]preset.Preset, len(in.Presets))
	for i, name := range in.Presets {
		var err error
		if presets[i], err = a.preset(ctx, name); err != nil {
			return v1.PresetMerged{}, err
		}
	}
	strategy := preset.Strategy(in.Strategy)
	if strategy == "" {
		strategy = preset.Union
	}
	m, err := preset.Merge(strategy, presets...)
	if err != nil {
		return v1.PresetMerged{}, presetProblem(err)
	}
	return v1.PresetMerged{Parameters: v1.PresetParameters(m.Parameters), Applied: m.Applied, Conflicts: m.Conflicts}, nil
}

func isSystem(slug string) bool {
	return slices.ContainsFunc(preset.System(), func(p preset.Preset) bool { return p.Slug == slug })
}

func presetTaken(name string) error {
	return problem(http.StatusConflict, "give it another name, or change the one that is there", "%q: %s", name, store.ErrPresetExists)
}

// presetProblem says what to do about an error that the caller can mend.
func presetProblem(err error) error {
	switch {
	case errors.Is(err, preset.ErrInvalid):
		p := problem(http.StatusUnprocessableEntity, "correct the preset", "%s", preset.ErrInvalid)
		for line := range strings.SplitSeq(err.Error(), "\n") {
			p.Errors = append(p.Errors, v1.Finding{Severity: "error", Message: line})
		}
		return p
	case errors.Is(err, preset.ErrUnmergeable):
		return problem(http.StatusUnprocessableEntity, "name presets of one engine, and how to merge them: union, intersection or last_wins", "%s", err)
	case errors.Is(err, preset.ErrProtected):
		return problem(http.StatusConflict, "export it and add it under another name", "%s", err)
	case errors.Is(err, store.ErrPresetExists):
		return problem(http.StatusConflict, "give it another name, or change the one that is there", "%s", err)
	}
	return err
}

func presetOf(d v1.PresetDraft) preset.Preset {
	return preset.Preset{Name: d.Name, Description: d.Description, Category: d.Category, Runtime: d.Runtime,
		Parameters: preset.Parameters(d.Parameters), Metadata: d.Metadata}
}

func presetFile(p preset.Preset) v1.PresetFile {
	return v1.PresetFile{Version: preset.FileVersion, Preset: v1.PresetDraft{Name: p.Name, Description: p.Description,
		Category: p.Category, Runtime: p.Runtime, Parameters: v1.PresetParameters(p.Parameters), Metadata: p.Metadata}}
}

func presetDocument(p preset.Preset) v1.Preset {
	d := v1.Preset{Slug: p.Slug, Name: p.Name, Description: p.Description, Category: p.Category, Runtime: p.Runtime,
		Parameters: v1.PresetParameters(p.Parameters), Metadata: p.Metadata, System: p.System, Combinations: p.Parameters.Combinations()}
	if !p.CreatedAt.IsZero() {
		created, updated := p.CreatedAt.UTC(), p.UpdatedAt.UTC()
		d.CreatedAt, d.UpdatedAt = &created, &updated
	}
	return d
}
