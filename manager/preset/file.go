package preset

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// FileVersion is what exported files say.
const FileVersion = "1.0"

// example is a file in short, for messages.
const example = `{"version": "1.0", "preset": {"name": …, "parameters": {…}}}`

// A File is presets as they are exported: one as preset, several as presets.
type File struct {
	Version string  `json:"version"`
	Preset  *Entry  `json:"preset,omitempty"`
	Presets []Entry `json:"presets,omitempty"`
}

// An Entry is a preset in a file.
type Entry struct {
	Name        string                     `json:"name"`
	Description string                     `json:"description,omitempty"`
	Category    string                     `json:"category,omitempty"`
	Runtime     string                     `json:"runtime,omitempty"`
	Parameters  Parameters                 `json:"parameters"`
	Metadata    map[string]json.RawMessage `json:"metadata,omitempty"`
}

func (e Entry) preset() Preset {
	return Preset{Name: e.Name, Description: e.Description, Category: e.Category, Runtime: e.Runtime, Parameters: e.Parameters, Metadata: e.Metadata}
}

// Export writes one preset or several.
func Export(presets ...Preset) File {
	f := File{Version: FileVersion}
	for _, p := range presets {
		f.Presets = append(f.Presets, Entry{Name: p.Name, Description: p.Description, Category: p.Category, Runtime: p.Runtime,
			Parameters: p.Parameters, Metadata: p.Metadata})
	}
	if len(f.Presets) == 1 {
		f.Preset, f.Presets = &f.Presets[0], nil
	}
	return f
}

// Import reads and checks a file; every mistake is reported. The error wraps
// ErrInvalid.
func Import(data []byte) ([]Preset, error) {
	var f File
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, fmt.Errorf("%w: %w; expected JSON such as %s", ErrInvalid, placed(data, err), example)
	}
	entries := f.Presets
	if f.Preset != nil {
		entries = append(entries, *f.Preset)
	}
	if len(entries) == 0 {
		return nil, fmt.Errorf("%w: the file holds none; expected %s", ErrInvalid, example)
	}
	var wrong []error
	presets := make([]Preset, len(entries))
	for i, e := range entries {
		presets[i] = e.preset()
		if err := presets[i].Check(); err != nil {
			wrong = append(wrong, fmt.Errorf("preset %d (%q): %w", i+1, e.Name, err))
		}
	}
	return presets, errors.Join(wrong...)
}

// placed adds the line to a mistake in JSON's grammar.
func placed(data []byte, err error) error {
	syntax, ok := errors.AsType[*json.SyntaxError](err)
	if !ok {
		return err
	}
	return fmt.Errorf("line %d: %w", 1+bytes.Count(data[:min(int(syntax.Offset), len(data))], []byte("\n")), err)
}
