package task

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fleetune/fleetune/proto/task/internal/form"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v4"
	"pgregory.net/rapid"
)

// Time-outs nest: a task is accepted exactly when every step fits into the
// experiment and the experiment and the build fit into the task, whatever is
// left open (kernel specification, invariant 8).
func TestTimeoutsNest(t *testing.T) {
	seconds := rapid.OneOf(rapid.Just(0), rapid.IntRange(1, 400))
	rapid.Check(t, func(t *rapid.T) {
		file := map[string]int{}
		for _, name := range []string{"timeout", "timeout_per_iteration", "build", "inputs", "check", "run", "cooldown", "min_duration"} {
			file[name] = seconds.Draw(t, name)
		}
		iterations := rapid.SampledFrom([]int{1, 3, 1_000_000}).Draw(t, "max_iterations")
		text := timeoutFile(file, iterations)
		got, problems := Decode("t.yaml", []byte(text))
		if want := nests(file, iterations); (got != nil) != want {
			t.Fatalf("accepted: %v, nests: %v\n%s\n%v", got != nil, want, text, problems)
		}
		if got == nil {
			return
		}
		o, c := got.Optimization, got.Command
		if o.IterationTimeout <= 0 || o.IterationTimeout > o.Timeout || o.Timeout > Duration(form.MaxDuration) {
			t.Fatalf("experiment %v, task %v", o.IterationTimeout, o.Timeout)
		}
		for name, step := range map[string]*Step{"inputs": c.Inputs, "check": c.Check, "run": &c.Run} {
			if step != nil && (step.Timeout <= 0 || step.Timeout > o.IterationTimeout) {
				t.Fatalf("%s %v, experiment %v", name, step.Timeout, o.IterationTimeout)
			}
		}
		if c.Build.Timeout <= 0 || c.Build.Timeout > o.Timeout {
			t.Fatalf("build %v, task %v", c.Build.Timeout, o.Timeout)
		}
		if c.Cooldown+c.MinDuration >= o.IterationTimeout {
			t.Fatalf("cooldown %v, min_duration %v, experiment %v", c.Cooldown, c.MinDuration, o.IterationTimeout)
		}
	})
}

func timeoutFile(file map[string]int, iterations int) string {
	line := func(key, name string) string {
		if file[name] == 0 {
			return ""
		}
		return fmt.Sprintf("%s: %d", key, file[name])
	}
	step := func(name string) string {
		if limit := line("timeout", name); limit != "" {
			return fmt.Sprintf("{argv: [./%s], %s}", name, limit)
		}
		return "[./" + name + "]"
	}
	return fmt.Sprintf(`task_name: t
parameters: {x: [1, 2]}
optimization:
  max_iterations: %d
  %s
  %s
command:
  build: %s
  inputs: %s
  check: %s
  run: %s
  measure: wall_time
  %s
  %s
`, iterations, line("timeout", "timeout"), line("timeout_per_iteration", "timeout_per_iteration"),
		step("build"), step("inputs"), step("check"), step("run"), line("cooldown", "cooldown"), line("min_duration", "min_duration"))
}

func nests(file map[string]int, iterations int) bool {
	each, whole := file["timeout_per_iteration"], file["timeout"]
	if each == 0 {
		each = 300
	}
	if whole == 0 {
		whole = each * (iterations + 2*3) // three finalists are measured beside the baseline
	}
	return each <= whole && file["build"] <= whole && file["inputs"] <= each && file["check"] <= each &&
		file["run"] <= each && file["cooldown"]+file["min_duration"] < each
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		`600`: 10 * time.Minute, `1.5`: 1500 * time.Millisecond, `0.000000001`: 1, `1e3`: 1000 * time.Second, `"10m"`: 10 * time.Minute,
		`"1h30m"`: 90 * time.Minute, `"1d12h"`: 36 * time.Hour, `"2d"`: 48 * time.Hour, `"90"`: 90 * time.Second, `" 1h 5m "`: 65 * time.Minute,
		`-3`: -3 * time.Second, `100000000.000000001`: 100_000_000*time.Second + 1,
	} {
		var d Duration
		require.NoError(t, json.Unmarshal([]byte(text), &d), text)
		require.Equal(t, want, d.D(), text)
	}
	for _, text := range []string{`"ten"`, `"10"m`, `""`, `"d"`, `1e300`, `"1000000h"`, `"99999d"`, `true`, `[]`, `"1h1d"`} {
		var d Duration
		require.Error(t, json.Unmarshal([]byte(text), &d), text)
	}
	rapid.Check(t, func(t *rapid.T) {
		d := Duration(rapid.Int64Range(-int64(form.MaxDuration), int64(form.MaxDuration)).Draw(t, "d"))
		text, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		var again Duration
		if err := json.Unmarshal(text, &again); err != nil || again != d && again/1000 != d/1000 {
			t.Fatalf("%d written %s, read %d: %v", d, text, again, err)
		}
		if d >= 0 && again != d {
			t.Fatalf("%d written %s, read %d", d, text, again)
		}
	})
}

