package replay

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"github.com/fleetune/fleetune/proto/space"
)

// indexName is the file that describes the CSV files beside it.
const indexName = "index.json"

// indexEntry is one space of an index beside its CSV file.
type indexEntry struct {
	Name   string `json:"name"`
	File   string `json:"file"`
	Params []struct {
		Name   string        `json:"name"`
		Values []json.Number `json:"values"`
	} `json:"params"`
	Constants   map[string]json.Number `json:"constants"`
	Constraints []string               `json:"constraints"`
}

// readIndex reads the tables that an index describes, or only the one of a
// given file.
func readIndex(path, file string) ([]*sheet, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the index: %w", err)
	}
	var entries []indexEntry
	if err := json.Unmarshal(data, &entries); err != nil {
		return nil, fmt.Errorf("reading the index %s: %w", path, err)
	}
	var out []*sheet
	for i, e := range entries {
		if file != "" && e.File != file {
			continue
		}
		if e.File == "" {
			return nil, fmt.Errorf("reading the index %s: entry %d names no file", path, i+1)
		}
		s, err := readCSV(filepath.Join(filepath.Dir(path), e.File))
		if err != nil {
			return nil, err
		}
		e.describe(s)
		for _, name := range s.parameters {
			if err := s.knows(name); err != nil {
				return nil, fmt.Errorf("reading the index %s: %w", path, err)
			}
		}
		out = append(out, s)
	}
	return out, nil
}

// describe tells a sheet what the index says of it.
func (e *indexEntry) describe(s *sheet) {
	s.name, s.space = e.Name, &space.Space{}
	for _, p := range e.Params {
		parameter := space.Parameter{Name: p.Name, Type: space.Choice}
		for _, v := range p.Values {
			parameter.Values = append(parameter.Values, parseValue(v.String()))
		}
		s.space.Parameters = append(s.space.Parameters, parameter)
		s.parameters = append(s.parameters, p.Name)
	}
	for _, c := range e.Constraints {
		s.space.Constraints = append(s.space.Constraints, substitute(c, e.Constants))
	}
}

var identifier = regexp.MustCompile(`[A-Za-z_][A-Za-z0-9_]*`)

// substitute replaces the constants of an expression by their values.
func substitute(expression string, constants map[string]json.Number) string {
	return identifier.ReplaceAllStringFunc(expression, func(name string) string {
		if v, ok := constants[name]; ok {
			return v.String()
		}
		return name
	})
}
