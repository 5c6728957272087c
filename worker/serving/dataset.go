package serving

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/fleetune/fleetune/worker/command"
	"github.com/fleetune/fleetune/worker/load"
	"github.com/fleetune/fleetune/worker/load/token/tokenizerjson"
)

// open reads what the cells have in common: the dataset and the tokenizer.
func (s *Staged) open(ctx context.Context) *command.Result {
	const phase = "download"
	in := load.Inputs{Cache: s.kind.Datasets, Tokenizer: s.spec.Benchmark.Tokenizer}
	if d := s.spec.Benchmark.Dataset; d != nil {
		s.enter(phase, "the dataset")
		s.journal.line("reading dataset %s", s.masked.Text(d.URL))
		in.Dataset, in.Deduplicate = d.URL, d.Deduplicate
		if d.TokenSecret != "" {
			token, err := s.kind.Secret(d.TokenSecret)
			if err != nil {
				return infra(ctx, phase, fmt.Errorf("resolving secret %q: %w", d.TokenSecret, err))
			}
			in.Token = trim(token)
		}
	}
	s.tokenizer(&in)
	stats, err := in.Open(ctx, &s.inputs)
	if errors.Is(err, load.ErrTokenizer) {
		s.candidate.notes = append(s.candidate.notes, fmt.Sprintf("prompts were measured in bytes: %v", err))
		s.journal.line("prompts are measured in bytes: %v", err)
		in.Tokenizer = ""
		stats, err = in.Open(ctx, &s.inputs)
	}
	if err != nil {
		return infra(ctx, phase, fmt.Errorf("reading what the cells send: %w", err))
	}
	if stats != nil {
		s.journal.line("the dataset has %d conversations", len(s.inputs.Dataset))
	}
	return nil
}

// tokenizer settles for the model's own tokenizer, or for bytes, where the
// task's is not on this node. What counted is told with the figures.
func (s *Staged) tokenizer(in *load.Inputs) {
	wanted := in.Tokenizer
	for _, name := range []string{wanted, tokenizerIn(s.kind.Hub.Snapshot(wanted)), tokenizerIn(s.candidate.model.Path)} {
		if path, err := tokenizerjson.Find(name); err == nil && regular(path) {
			in.Tokenizer = path
			return
		}
	}
	in.Tokenizer = ""
	if wanted != "" {
		s.candidate.notes = append(s.candidate.notes, fmt.Sprintf("tokenizer %q is not on this node: prompts were measured in bytes", wanted))
	}
}

// tokenizerIn is the tokenizer of a model's folder; empty without a folder.
func tokenizerIn(dir string) string {
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, "tokenizer.json")
}

func regular(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
