package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/worker/command/result"
)

// samplesFile is where a program that measures itself may write its samples
// while it takes them, one a line:
//
//	{"metric": "time_ms", "unit": "ms", "value": 1.25}
//
// They only serve to end an experiment early that is surely worse than the
// incumbent. A result is what the result file says.
const samplesFile = "samples.jsonl"

const (
	// followEvery is how often the file is looked at.
	followEvery = 200 * time.Millisecond
	// maxLine bounds one line of it, in bytes; a longer one ends the following.
	maxLine = 4096
)

// tell hands on what the candidate's metrics are so far, if anybody wants to
// know; confirmations run to their end.
func (s *Staged) tell(side *samples) {
	if s.job.Progress == nil || s.baseline != nil || side.realm != s.candidate {
		return
	}
	s.partial = side
	values := make(map[string][]float64, len(side.metrics))
	for name, m := range side.metrics {
		values[name] = m.Samples
	}
	s.job.Progress(values)
}

// unfinished adds to the result of a stopped attempt what it had measured.
func (s *Staged) unfinished(res *Result) {
	if res.Outcome == experiment.OutcomeCancelled && s.partial != nil && len(s.partial.metrics) > 0 {
		res.Measurement = &experiment.Measurement{Metrics: s.partial.summary()}
	}
}

// follow reads the samples that a program writes into its round's folder, until
// the function it returns is called.
func (s *Staged) follow(r *round, side *samples) (stop func()) {
	if s.job.Progress == nil || s.baseline != nil || side.realm != s.candidate {
		return func() {}
	}
	f := &follower{dir: r.results(), wanted: s.job.Offer.Metrics, side: &samples{realm: side.realm}}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(followEvery)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				if f.read() {
					s.tell(f.side)
				}
			}
		}
	}()
	return func() {
		close(quit)
		<-done
	}
}

// A follower reads what is appended to a samples file.
type follower struct {
	dir    string
	wanted []string
	side   *samples
	offset int64
	// over says that the file is not one to read any further.
	over bool
}

// read takes in the lines that are complete by now; fresh says that they held
// a sample.
func (f *follower) read() (fresh bool) {
	if f.over {
		return false
	}
	data, err := f.rest()
	if err != nil {
		f.over = !errors.Is(err, fs.ErrNotExist)
		return false
	}
	end := bytes.LastIndexByte(data, '\n') + 1
	f.over = len(data)-end > maxLine || f.offset+int64(end) >= result.MaxSize
	f.offset += int64(end)
	for line := range bytes.Lines(data[:end]) {
		metric, unit, value, ok := sampleOf(line)
		if !ok || !slices.Contains(f.wanted, metric) {
			continue
		}
		if f.side.add(metric, unit, value) == nil {
			fresh = true
		}
	}
	return fresh
}

// rest reads the file behind what was read before. The program owns the
// folder: what it puts there may be a link or a pipe, and is then left alone.
func (f *follower) rest() (_ []byte, err error) {
	root, err := os.OpenRoot(f.dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	file, err := root.OpenFile(samplesFile, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a plain file")
	}
	return io.ReadAll(io.NewSectionReader(file, f.offset, result.MaxSize-f.offset))
}

// sampleOf reads one line; ok is false for whatever is no finite sample.
func sampleOf(line []byte) (metric, unit string, value float64, ok bool) {
	var s struct {
		Metric string   `json:"metric"`
		Unit   string   `json:"unit"`
		Value  *float64 `json:"value"`
	}
	if len(line) > maxLine || json.Unmarshal(line, &s) != nil || s.Metric == "" || s.Value == nil {
		return "", "", 0, false
	}
	return s.Metric, s.Unit, *s.Value, !math.IsNaN(*s.Value) && !math.IsInf(*s.Value, 0)
}
