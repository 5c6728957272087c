package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/fleetune/fleetune/manager/rehearse"
	"github.com/fleetune/fleetune/proto/bundle"
	"github.com/fleetune/fleetune/proto/task"
)

// attachShapes packs the config.json of the models: the file beside the task
// file that a model names, else what lies on this machine, under the model's
// path or in the hub's cache. A model that is not here is none the worse for
// it: the worker looks where it has the model.
func attachShapes(dir string, s *task.Serving) ([]byte, []task.Problem) {
	var sources []string
	found := map[string][]byte{}
	var problems []task.Problem
	for i, m := range s.Models {
		if m.Config != "" {
			if _, err := os.Stat(filepath.Join(dir, m.Config)); err != nil {
				problems = append(problems, task.Problem{Field: rehearse.ModelField(s, i) + ".config", Severity: task.Error,
					Message: fmt.Sprintf("names the file %q, which cannot be read: %v", m.Config, reason(err)), Expected: "the model's config.json, beside the task file"})
			}
			sources = append(sources, m.Config)
			continue
		}
		data, err := os.ReadFile(configHere(m))
		if err == nil {
			found[rehearse.ConfigFile(i)] = data
		}
	}
	if len(problems) > 0 {
		return nil, problems
	}
	data, _, err := bundle.PackWith(dir, sources, found)
	if err != nil {
		return nil, []task.Problem{{Field: "model", Severity: task.Error, Message: err.Error()}}
	}
	return data, nil
}

// reason is what the system says, without the call and the path.
func reason(err error) error {
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		return path.Err
	}
	return err
}

// configHere is where this machine would have a model's configuration.
func configHere(m task.Model) string {
	const file = "config.json"
	if filepath.IsAbs(m.ID) {
		return filepath.Join(m.ID, file)
	}
	home := os.Getenv("HF_HOME")
	if home == "" {
		cache, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		home = filepath.Join(cache, ".cache", "huggingface")
	}
	repository := filepath.Join(home, "hub", "models--"+filepath.Base(filepath.Dir(m.ID))+"--"+filepath.Base(m.ID))
	revision := m.Revision
	if revision == "" {
		revision = "main"
	}
	if commit, err := os.ReadFile(filepath.Join(repository, "refs", filepath.Base(revision))); err == nil {
		revision = string(commit)
	}
	return filepath.Join(repository, "snapshots", filepath.Base(revision), file)
}
