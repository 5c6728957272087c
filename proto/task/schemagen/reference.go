package main

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"

	"github.com/fleetune/fleetune/proto/task/internal/document"
	"github.com/fleetune/fleetune/proto/task/internal/form"
)

// The tables stand between these two lines of the page.
const (
	tablesBegin = "<!-- fields: written by schemagen -->\n"
	tablesEnd   = "<!-- end of fields -->\n"
)

// fillReference puts the tables of all fields into the page.
func fillReference(page []byte, c comments) ([]byte, error) {
	head, rest, ok := bytes.Cut(page, []byte(tablesBegin))
	_, tail, ok2 := bytes.Cut(rest, []byte(tablesEnd))
	if !ok || !ok2 {
		return nil, fmt.Errorf("the reference lacks the lines %q and %q", tablesBegin, tablesEnd)
	}
	var b bytes.Buffer
	b.Write(head)
	b.WriteString(tablesBegin)
	for _, section := range []struct {
		title string
		value any
	}{
		{"The file", form.Task{}},
		{"A parameter as a mapping", form.ParameterForm{}},
		{"A condition in a list", form.Condition{}},
		{"`optimization`", form.Optimization{}},
		{"An objective as a mapping", form.ObjectiveForm{}},
		{"`optimization.stop`", form.Stop{}},
		{"`optimization.stop.plateau`", form.Plateau{}},
		{"`optimization.racing` as a mapping", form.RacingForm{}},
		{"`optimization.fidelity`", form.Fidelity{}},
		{"`resources`", form.Resources{}},
		{"`records`", form.Records{}},
		{"`model`", form.Model{}},
		{"`model.quantization_config`", form.QuantizationConfig{}},
		{"`quant_config`", form.QuantConfig{}},
		{"`parallel_config`", form.ParallelConfig{}},
		{"`benchmark`", form.Benchmark{}},
		{"`slo`", form.SLO{}},
		{"`slo.latency`, `slo.ttft`, `slo.tpot`", form.SLOMetricForm{}},
		{"A percentile of an SLO", form.SLOTermForm{}},
		{"`endpoint`", form.Endpoint{}},
		{"`simulate`", form.Simulate{}},
		{"`storage`", form.Storage{}},
		{"`command`", form.Command{}},
		{"A file as a mapping", form.FileForm{}},
		{"A step as a mapping", form.StepForm{}},
		{"`command.outputs`", form.Output{}},
		{"`command.tolerance`", form.Tolerance{}},
		{"`command.env`", form.Env{}},
		{"`command.thresholds`", form.Thresholds{}},
		{"`command.apply`", form.Apply{}},
	} {
		table(&b, section.title, reflect.TypeOf(section.value), c)
	}
	b.WriteString(tablesEnd)
	b.Write(tail)
	return b.Bytes(), nil
}

func table(b *bytes.Buffer, title string, t reflect.Type, c comments) {
	fmt.Fprintf(b, "\n### %s\n\n| field | holds | without it | meaning |\n|---|---|---|---|\n", title)
	for i := range t.NumField() {
		f := t.Field(i)
		key, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		without := "–"
		if !strings.Contains(options, "omitempty") {
			without = "required"
		}
		var bounds []string
		for _, rule := range document.Rules(f) {
			switch rule.Name {
			case "default":
				without = "`" + rule.Value + "`"
			case "minimum":
				bounds = append(bounds, "at least "+rule.Value)
			case "maximum":
				bounds = append(bounds, "at most "+rule.Value)
			}
		}
		holds := strings.Join(append([]string{holds(f)}, bounds...), ", ")
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", key, cell(holds), without, cell(c.of(t, f.Name)))
	}
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// holds says in words what a field takes.
func holds(f reflect.StructField) string {
	if words := document.Enum(f); len(words) > 0 {
		return "`" + strings.Join(words, "`, `") + "`"
	}
	return named(f.Type)
}

func named(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[form.Parameters]():
		return "mapping of names to a list, a value or a mapping"
	case reflect.TypeFor[form.Conditions]():
		return "mapping of names to expressions, or list"
	case reflect.TypeFor[form.Texts]():
		return "text or list of texts"
	case reflect.TypeFor[form.Models]():
		return "text, mapping, or list of either"
	case reflect.TypeFor[form.Values]():
		return "value or list of values"
	case reflect.TypeFor[form.Counts]():
		return "whole number or list"
	case reflect.TypeFor[form.Baseline]():
		return "`true`, `false`, or mapping of parameters to values"
	case reflect.TypeFor[form.File]():
		return "name or mapping"
	case reflect.TypeFor[form.Step]():
		return "list of arguments, or mapping"
	case reflect.TypeFor[form.Objective]():
		return "text or mapping"
	case reflect.TypeFor[form.Racing]():
		return "`true`, `false` or mapping"
	case reflect.TypeFor[form.Word](), reflect.TypeFor[form.VariableName]():
		return "text"
	case reflect.TypeFor[form.Value]():
		return "value"
	case reflect.TypeFor[form.Point]():
		return "mapping of parameters to values"
	case reflect.TypeFor[form.Options]():
		return "mapping"
	case reflect.TypeFor[form.Path]():
		return "relative path"
	case reflect.TypeFor[form.Memory]():
		return "amount with a unit"
	case reflect.TypeFor[form.SLOMetric](), reflect.TypeFor[form.SLOTerm]():
		return "seconds, text with units, or mapping"
	case reflect.TypeFor[form.Duration](), reflect.TypeFor[form.Timeout](), reflect.TypeFor[form.Limit]():
		return "seconds, or text with units"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return named(t.Elem())
	case reflect.Slice:
		return "list, each: " + named(t.Elem())
	case reflect.Map:
		return "mapping of names to " + named(t.Elem())
	case reflect.Struct:
		return "mapping"
	case reflect.Bool:
		return "`true`, `false`"
	case reflect.Int64:
		return "whole number"
	case reflect.Float64:
		return "number"
	}
	return "text"
}
