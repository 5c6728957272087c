package autotuner

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/preset"
	"github.com/go-chi/chi/v5"
)

func (t *Translator) presetRoutes(r chi.Router) {
	r.Get("/", t.serve(t.listPresets))
	r.Post("/", t.serve(t.addPreset))
	r.Post("/import", t.serve(t.importPresets))
	r.Post("/merge", t.serve(t.mergePresets))
	r.Get("/{preset}", t.serve(t.showPreset))
	r.Put("/{preset}", t.serve(t.replacePreset))
	r.Delete("/{preset}", t.serve(t.deletePreset))
	r.Get("/{preset}/export", t.serve(t.exportPreset))
}

// A presetDocument is a preset in LLM Autotuner's words; its id is the slug.
type presetDocument struct {
	ID          string                     `json:"id"`
	Name        string                     `json:"name"`
	Description string                     `json:"description"`
	Category    string                     `json:"category"`
	Runtime     string                     `json:"runtime"`
	System      bool                       `json:"is_system"`
	Parameters  preset.Parameters          `json:"parameters"`
	Metadata    map[string]json.RawMessage `json:"metadata"`
	CreatedAt   *time.Time                 `json:"created_at"`
	UpdatedAt   *time.Time                 `json:"updated_at"`
}

func presetOf(p preset.Preset) presetDocument {
	d := presetDocument{ID: p.Slug, Name: p.Name, Description: p.Description, Category: p.Category, Runtime: p.Runtime,
		System: p.System, Parameters: p.Parameters, Metadata: p.Metadata}
	if !p.CreatedAt.IsZero() {
		d.CreatedAt, d.UpdatedAt = utc(&p.CreatedAt), utc(&p.UpdatedAt)
	}
	return d
}

func (t *Translator) listPresets(r *http.Request) (int, any, error) {
	all, err := t.manager.Presets(r.Context())
	if err != nil {
		return 0, nil, err
	}
	category := r.URL.Query().Get("category")
	list := []presetDocument{}
	for _, p := range all {
		if category == "" || category == p.Category {
			list = append(list, presetOf(p))
		}
	}
	return http.StatusOK, list, nil
}

func (t *Translator) showPreset(r *http.Request) (int, any, error) {
	p, err := t.manager.Preset(r.Context(), chi.URLParam(r, "preset"))
	return http.StatusOK, presetOf(p), err
}

// draft reads a preset from a request's body.
func draft(r *http.Request) (preset.Preset, error) {
	var d v1.PresetDraft
	err := decode(r, &d)
	return preset.Preset{Name: d.Name, Description: d.Description, Category: d.Category, Runtime: d.Runtime,
		Parameters: preset.Parameters(d.Parameters), Metadata: d.Metadata}, err
}

func (t *Translator) addPreset(r *http.Request) (int, any, error) {
	p, err := draft(r)
	if err != nil {
		return 0, nil, err
	}
	added, err := t.manager.AddPresets(r.Context(), []preset.Preset{p})
	if err != nil {
		return 0, nil, err
	}
	if p, err = t.manager.Preset(r.Context(), added[0].Slug); err != nil {
		return 0, nil, err
	}
	return http.StatusCreated, presetOf(p), nil
}

// replacePreset changes what the body names and leaves the rest.
func (t *Translator) replacePreset(r *http.Request) (int, any, error) {
	ref := chi.URLParam(r, "preset")
	before, err := t.manager.Preset(r.Context(), ref)
	if err != nil {
		return 0, nil, err
	}
	d := v1.PresetDraft{Name: before.Name, Description: before.Description, Category: before.Category, Runtime: before.Runtime,
		Parameters: v1.PresetParameters(before.Parameters), Metadata: before.Metadata}
	if err := decode(r, &d); err != nil {
		return 0, nil, err
	}
	after, err := t.manager.ReplacePreset(r.Context(), before.Slug, preset.Preset{Name: d.Name, Description: d.Description,
		Category: d.Category, Runtime: d.Runtime, Parameters: preset.Parameters(d.Parameters), Metadata: d.Metadata})
	if err != nil {
		return 0, nil, err
	}
	p, err := t.manager.Preset(r.Context(), after.Slug)
	return http.StatusOK, presetOf(p), err
}

func (t *Translator) deletePreset(r *http.Request) (int, any, error) {
	return http.StatusNoContent, nil, t.manager.DeletePreset(r.Context(), chi.URLParam(r, "preset"))
}

func (t *Translator) exportPreset(r *http.Request) (int, any, error) {
	p, err := t.manager.Preset(r.Context(), chi.URLParam(r, "preset"))
	return http.StatusOK, preset.Export(p), err
}

// importPresets takes a file, as a form's or as the body itself, and answers
// with the preset, or with all where the file has several.
func (t *Translator) importPresets(r *http.Request) (int, any, error) {
	data, err := uploaded(r)
	if err != nil {
		return 0, nil, err
	}
	presets, err := preset.Import(data)
	if err != nil {
		return 0, nil, refuse(http.StatusUnprocessableEntity, "%v", err)
	}
	added, err := t.manager.AddPresets(r.Context(), presets)
	if err != nil {
		return 0, nil, err
	}
	list := make([]presetDocument, len(added))
	for i := range added {
		p, err := t.manager.Preset(r.Context(), added[i].Slug)
		if err != nil {
			return 0, nil, err
		}
		list[i] = presetOf(p)
	}
	if len(list) == 1 {
		return http.StatusCreated, list[0], nil
	}
	return http.StatusCreated, list, nil
}

// uploaded is the first file of a form, or else the body.
func uploaded(r *http.Request) ([]byte, error) {
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/form-data") {
		return body(r)
	}
	parts, err := r.MultipartReader()
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "the form could not be read: %v", err)
	}
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return nil, refuse(http.StatusUnprocessableEntity, "the form has no file; expected one field with the exported preset")
		}
		if err != nil {
			return nil, refuse(http.StatusBadRequest, "the form could not be read: %v", err)
		}
		if part.FileName() == "" {
			continue
		}
		data, err := io.ReadAll(part)
		if err != nil {
			return nil, refuse(http.StatusBadRequest, "the file could not be read: %v", err)
		}
		return data, nil
	}
}

func (t *Translator) mergePresets(r *http.Request) (int, any, error) {
	var in v1.PresetMerge
	if err := decode(r, &in); err != nil {
		return 0, nil, err
	}
	merged, err := t.manager.MergePresets(r.Context(), in)
	return http.StatusOK, merged, err
}
