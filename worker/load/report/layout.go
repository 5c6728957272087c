package report

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"strings"
)

// A Layout names the files that AIPerf's tools look for.
type Layout struct {
	Dir string
	// Prefix begins the names of all files that a prefix is for; without one
	// they have their usual names.
	Prefix string
}

// layoutEndings are what a prefix may end in by mistake, the longest first:
// whoever gives a file's name means what it begins with.
var layoutEndings = []string{"_server_metrics.jsonl", "_server_metrics.json", "_server_metrics.csv", "_timeslices.json", "_timeslices.csv",
	"_raw.jsonl", ".jsonl", ".json", ".csv"}

// NewLayout makes the layout of a directory.
func NewLayout(dir, prefix string) (Layout, error) {
	if strings.ContainsAny(prefix, `/\`) || prefix == "." || prefix == ".." {
		return Layout{}, fmt.Errorf("prefix %q: want the beginning of file names, without a directory", prefix)
	}
	for _, ending := range layoutEndings {
		if cut, ok := strings.CutSuffix(prefix, ending); ok && cut != "" {
			prefix = cut
			break
		}
	}
	return Layout{dir, prefix}, nil
}

func (l Layout) file(usual, ending string) string {
	if l.Prefix != "" {
		return filepath.Join(l.Dir, l.Prefix+ending)
	}
	return filepath.Join(l.Dir, usual+ending)
}

// Summary is the file of all figures, by its extension.
func (l Layout) Summary(extension string) string { return l.file("profile_export_aiperf", extension) }

// Slices is the file of the time slices.
func (l Layout) Slices(extension string) string {
	return l.file("profile_export_aiperf", "_timeslices"+extension)
}

// Requests is the file of all requests, a line each.
func (l Layout) Requests() string { return l.file("profile_export", ".jsonl") }

// Raw is the file of all that was sent and received, a line a request.
func (l Layout) Raw() string { return l.file("profile_export", "_raw.jsonl") }

// Server is a file of the server's own metrics.
func (l Layout) Server(extension string) string {
	if l.Prefix == "" {
		return filepath.Join(l.Dir, "server_metrics_export"+extension)
	}
	return l.file("", "_server_metrics"+extension)
}

// Inputs is the file of the conversations' requests.
func (l Layout) Inputs() string { return filepath.Join(l.Dir, "inputs.json") }

// Inputs are the requests of one conversation.
type Inputs struct {
	Session  string            `json:"session_id"`
	Payloads []json.RawMessage `json:"payloads"`
}

// WriteInputs writes conversations as they come, a line each.
func WriteInputs(w io.Writer, all iter.Seq2[Inputs, error]) error {
	before := "{\"data\": [\n"
	for one, err := range all {
		if err != nil {
			return err
		}
		raw, err := json.Marshal(one)
		if err != nil {
			return fmt.Errorf("writing the inputs: %w", err)
		}
		if _, err := io.WriteString(w, before+string(raw)); err != nil {
			return fmt.Errorf("writing the inputs: %w", err)
		}
		before = ",\n"
	}
	if before != ",\n" {
		before = "{\"data\": ["
	} else {
		before = "\n"
	}
	if _, err := io.WriteString(w, before+"]}\n"); err != nil {
		return fmt.Errorf("writing the inputs: %w", err)
	}
	return nil
}
