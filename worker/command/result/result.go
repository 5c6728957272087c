// Package result decodes the file in which a measured program reports its
// metrics. The file is the only thing believed: what the program prints is
// diagnostics. It is decoded strictly, because a program under tuning has every
// reason to be wrong: an unknown or repeated key, a number that is not finite,
// another run's identifier or too few samples make it no result at all.
//
// The contract, version 1, written to EXP_RESULT_PATH by rename:
//
//	{"schema": 1,
//	 "run_id": "the value of EXP_RUN_ID",
//	 "correct": true,
//	 "checks": [{"name": "…", "ok": true, "detail": "…"}],
//	 "metrics": {"time_ms": {"unit": "ms", "samples": [1.25, 1.24]}},
//	 "error": ""}
//
// checks and error may be left out, and metrics where correct is false or
// error is set.
package result

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/fleetune/fleetune/proto/experiment"
)

// Limits of a result file.
const (
	// MaxSize of the file in bytes.
	MaxSize = 1 << 20
	// MaxMetrics and MaxChecks bound its lists.
	MaxMetrics = 256
	MaxChecks  = 1000
	// maxText bounds one name, unit or detail, in bytes.
	maxText = 4096
	// schema is the version of the contract.
	schema = 1
)

// The errors of reading a result file; all of them mean "no metric".
var (
	ErrMissing = errors.New("no result file")
	ErrInvalid = errors.New("invalid result file")
)

// A File is a decoded result file.
type File struct {
	Correct bool
	Checks  []experiment.Check
	// Metrics have Unit and Samples only.
	Metrics map[string]experiment.Metric
	// Error is the program's own account of what went wrong.
	Error string
}

// An Expectation is what the worker knows about a result file beforehand.
type Expectation struct {
	RunID string
	// Samples every metric needs at least.
	Samples int
	// Metrics that must be there.
	Metrics []string
}

