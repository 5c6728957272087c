package api_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/fleetune/fleetune/manager/api/apitest"
	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/bundle"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/stretchr/testify/require"
)

func TestSubmitStoresATask(t *testing.T) {
	s := apitest.Start(t)
	c := dial(t, s, apitest.Token)
	answer, err := c.Submit(t.Context(), v1.Submission{File: "dir/task.yaml", Source: apitest.Source("alpha")})
	require.NoError(t, err)
	require.Equal(t, "alpha", answer.Task.Name)
	require.Equal(t, 12, answer.Task.Experiments.Planned, "twelve points, and a budget of twelve")
	require.Equal(t, "grid_search", answer.Task.Strategy)
	source, err := c.Source(t.Context(), "alpha")
	require.NoError(t, err)
	require.Equal(t, apitest.Source("alpha"), source.Source)

	_, err = c.Submit(t.Context(), v1.Submission{File: "task.yaml", Source: apitest.Source("alpha")})
	require.Contains(t, refusal(t, err, http.StatusConflict).Next, "--name")
	answer, err = c.Submit(t.Context(), v1.Submission{File: "task.yaml", Source: apitest.Source("alpha"), Name: "beta"})
	require.NoError(t, err)
	require.Equal(t, "beta", answer.Task.Name)
	_, err = c.Submit(t.Context(), v1.Submission{File: "task.yaml", Source: apitest.Source("alpha"), Name: "No good"})
	refusal(t, err, http.StatusUnprocessableEntity)
}

// What is searched and how the sampler does it there is kept with the task.
func TestTheSearchIsSaid(t *testing.T) {
	s := apitest.Start(t)
	c := dial(t, s, apitest.Token)
	source := replace(apitest.Source("alpha"), [2]string{"strategy: grid_search", "strategy: bayesian"})
	answer, err := c.Submit(t.Context(), v1.Submission{File: "task.yaml", Source: source})
	require.NoError(t, err)
	d, err := c.Task(t.Context(), "alpha")
	require.NoError(t, err)
	require.Equal(t, answer.Task.Search, d.Search)
	require.Contains(t, d.Search.How, "the process looking at all 12 valid points")
	require.Equal(t, 12.0, *d.Search.Points)
	require.Equal(t, 12.0, *d.Search.Valid)
	require.True(t, d.Search.Exact)
}

func TestSubmitTellsEveryProblemAtOnce(t *testing.T) {
	s := apitest.Start(t)
	const broken = `task_name: Bad Name
parameters:
  x: [1, 1]
optimization:
  objective: minimize_time_ms
  strategie: random
command:
  run: [./x, "{{y}}"]
`
	_, err := dial(t, s, apitest.Token).Submit(t.Context(), v1.Submission{File: "/home/me/broken.yaml", Source: broken})
	p := refusal(t, err, http.StatusUnprocessableEntity)
	fields := map[string]v1.Finding{}
	for _, f := range p.Errors {
		require.Equal(t, "broken.yaml", f.File)
		require.Positive(t, f.Line)
		fields[f.Field] = f
	}
	require.Contains(t, fields, "task_name")
	require.Equal(t, "strategy", fields["optimization.strategie"].Nearest)
	require.Equal(t, "warning", fields["optimization.strategie"].Severity)
	require.Greater(t, len(p.Errors), 2)
	page, err := dial(t, s, apitest.Token).Tasks(t.Context(), listing)
	require.NoError(t, err)
	require.Empty(t, page.Items, "nothing half-done")
}

func TestSubmitRefusesWhatNoSamplerCanSearch(t *testing.T) {
	s := apitest.Start(t)
	c := dial(t, s, apitest.Token)
	for name, change := range map[string][2]string{
		"unknown strategy":   {"strategy: grid_search", "strategy: grid_serach"},
		"nothing is valid":   {"optimization:", "constraints: [tile * unroll > 1000]\noptimization:"},
		"unknown dependency": {"command:", "depends_on: nobody\ncommand:"},
	} {
		_, err := c.Submit(t.Context(), v1.Submission{File: "t.yaml", Source: replace(apitest.Source("alpha"), change)})
		p := refusal(t, err, http.StatusUnprocessableEntity)
		require.NotEmpty(t, p.Errors, name)
		require.NotContains(t, p.Errors[0].Message, p.Errors[0].Field+":", "the field is named once")
	}
}

func TestSubmitChecksTheBundle(t *testing.T) {
	s := apitest.Start(t)
	c := dial(t, s, apitest.Token)
	source := replace(apitest.Source("files"), [2]string{"command:\n", "command:\n  files: [kernel.c]\n  apply: {template: best.h, target: out.h}\n"})
	submission := v1.Submission{File: "t.yaml", Source: source}
	_, err := c.Submit(t.Context(), submission)
	require.Contains(t, refusal(t, err, http.StatusUnprocessableEntity).Errors[0].Message, "not in the bundle")
	submission.Bundle = []byte("no tar archive at all, but long enough to look at")
	_, err = c.Submit(t.Context(), submission)
	refusal(t, err, http.StatusUnprocessableEntity)

	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "kernel.c"), []byte("int tile = {{tile}}, unroll = {{unroll}};\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "best.h"), []byte("#define TILE {{tile}}\n"), 0o600))
	spec, problems := task.Decode("t.yaml", []byte(source))
	require.NotNil(t, spec, problems)
	submission.Bundle, err = bundle.Attach(dir, spec.Command)
	require.NoError(t, err)
	_, err = c.Submit(t.Context(), submission)
	require.NoError(t, err)
	stored, err := s.Store.Task(t.Context(), "files")
	require.NoError(t, err)
	require.Equal(t, spec.Command.Bundle, stored.Spec.Command.Bundle)
	require.Equal(t, spec.Command.Apply.Digest, stored.Spec.Command.Apply.Digest)
	data, size, err := s.Store.Bundle(t.Context(), spec.Command.Bundle, 0, 1<<20)
	require.NoError(t, err)
	require.Equal(t, submission.Bundle, data)
	require.EqualValues(t, len(submission.Bundle), size)
}

func TestSubmitDryRunStoresNothing(t *testing.T) {
	s := apitest.Start(t)
	c := dial(t, s, apitest.Token)
	answer, err := c.Submit(t.Context(), v1.Submission{File: "t.yaml", Source: apitest.Source("alpha"), DryRun: true})
	require.NoError(t, err)
	require.Nil(t, answer.Task)
	_, err = c.Task(t.Context(), "alpha")
	refusal(t, err, http.StatusNotFound)
}

// Every experiment of such a task would end as render_error.
func TestTaskThatCannotBeRenderedIsRefused(t *testing.T) {
	s := apitest.Start(t)
	source := "task_name: unused\nparameters: {n: [1, 2]}\ncommand: {run: [\"true\"], measure: wall_time}\n"
	_, err := dial(t, s, apitest.Token).Submit(t.Context(), v1.Submission{File: "task.yaml", Source: source})
	p := refusal(t, err, http.StatusUnprocessableEntity)
	require.Contains(t, p.Errors[0].Message, "uses {{n}}")
	_, err = s.Store.Task(t.Context(), "unused")
	require.ErrorIs(t, err, store.ErrNotFound)
}
