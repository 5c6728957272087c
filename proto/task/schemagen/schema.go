package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/fleetune/fleetune/proto/task/internal/form"
	"github.com/invopop/jsonschema"
)

// comments maps "Type.Field" to the text above the field.
type comments map[string]string

func readComments(folder string) (comments, error) {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return nil, fmt.Errorf("finding %s: %w", folder, err)
	}
	var r jsonschema.Reflector
	if err := r.AddGoComments("", folder); err != nil {
		return nil, fmt.Errorf("reading comments in %s: %w", folder, err)
	}
	out := comments{}
	for name, text := range r.CommentMap {
		out[strings.TrimPrefix(name, folder+".")] = strings.Join(strings.Fields(text), " ")
	}
	return out, nil
}

func (c comments) of(t reflect.Type, field string) string {
	if field == "" {
		return c[t.Name()]
	}
	return c[t.Name()+"."+field]
}

func generateSchema(c comments) ([]byte, error) {
	schema := reflector(c).Reflect(form.Task{})
	schema.ID = "https://github.com/fleetune/fleetune/proto/task/schema.json"
	schema.Title = "Fleetune task"
	schema.PatternProperties = map[string]*jsonschema.Schema{"^x-": jsonschema.TrueSchema}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(schema); err != nil {
		return nil, fmt.Errorf("encoding the schema: %w", err)
	}
	return b.Bytes(), nil
}

func reflector(c comments) *jsonschema.Reflector {
	return &jsonschema.Reflector{DoNotReference: true, LookupComment: c.of, Mapper: func(t reflect.Type) *jsonschema.Schema {
		return mapped(t, c)
	}}
}

// mapped gives the schema of the types that have forms of their own.
func mapped(t reflect.Type, c comments) *jsonschema.Schema {
	long := func(v any) *jsonschema.Schema {
		s := reflector(c).Reflect(v)
		s.Version, s.ID = "", ""
		s.Description = c.of(reflect.TypeOf(v), "")
		return s
	}
	switch t {
	case reflect.TypeFor[form.Parameters]():
		return mapping(anyOf(scalar(), list(nullable()), long(form.ParameterForm{})))
	case reflect.TypeFor[form.Conditions]():
		return anyOf(mapping(text()), list(long(form.Condition{})))
	case reflect.TypeFor[form.Texts]():
		return anyOf(text(), list(text()))
	case reflect.TypeFor[form.Models]():
		model := anyOf(text(), long(form.Model{}))
		return anyOf(text(), long(form.Model{}), list(model))
	case reflect.TypeFor[form.Values]():
		return anyOf(nullable(), list(nullable()))
	case reflect.TypeFor[form.Counts]():
		count := &jsonschema.Schema{Type: "integer", Minimum: "1"}
		return anyOf(count, list(count))
	case reflect.TypeFor[form.Baseline]():
		return anyOf(&jsonschema.Schema{Type: "boolean"}, mapping(scalar()))
	case reflect.TypeFor[form.File]():
		return anyOf(text(), long(form.FileForm{}))
	case reflect.TypeFor[form.Step]():
		argv := list(scalar())
		argv.MinItems = ptr(uint64(1))
		return anyOf(argv, long(form.StepForm{}))
	case reflect.TypeFor[form.Objective]():
		return anyOf(pattern(`^(minimize|maximize)[_ ]\S+$`), long(form.ObjectiveForm{}))
	case reflect.TypeFor[form.SLOMetric]():
		return anyOf(append(limit().AnyOf, long(form.SLOMetricForm{}))...)
	case reflect.TypeFor[form.SLOTerm]():
		return anyOf(append(limit().AnyOf, long(form.SLOTermForm{}))...)
	case reflect.TypeFor[form.Limit]():
		return limit()
	case reflect.TypeFor[form.Racing]():
		return anyOf(&jsonschema.Schema{Type: "boolean"}, long(form.RacingForm{}))
	case reflect.TypeFor[form.Word]():
		return scalar()
	case reflect.TypeFor[form.Value]():
		return nullable()
	case reflect.TypeFor[form.Point]():
		return mapping(scalar())
	case reflect.TypeFor[form.Options]():
		return &jsonschema.Schema{Type: "object"}
	case reflect.TypeFor[form.Path]():
		return pattern(`^[^/\\]`)
	case reflect.TypeFor[form.VariableName]():
		return pattern(`^[A-Za-z_][A-Za-z0-9_]*$`)
	case reflect.TypeFor[form.Memory]():
		return pattern(`^[0-9]+(\.[0-9]+)? ?([kKmMgGtT][iI]?)?[bB]$`)
	case reflect.TypeFor[form.Duration]():
		return anyOf(&jsonschema.Schema{Type: "number", Minimum: "0"}, text())
	case reflect.TypeFor[form.Timeout]():
		return limit()
	}
	return nil
}

// limit is a time above 0.
func limit() *jsonschema.Schema {
	return anyOf(&jsonschema.Schema{Type: "number", ExclusiveMinimum: "0"}, text())
}

func anyOf(schemas ...*jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: schemas}
}

func text() *jsonschema.Schema { return &jsonschema.Schema{Type: "string"} }

func pattern(p string) *jsonschema.Schema { return &jsonschema.Schema{Type: "string", Pattern: p} }

func scalar() *jsonschema.Schema {
	return anyOf(text(), &jsonschema.Schema{Type: "number"}, &jsonschema.Schema{Type: "boolean"})
}

// nullable is a scalar, or null for the choice of the engine.
func nullable() *jsonschema.Schema {
	return anyOf(append(scalar().AnyOf, &jsonschema.Schema{Type: "null"})...)
}

func list(item *jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "array", Items: item}
}

func mapping(value *jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "object", AdditionalProperties: value}
}

func ptr[T any](v T) *T { return &v }