// The published schema accepts every good file, refuses bad ones that it can
// see, and describes every field.
func TestSchema(t *testing.T) {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	require.NoError(t, err)
	compiler := jsonschema.NewCompiler()
	require.NoError(t, compiler.AddResource("task.json", document))
	schema, err := compiler.Compile("task.json")
	require.NoError(t, err)

	for _, file := range append(taskFiles(t, "testdata/good"), taskFiles(t, "../../deploy/examples/*")...) {
		if strings.Contains(file, "warnings") || strings.Contains(file, "empty-fields") || strings.Contains(file, "aliases") || strings.Contains(file, "yaml-forms") {
			continue // unknown and empty fields are what a schema is there to show
		}
		require.NoError(t, schema.Validate(generic(t, file)), file)
	}
	for _, file := range []string{"task-name-upper", "priority", "measure-unknown", "iterations-cap", "parameter-nested-list",
		"run-shell-line", "files-paths", "objective-no-direction", "resources-memory", "run-missing", "misspelt-top"} {
		require.Error(t, schema.Validate(generic(t, "testdata/bad/"+file+".yaml")), file)
	}
	requireDescriptions(t, "task", document)
}

// The examples are what users start from: nothing to complain about.
func TestExamples(t *testing.T) {
	files := taskFiles(t, "../../deploy/examples/*")
	require.NotEmpty(t, files)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		decoded, problems := Decode(file, data)
		require.Empty(t, problems)
		require.NotNil(t, decoded)
	}
}

// generic reads a file the way an editor does: by another YAML reader.
func generic(t *testing.T, file string) any {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	text := data
	if !strings.HasSuffix(file, ".json") {
		var v any
		require.NoError(t, yaml.Unmarshal(bytes.TrimPrefix(data, []byte("\ufeff")), &v), file)
		text, err = json.Marshal(v)
		require.NoError(t, err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	require.NoError(t, err)
	return v
}

func requireDescriptions(t *testing.T, path string, schema any) {
	t.Helper()
	switch node := schema.(type) {
	case map[string]any:
		if properties, ok := node["properties"].(map[string]any); ok {
			for name, property := range properties {
				text, _ := property.(map[string]any)["description"].(string)
				require.NotEmpty(t, text, path+"."+name)
			}
		}
		for name, child := range node {
			requireDescriptions(t, path+"."+name, child)
		}
	case []any:
		for _, child := range node {
			requireDescriptions(t, path, child)
		}
	}
}

// Whatever comes, decoding ends, a refusal has a reason with a place, and an
// accepted task survives being stored.
func FuzzDecode(f *testing.F) {
	for _, file := range append(taskFiles(f, "testdata/bad"), taskFiles(f, "testdata/good")...) {
		data, err := os.ReadFile(file)
		require.NoError(f, err)
		f.Add(data, strings.HasSuffix(file, ".json"))
	}
	f.Fuzz(func(t *testing.T, data []byte, asJSON bool) {
		name := "t.yaml"
		if asJSON {
			name = "t.json"
		}
		decoded, problems := Decode(name, data)
		failed := false
		for _, p := range problems {
			failed = failed || p.Severity == Error
			if p.Line < 1 || p.Column < 1 || p.Message == "" || p.File != name {
				t.Fatalf("problem %+v", p)
			}
		}
		if failed != (decoded == nil) {
			t.Fatalf("task %v with problems %v", decoded, problems)
		}
		if decoded != nil {
			requireStable(t, decoded)
			if issues := decoded.Space.Check(); len(issues) > 0 {
				t.Fatalf("accepted with %v", issues)
			}
		}
	})
}
