package v1

import (
	"encoding/json"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/fleetune/fleetune/manager/preset"
)

// PresetParameters are lists of values by parameter, in their order.
type PresetParameters preset.Parameters

// MarshalJSON writes an object whose keys are in order.
func (p PresetParameters) MarshalJSON() ([]byte, error) { return preset.Parameters(p).MarshalJSON() }

// UnmarshalJSON reads an object of lists.
func (p *PresetParameters) UnmarshalJSON(data []byte) error {
	return (*preset.Parameters)(p).UnmarshalJSON(data)
}

// Schema describes the object.
func (PresetParameters) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, Description: "lists of values by parameter, in order; null is the engine's own choice",
		AdditionalProperties: &huma.Schema{Type: huma.TypeArray, Items: &huma.Schema{}}}
}

// A PresetFile is a preset as it is exported.
type PresetFile struct {
	Version string      `json:"version"`
	Preset  PresetDraft `json:"preset"`
}

// A Preset is a named set of engine parameters that tasks start from.
type Preset struct {
	// Slug names it in addresses.
	Slug        string                     `json:"slug"`
	Name        string                     `json:"name"`
	Description string                     `json:"description"`
	Category    string                     `json:"category"`
	Runtime     string                     `json:"runtime" doc:"the engine; empty is any"`
	Parameters  PresetParameters           `json:"parameters"`
	Metadata    map[string]json.RawMessage `json:"metadata"`
	// System presets come with Fleetune and stay as they are.
	System bool `json:"is_system"`
	// Combinations of the full grid.
	Combinations float64    `json:"combinations"`
	CreatedAt    *time.Time `json:"created_at"`
	UpdatedAt    *time.Time `json:"updated_at"`
}

// A PresetDraft is a preset as it is handed in.
type PresetDraft struct {
	Name        string                     `json:"name" maxLength:"100"`
	Description string                     `json:"description,omitempty" maxLength:"4000"`
	Category    string                     `json:"category,omitempty" maxLength:"100"`
	Runtime     string                     `json:"runtime,omitempty" maxLength:"100"`
	Parameters  PresetParameters           `json:"parameters"`
	Metadata    map[string]json.RawMessage `json:"metadata,omitempty"`
}

// PresetMerge asks what several presets make together.
type PresetMerge struct {
	Presets []string `json:"preset_ids" doc:"names or slugs, in order"`
	// Strategy is union, intersection or last_wins.
	Strategy string `json:"merge_strategy,omitempty" enum:"union,intersection,last_wins" default:"union"`
}

// PresetMerged is what several presets make together.
type PresetMerged struct {
	Parameters PresetParameters  `json:"parameters"`
	Applied    []string          `json:"applied_presets"`
	Conflicts  []preset.Conflict `json:"conflicts"`
}
