// Package records is what tuning leaves behind for others: measurements under
// a key that says exactly what was measured, where and how, and the winners
// derived from them. It holds the key's canonical form, the rules for which
// record may serve whom, and the files that carry records from one Fleetune to
// another; the rows are the store's.
//
// A measurement is never changed once it is written. A winner is derived, and
// can be derived again at any time.
package records

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/google/uuid"
)

// ErrInvalid says that a record is none: its parts do not fit together.
var ErrInvalid = errors.New("not a record")

// A Key says what a measurement is a measurement of. Where it was taken by
// (host, process, path) and when are not part of it.
type Key struct {
	Operation Operation `json:"operation"`
	// Workload is what the operation works on: shapes, types, a model.
	Workload Facts `json:"workload"`
	// Environment is where it ran. A fact that is there but unknown is null.
	Environment Facts `json:"environment"`
	// Measurement is how it was measured and what for.
	Measurement Facts `json:"measurement"`
}

// An Operation is what was run.
type Operation struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	// Runner is the digest of the programs that ran.
	Runner string `json:"runner"`
	// Extras set runs of the same operation apart: layout, bias, activation.
	Extras Facts `json:"extras"`
}

// Digest is the SHA-256 of the key's canonical JSON, in hexadecimal. Keys that
// differ in any fact have different digests.
func (k Key) Digest() string {
	var b bytes.Buffer
	b.WriteString(`{"environment":`)
	k.Environment.canonical(&b)
	b.WriteString(`,"measurement":`)
	k.Measurement.canonical(&b)
	b.WriteString(`,"operation":`)
	operation := Facts{"name": k.Operation.Name, "version": k.Operation.Version, "runner": k.Operation.Runner}
	operation.canonical(&b)
	b.WriteString(`,"extras":`)
	k.Operation.Extras.canonical(&b)
	b.WriteString(`,"workload":`)
	k.Workload.canonical(&b)
	b.WriteByte('}')
	sum := sha256.Sum256(b.Bytes())
	return hex.EncodeToString(sum[:])
}

// A Record is one measurement of one point under a key; a configuration that
// failed is one too.
type Record struct {
	// ID is the id of the experiment that measured it, wherever that was.
	ID      uuid.UUID          `json:"id"`
	Key     Key                `json:"key"`
	Point   space.Point        `json:"point"`
	Outcome experiment.Outcome `json:"outcome"`
	// Scores holds one number per objective of the key, in the metric's own
	// unit; none when the configuration failed.
	Scores  []float64         `json:"scores,omitempty"`
	Metrics map[string]Metric `json:"metrics,omitempty"`
	// Space is the digest of the space that was searched.
	Space string `json:"space,omitempty"`
	// Confirmed says that its task measured the point again beside the
	// baseline, and named it its best.
	Confirmed bool `json:"confirmed,omitempty"`
	// Task is the name of the task that measured it.
	Task       string    `json:"task,omitempty"`
	MeasuredAt time.Time `json:"measured_at"`
}

// A Metric is one measured quantity without its samples.
type Metric struct {
	Unit   string  `json:"unit"`
	Median float64 `json:"median"`
	Spread float64 `json:"spread"`
	Count  int     `json:"count"`
}

// Check says what is wrong with a record that others wrote: ErrInvalid.
func (r *Record) Check() error {
	switch {
	case r.ID == uuid.Nil:
		return fmt.Errorf("%w: it has no id", ErrInvalid)
	case r.Key.Operation.Name == "":
		return fmt.Errorf("%w: it names no operation", ErrInvalid)
	case len(r.Key.Operation.Name) > maxName:
		return fmt.Errorf("%w: the operation's name has %d bytes", ErrInvalid, len(r.Key.Operation.Name))
	case r.Point == nil:
		return fmt.Errorf("%w: it has no point", ErrInvalid)
	case r.Outcome == "":
		return fmt.Errorf("%w: it has no outcome", ErrInvalid)
	case r.MeasuredAt.IsZero():
		return fmt.Errorf("%w: it does not say when it was measured", ErrInvalid)
	case (r.Outcome == experiment.OutcomeSuccess) != (len(r.Scores) > 0):
		return fmt.Errorf("%w: scores and outcome contradict each other", ErrInvalid)
	}
	if _, known := r.Key.Environment[FactDevice].(string); !known {
		return fmt.Errorf("%w: the device it ran on is unknown", ErrInvalid)
	}
	if len(r.Scores) > 0 {
		if _, _, err := r.Key.Objective(); err != nil {
			return err
		}
	}
	for _, s := range r.Scores {
		if math.IsNaN(s) || math.IsInf(s, 0) {
			return fmt.Errorf("%w: a score is not finite", ErrInvalid)
		}
	}
	return nil
}

// maxName bounds an operation's name in bytes.
const maxName = 200

// PointKey is a point in the form by which measurements of the same point are
// found: its JSON, names sorted.
func PointKey(p space.Point) (string, error) {
	data, err := json.Marshal(p)
	if err != nil {
		return "", fmt.Errorf("encoding a point: %w", err)
	}
	return string(data), nil
}

// canonical is the record as one line of JSON that is the same wherever it is
// written.
func (r Record) canonical() ([]byte, error) {
	r.MeasuredAt = r.MeasuredAt.UTC().Truncate(time.Microsecond)
	data, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encoding record %s: %w", r.ID, err)
	}
	return data, nil
}

// Same says whether two records are the same measurement, told alike.
func (r Record) Same(o Record) bool {
	a, err := r.canonical()
	b, err2 := o.canonical()
	return err == nil && err2 == nil && bytes.Equal(a, b)
}
