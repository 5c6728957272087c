package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// A Merger brings the requests of several machines together, in the order in
// which they were sent by the shared clock.
type Merger struct{ all []shifted }

type shifted struct {
	start int64
	ahead time.Duration
	line  json.RawMessage
}

// Add takes lines of one machine, whose clock is to be put forward so much.
func (m *Merger) Add(lines []json.RawMessage, ahead time.Duration) error {
	for i, raw := range lines {
		var l struct {
			Metadata struct {
				Start int64 `json:"request_start_ns"`
			} `json:"metadata"`
		}
		if err := json.Unmarshal(raw, &l); err != nil {
			return fmt.Errorf("request %d: %w", i, err)
		}
		m.all = append(m.all, shifted{l.Metadata.Start + int64(ahead), ahead, raw})
	}
	return nil
}

// Write writes them to files of requests, numbered anew in each phase.
func (m *Merger) Write(to ...*Recorder) error {
	slices.SortStableFunc(m.all, func(a, b shifted) int { return cmp.Compare(a.start, b.start) })
	numbers := map[string]int64{}
	for _, x := range m.all {
		var l Line
		if err := json.Unmarshal(x.line, &l); err != nil {
			return fmt.Errorf("reading a request: %w", err)
		}
		l.Metadata.shift(x.ahead)
		l.Metadata.SessionNum = numbers[l.Metadata.Phase]
		numbers[l.Metadata.Phase]++
		for _, r := range to {
			r.put(l)
		}
	}
	m.all = nil
	return nil
}

// shift puts all instants forward; 0 is none.
func (m *Metadata) shift(by time.Duration) {
	for _, at := range []*int64{&m.Scheduled, &m.Issued, &m.Start, &m.Ack, &m.End, &m.CancelledAt} {
		if *at != 0 {
			*at += int64(by)
		}
	}
}
