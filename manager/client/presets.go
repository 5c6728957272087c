package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/fleetune/fleetune/manager/api/v1"
)

// Presets lists presets; empty arguments do not narrow the list.
func (c *Client) Presets(ctx context.Context, category, runtime string) ([]v1.Preset, error) {
	q := url.Values{}
	if category != "" {
		q.Set("category", category)
	}
	if runtime != "" {
		q.Set("runtime", runtime)
	}
	page, err := get[v1.Page[v1.Preset]](ctx, c, path("presets"), q)
	return page.Items, err
}

// Preset returns a preset by name or slug.
func (c *Client) Preset(ctx context.Context, name string) (v1.Preset, error) {
	return get[v1.Preset](ctx, c, path("presets", name), nil)
}

// ExportPreset returns a preset as a file.
func (c *Client) ExportPreset(ctx context.Context, name string) (v1.PresetFile, error) {
	return get[v1.PresetFile](ctx, c, path("presets", name, "export"), nil)
}

// ImportPresets adds the presets of a file, all or none.
func (c *Client) ImportPresets(ctx context.Context, file []byte) ([]v1.Preset, error) {
	page, err := send[v1.Page[v1.Preset]](ctx, c, http.MethodPost, path("presets", "import"), json.RawMessage(file))
	return page.Items, err
}

// ReplacePreset changes a preset.
func (c *Client) ReplacePreset(ctx context.Context, name string, p v1.PresetDraft) (v1.Preset, error) {
	return send[v1.Preset](ctx, c, http.MethodPut, path("presets", name), p)
}

// DeletePreset removes a preset.
func (c *Client) DeletePreset(ctx context.Context, name string) error {
	response, err := c.request(ctx, http.MethodDelete, path("presets", name), nil, nil, nil)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// MergePresets says what several presets make together.
func (c *Client) MergePresets(ctx context.Context, m v1.PresetMerge) (v1.PresetMerged, error) {
	return send[v1.PresetMerged](ctx, c, http.MethodPost, path("presets", "merge"), m)
}
