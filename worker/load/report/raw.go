package report

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/fleetune/fleetune/worker/load/transport"
)

// rawLine is one request with all that was sent and received.
type rawLine struct {
	Metadata Metadata          `json:"metadata"`
	Start    int64             `json:"start_perf_ns"`
	Payload  json.RawMessage   `json:"payload,omitempty"`
	Request  map[string]string `json:"request_headers,omitempty"`
	Status   int               `json:"status,omitempty"`
	Response map[string]string `json:"response_headers,omitempty"`
	Replies  []any             `json:"responses"`
	Error    *metrics.Error    `json:"error"`
}

// rawMessage is one event of a stream.
type rawMessage struct {
	At      int64      `json:"perf_ns"`
	Packets []rawField `json:"packets"`
}

type rawField struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// rawText is a reply that was no stream.
type rawText struct {
	At   int64  `json:"perf_ns"`
	Text string `json:"text"`
	Type string `json:"content_type,omitempty"`
}

// A RawRecorder writes a line for every request that holds all of it. It is
// safe for concurrent use; the first error is kept for Close.
type RawRecorder struct{ Recorder }

// CreateRawRecorder opens a file of whole requests.
func CreateRawRecorder(path string) (*RawRecorder, error) {
	r := &RawRecorder{}
	return r, r.create(path, "the file of whole requests")
}

// Add writes what was sent and received for a record. Instants of replies are
// on the monotonic clock that start_perf_ns is on.
func (r *RawRecorder) Add(rec *metrics.Record, raw *transport.Raw) {
	line := rawLine{Metadata: NewLine(rec, r.start(), nil).Metadata, Start: rec.Start, Payload: raw.Body, Status: raw.Status,
		Request: flat(raw.Request), Response: flat(raw.Response), Replies: []any{}, Error: rec.Err}
	for _, e := range raw.Events {
		m := rawMessage{At: e.At}
		if e.Name != "" {
			m.Packets = append(m.Packets, rawField{"event", e.Name})
		}
		line.Replies = append(line.Replies, rawMessage{e.At, append(m.Packets, rawField{"data", e.Data})})
	}
	if raw.Text != nil {
		line.Replies = append(line.Replies, rawText{raw.At, string(raw.Text), raw.Response.Get("Content-Type")})
	}
	r.put(line)
}

func flat(h http.Header) map[string]string {
	out := make(map[string]string, len(h))
	for name, values := range h {
		out[name] = strings.Join(values, ", ")
	}
	return out
}
