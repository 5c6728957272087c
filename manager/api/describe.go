package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/fleetune/fleetune/manager/autotuner"
)

//go:generate go run ./openapigen

// Describe returns the OpenAPI 3.1 description of the API as indented JSON. It
// is committed as openapi.json, beside this file.
func Describe() ([]byte, error) {
	a := &API{config: Config{Metrics: http.NotFoundHandler()}, translator: &autotuner.Translator{}}
	_, described := a.routes()
	data, err := json.Marshal(described)
	if err != nil {
		return nil, fmt.Errorf("describing the API: %w", err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, data, "", "  "); err != nil {
		return nil, fmt.Errorf("describing the API: %w", err)
	}
	indented.WriteByte('\n')
	return indented.Bytes(), nil
}

// complete says what the types alone cannot: which objects may be null, that
// documents gain fields in time, and the routes outside /api/v1.
func complete(described *huma.OpenAPI) {
	schemas := described.Components.Schemas.Map()
	for name, fields := range map[string][]string{
		"Task": {"baseline", "best"}, "Best": {"speedup"}, "Experiment": {"error"}, "Detailed": {"error"},
		"Attempt": {"error"}, "Submitted": {"task"},
	} {
		for _, field := range fields {
			old := schemas[name].Properties[field]
			schemas[name].Properties[field] = &huma.Schema{Description: old.Description,
				OneOf: []*huma.Schema{{Ref: old.Ref}, {Type: "null"}}}
		}
	}
	for name, schema := range schemas {
		if name != "Submission" && name != "Change" {
			schema.AdditionalProperties = nil
		}
	}
	plain := func(id, path, summary, media string) {
		op := get(id, path, summary, "health")
		op.Responses = map[string]*huma.Response{"200": {Description: summary, Content: map[string]*huma.MediaType{media: {}}}}
		if id != "metrics" {
			op.Security = []map[string][]string{{}}
		}
		described.AddOperation(&op)
	}
	plain("healthz", "/healthz", "The process answers", "text/plain")
	plain("readyz", "/readyz", "Database, migrations and bus are there; 503 while not", "application/json")
	plain("metrics", "/metrics", "Prometheus metrics", "text/plain")
}