// Read reads the result file name inside root and checks it against e. The
// error wraps ErrMissing or ErrInvalid. A file that says "not correct" or
// names an error is returned without its metrics being checked.
func Read(root *os.Root, name string, e Expectation) (File, error) {
	info, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return File{}, fmt.Errorf("%w: the program did not write EXP_RESULT_PATH", ErrMissing)
	}
	if err != nil {
		return File{}, fmt.Errorf("%w: %w", ErrMissing, err)
	}
	if !info.Mode().IsRegular() {
		return File{}, fmt.Errorf("%w: it is not a plain file", ErrInvalid)
	}
	if info.Size() > MaxSize {
		return File{}, fmt.Errorf("%w: %d bytes, %d are allowed", ErrInvalid, info.Size(), MaxSize)
	}
	f, err := root.Open(name)
	if err != nil {
		return File{}, fmt.Errorf("%w: %w", ErrMissing, err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return File{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return Decode(data, e)
}

// Decode decodes the bytes of a result file and checks them against e. The
// error wraps ErrInvalid.
func Decode(data []byte, e Expectation) (File, error) {
	f, err := decode(data, e)
	if err != nil {
		return File{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return f, nil
}

func decode(data []byte, e Expectation) (File, error) {
	if len(data) > MaxSize {
		return File{}, fmt.Errorf("%d bytes, %d are allowed", len(data), MaxSize)
	}
	top, err := object(data)
	if err != nil {
		return File{}, err
	}
	var f File
	var version int
	var runID string
	var metrics json.RawMessage
	var checks []json.RawMessage
	err = top.fields(map[string]any{"schema": &version, "run_id": &runID, "correct": &f.Correct,
		"checks": &checks, "metrics": &metrics, "error": &f.Error}, "schema", "run_id", "correct")
	if err != nil {
		return File{}, err
	}
	if version != schema {
		return File{}, fmt.Errorf("schema is %d, this worker reads %d", version, schema)
	}
	if runID != e.RunID {
		return File{}, fmt.Errorf("run_id is %.80q, not the EXP_RUN_ID of this run, %q", runID, e.RunID)
	}
	if f.Checks, err = decodeChecks(checks); err != nil {
		return File{}, err
	}
	if len(f.Error) > maxText {
		f.Error = f.Error[:maxText]
	}
	if !f.Correct || f.Error != "" {
		return f, nil
	}
	if metrics == nil {
		return File{}, errors.New(`"metrics" is missing`)
	}
	if f.Metrics, err = decodeMetrics(metrics, e.Samples); err != nil {
		return File{}, err
	}
	for _, name := range e.Metrics {
		if _, ok := f.Metrics[name]; !ok {
			return File{}, fmt.Errorf("metric %q, which an objective needs, is missing", name)
		}
	}
	return f, nil
}

func decodeChecks(list []json.RawMessage) ([]experiment.Check, error) {
	if len(list) > MaxChecks {
		return nil, fmt.Errorf("%d checks, %d are allowed", len(list), MaxChecks)
	}
	var out []experiment.Check
	for i, raw := range list {
		o, err := object(raw)
		if err != nil {
			return nil, fmt.Errorf("checks[%d]: %w", i, err)
		}
		var c experiment.Check
		err = o.fields(map[string]any{"name": &c.Name, "ok": &c.OK, "detail": &c.Detail}, "name", "ok")
		if err != nil {
			return nil, fmt.Errorf("checks[%d]: %w", i, err)
		}
		if len(c.Name) > maxText || len(c.Detail) > maxText {
			return nil, fmt.Errorf("checks[%d]: longer than %d bytes", i, maxText)
		}
		out = append(out, c)
	}
	return out, nil
}

func decodeMetrics(raw json.RawMessage, least int) (map[string]experiment.Metric, error) {
	members, err := object(raw)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	if len(members) > MaxMetrics {
		return nil, fmt.Errorf("%d metrics, %d are allowed", len(members), MaxMetrics)
	}
	out := make(map[string]experiment.Metric, len(members))
	for _, m := range members {
		o, err := object(m.value)
		if err != nil {
			return nil, fmt.Errorf("metrics.%.80s: %w", m.key, err)
		}
		var metric experiment.Metric
		var samples []*float64 // pointers tell null from 0
		err = o.fields(map[string]any{"unit": &metric.Unit, "samples": &samples}, "unit", "samples")
		if err != nil {
			return nil, fmt.Errorf("metrics.%.80s: %w", m.key, err)
		}
		for i, s := range samples {
			if s == nil {
				return nil, fmt.Errorf("metrics.%.80s: samples[%d] is null", m.key, i)
			}
			metric.Samples = append(metric.Samples, *s)
		}
		if m.key == "" || len(m.key) > maxText || len(metric.Unit) > maxText {
			return nil, fmt.Errorf("metrics.%.80s: a name or unit is empty or longer than %d bytes", m.key, maxText)
		}
		if len(metric.Samples) < max(least, 1) {
			return nil, fmt.Errorf("metrics.%.80s: %d samples, %d are needed (EXP_REPEATS)",
				m.key, len(metric.Samples), max(least, 1))
		}
		out[m.key] = metric
	}
	return out, nil
}

// members are an object's in the order of the text.
type members []member

type member struct {
	key   string
	value json.RawMessage
}

// object splits one JSON object into its members. Unlike json.Unmarshal it
// refuses a key that is there twice, and anything behind the object.
func object(data []byte) (members, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	t, err := dec.Token()
	if err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	if t != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	var out members
	seen := map[string]bool{}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("not JSON: %w", err)
		}
		key, _ := t.(string) // within an object, More is followed by a key
		m := member{key: key}
		if seen[m.key] {
			return nil, fmt.Errorf("key %.80q is there twice", m.key)
		}
		seen[m.key] = true
		if err := dec.Decode(&m.value); err != nil {
			return nil, fmt.Errorf("value of %.80q: %w", m.key, err)
		}
		out = append(out, m)
	}
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the object")
	}
	return out, nil
}

// fields decodes members into their destinations by exact name. A member
// without a destination, null, and a required one that is missing are errors.
func (o members) fields(into map[string]any, required ...string) error {
	for _, m := range o {
		dst, ok := into[m.key]
		if !ok {
			return fmt.Errorf("key %.80q is not part of the contract", m.key)
		}
		if string(m.value) == "null" {
			return fmt.Errorf("%q is null", m.key)
		}
		if err := json.Unmarshal(m.value, dst); err != nil {
			return fmt.Errorf("%q: %w", m.key, err)
		}
		required = slices.DeleteFunc(required, func(r string) bool { return r == m.key })
	}
	if len(required) > 0 {
		return fmt.Errorf("%q is missing", required[0])
	}
	return nil
}
