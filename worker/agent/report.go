package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/fleetune/fleetune/proto/wire"
	"github.com/nats-io/nats.go/jetstream"
)

// resendAfter is how long a report waits for its confirmation before it is
// sent again; repeats are harmless.
const resendAfter = 3 * time.Second

// sendSize bounds what one message carries, in bytes: below the bus's largest
// message even if the last report added is large.
const sendSize = 256 << 10

// A report is a result that the manager has not confirmed yet.
type report struct {
	wire.Attempted
	data   []byte
	safe   bool // in the spool
	sentAt time.Time
}

func keyOf(r wire.Attempted) string {
	return r.Experiment.String() + "/" + strconv.FormatInt(r.Epoch, 10)
}

// loadSpool takes up what an earlier session could not hand in.
func (a *Agent) loadSpool() error {
	for _, loss := range a.spool.Losses() {
		a.Log.Error().Str("segment", loss.Segment).Int64("bytes", loss.Bytes).Str("reason", loss.Reason).Msg("part of the spool cannot be read")
	}
	for record, err := range a.spool.Pending() {
		if err != nil {
			return fmt.Errorf("reading the spool: %w", err)
		}
		var r wire.Report
		if err := json.Unmarshal(record.Data, &r); err != nil {
			a.Log.Error().Err(err).Str("key", record.Key).Msg("a result in the spool cannot be read")
			continue
		}
		data := record.Data
		if r.Worker != a.Node.Worker {
			// The worker has another name now, and may report in that only.
			r.Worker = a.Node.Worker
			if data, err = json.Marshal(r); err != nil {
				return fmt.Errorf("encoding a result of the spool: %w", err)
			}
		}
		key := wire.Attempted{Experiment: r.Experiment, Epoch: r.Epoch}
		a.reports[record.Key] = &report{Attempted: key, data: data, safe: true}
	}
	return nil
}

// report puts a result into the spool and sends it. If the disk refuses, the
// result is sent from memory, and no new work is taken until the disk agrees.
func (a *Agent) report(at *attempt, r wire.Report) {
	data, err := json.Marshal(r)
	if err != nil { // a measurement holds finite numbers only
		a.Log.Error().Err(err).Stringer("experiment", r.Experiment).Msg("result cannot be encoded")
		r.Measurement = nil
		data, _ = json.Marshal(r) //nolint:errchkjson // strings, whole numbers and ids always encode
	}
	// As good as sent: until it is in the spool, there is nothing to send again.
	entry := &report{Attempted: wire.Attempted{Experiment: r.Experiment, Epoch: r.Epoch}, data: data, sentAt: time.Now()}
	a.mu.Lock()
	a.reports[keyOf(entry.Attempted)] = entry
	if a.attempts[r.Experiment] == at {
		delete(a.attempts, r.Experiment)
	}
	a.mu.Unlock()
	a.keep(entry)
	a.send(entry)
}

// keep writes a report to the spool.
func (a *Agent) keep(entry *report) {
	err := a.spool.Append(context.Background(), keyOf(entry.Attempted), entry.data)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		entry.safe = true
		if a.trouble != "" && a.allSafeLocked() {
			a.Log.Info().Msg("the spool takes results again")
			a.trouble = ""
		}
		return
	}
	a.Log.Error().Err(err).Msg("a result could not be written to the spool; it is sent from memory")
	a.trouble = "the spool takes no results: " + err.Error()
}

func (a *Agent) allSafeLocked() bool {
	for _, r := range a.reports {
		if !r.safe {
			return false
		}
	}
	return true
}

// send puts a report on its way. It must not be called after Run has ended.
func (a *Agent) send(entry *report) {
	a.mu.Lock()
	entry.sentAt = time.Now()
	a.outbox = append(a.outbox, entry)
	a.mu.Unlock()
	nudge(a.sendable)
}

// sendReports publishes what the outbox holds, many reports in one message;
// JetStream keeps it until the manager has committed it.
func (a *Agent) sendReports() {
	for range a.sendable {
		a.mu.Lock()
		entries := a.outbox
		a.outbox = nil
		a.mu.Unlock()
		for len(entries) > 0 {
			n, lines := 0, [][]byte(nil)
			for size := 0; n < len(entries) && size < sendSize; n++ {
				lines = append(lines, entries[n].data)
				size += len(entries[n].data)
			}
			a.publishReports(bytes.Join(lines, []byte{'\n'}))
			entries = entries[n:]
		}
	}
}

// publishReports sends one message. What is lost here resend sends again.
func (a *Agent) publishReports(data []byte) {
	if !a.Bus.Connected() {
		return
	}
	_, err := a.Bus.JetStream().PublishAsync(wire.ReportSubject(a.Node.Worker), data, jetstream.WithStallWait(time.Second))
	if err != nil {
		a.Log.Debug().Err(err).Msg("reports not sent, trying again")
	}
}

// resend sends what was not confirmed in time, and writes to the spool what
// the disk refused before.
func (a *Agent) resend(ctx context.Context) error {
	tick := time.NewTicker(resendAfter / 6)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		a.mu.Lock()
		var late, unsafe []*report
		for _, r := range a.reports {
			if time.Since(r.sentAt) > resendAfter {
				late = append(late, r)
			}
			if !r.safe {
				unsafe = append(unsafe, r)
			}
		}
		// With nothing left that is unsafe, one probe clears the trouble.
		recovered := a.trouble != "" && len(unsafe) == 0
		a.mu.Unlock()
		if recovered {
			a.probeSpool()
		}
		for _, r := range unsafe {
			a.keep(r)
		}
		for _, r := range late {
			a.send(r)
		}
	}
}

// probeSpool finds out whether the disk takes data again.
func (a *Agent) probeSpool() {
	const key = "probe"
	if a.spool.Append(context.Background(), key, make([]byte, 4096)) != nil || a.spool.Confirm(key) != nil {
		return
	}
	a.mu.Lock()
	a.trouble = ""
	a.mu.Unlock()
	a.Log.Info().Msg("the spool takes results again")
	a.beatNow()
}

// confirm drops reports that the manager has committed.
func (a *Agent) confirm(list []wire.Attempted) {
	keys := make([]string, 0, len(list))
	a.mu.Lock()
	for _, r := range list {
		key := keyOf(r)
		if a.reports[key] != nil {
			keys = append(keys, key)
			delete(a.reports, key)
		}
	}
	finished := a.drainingLocked() && len(a.attempts) == 0 && len(a.reports) == 0
	a.mu.Unlock()
	if err := a.spool.Confirm(keys...); err != nil {
		a.Log.Debug().Err(err).Msg("a confirmation was not written; the result is sent again after a restart")
	}
	if finished {
		a.beatNow()
	}
}

// settle waits until every report is confirmed or ctx ends.
func (a *Agent) settle(ctx context.Context) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		a.mu.Lock()
		open := len(a.reports)
		a.mu.Unlock()
		if open == 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
