// Package mockopenai is an OpenAI-compatible server that does what it is told
// and writes down what it saw: the oracle of the load generator's tests and of
// its accuracy figures. Time to first token, time between tokens, usage and
// faults are set; requests and the instants of every write are recorded.
package mockopenai

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/fleetune/fleetune/worker/load/pace"
)

// Behaviour is what the server does with one request.
type Behaviour struct {
	// TTFT is the time from the request's arrival to the first token, ITL the
	// time between tokens.
	TTFT, ITL time.Duration
	// Tokens of the reply; 0 takes the request's limit, or 16 without one.
	Tokens int
	// Reasoning tokens come first and count among Tokens.
	Reasoning int
	// PerChunk is how many tokens travel in one chunk; 0 means one.
	PerChunk int
	// NoUsage leaves usage out. Cached prompt tokens are reported with it.
	NoUsage bool
	Cached  int
	// Overflow refuses prompts of more tokens than this as too long.
	Overflow int
	Fault    Fault
	// After is how many chunks go out before a fault that needs some.
	After int
}

// Fault is a way to misbehave.
type Fault string

// The faults.
const (
	None          Fault = ""
	ResetAtOnce   Fault = "reset"          // reset the connection before any reply
	ResetLater    Fault = "reset_later"    // reset after some chunks
	HalfStream    Fault = "half_stream"    // end the chunked body properly, but early
	CutStream     Fault = "cut_stream"     // close the connection inside the chunked body
	SlowHeaders   Fault = "slow_headers"   // no status until the client gives up
	Hang          Fault = "hang"           // silence after some chunks until the client gives up
	TooMany       Fault = "429"            // status 429
	ServerError   Fault = "500"            // status 500
	MalformedJSON Fault = "malformed_json" // an event that is not JSON
	MalformedSSE  Fault = "malformed_sse"  // bytes that are no event stream
	ErrorEvent    Fault = "error_event"    // an error inside the stream
	NoContent     Fault = "no_content"     // a good stream with nothing in it
	NoDone        Fault = "no_done"        // a finish reason, but no end mark
	NotHTTP       Fault = "not_http"       // a reply that is not HTTP
)

// Config of a Server.
type Config struct {
	// Behave decides about the n-th request, counted from 0; nil answers at once.
	Behave func(n int, r *Recording) Behaviour
	// TLS serves over TLS with a certificate of its own.
	TLS bool
	// Addr to listen on; empty means a free port of 127.0.0.1.
	Addr string
	// Forget keeps no recordings, for runs too long to keep.
	Forget bool
}

// A Recording is one request as the server saw it. Instants are nanoseconds
// since the server's start.
type Recording struct {
	Number  int                        `json:"number"`
	ID      string                     `json:"id"`      // x-request-id
	Session string                     `json:"session"` // x-correlation-id
	Path    string                     `json:"path"`
	Conn    string                     `json:"conn"` // the client's address and port
	Header  http.Header                `json:"-"`
	Raw     json.RawMessage            `json:"-"`
	Body    map[string]json.RawMessage `json:"-"`
	Arrived int64                      `json:"arrived"`
	// Writes holds the instants after which each content chunk was handed to
	// the kernel.
	Writes []int64 `json:"writes"`
	Ended  int64   `json:"ended"`
	// Gone is set when the client hung up first.
	Gone bool `json:"gone"`
}

// A Server answers on loopback.
type Server struct {
	// URL of the server, without a path.
	URL  string
	cfg  Config
	test *httptest.Server
	pace *pace.Pacer
	// Epoch is what the recordings' instants count from.
	Epoch time.Time
	// EpochMonotonic is the same instant on the machine's monotonic clock,
	// which all its processes share, in ns.
	EpochMonotonic int64

	mu   sync.Mutex
	seen []*Recording
	n    int
}

// Start opens a server.
func Start(cfg Config) (*Server, error) {
	addr := cfg.Addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("opening the mock server: %w", err)
	}
	s := &Server{cfg: cfg, pace: pace.NewThread()}
	s.Epoch, s.EpochMonotonic = Clocks()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /", s.handle)
	mux.HandleFunc("GET /recordings", s.serveRecordings)
	mux.HandleFunc("DELETE /recordings", func(w http.ResponseWriter, _ *http.Request) { s.Forget() })
	s.test = &httptest.Server{Listener: l, Config: &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}}
	if cfg.TLS {
		s.test.StartTLS()
	} else {
		s.test.Start()
	}
	s.URL = s.test.URL
	return s, nil
}

// Close hangs up on everyone and waits for the handlers.
func (s *Server) Close() {
	s.test.CloseClientConnections()
	s.pace.Stop()
	s.test.Close()
}

// Certificate returns the server's own certificate in PEM, for a TLS server.
func (s *Server) Certificate() []byte { return certificate(s.test) }

// Recordings returns copies of what was seen, in order of arrival.
func (s *Server) Recordings() []Recording {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Recording, len(s.seen))
	for i, r := range s.seen {
		out[i] = *r
		out[i].Writes = append([]int64{}, r.Writes...)
	}
	return out
}

// Forget drops the recordings.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = nil
}

// An Exchange of recordings between processes.
type Exchange struct {
	EpochMonotonic int64       `json:"epoch_monotonic_ns"`
	Recordings     []Recording `json:"recordings"`
}

// serveRecordings hands the recordings to another process.
func (s *Server) serveRecordings(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(Exchange{s.EpochMonotonic, s.Recordings()}) // the client sees a short reply
}

func (s *Server) now() int64 { return int64(time.Since(s.Epoch)) }

func (s *Server) handle(w http.ResponseWriter, r *http.Request) {
	rec := &Recording{Arrived: s.now(), Path: r.URL.Path, Conn: r.RemoteAddr, Header: r.Header,
		ID: r.Header.Get("X-Request-Id"), Session: r.Header.Get("X-Correlation-Id")}
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client is gone
	}
	rec.Raw = raw
	if err := json.Unmarshal(raw, &rec.Body); err != nil {
		http.Error(w, `{"error":{"message":"the body is not a JSON object"}}`, http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	rec.Number = s.n
	s.n++
	if !s.cfg.Forget {
		s.seen = append(s.seen, rec)
	}
	s.mu.Unlock()
	var b Behaviour
	if s.cfg.Behave != nil {
		b = s.cfg.Behave(rec.Number, rec)
	}
	a := &answer{server: s, w: w, ctx: r.Context(), rec: rec, do: b}
	a.run()
	s.mu.Lock()
	rec.Ended, rec.Gone = s.now(), r.Context().Err() != nil
	s.mu.Unlock()
}

// wait sleeps until an instant since the epoch, or the client's leaving.
func (s *Server) wait(ctx context.Context, at int64) bool {
	return s.pace.SleepUntil(ctx, s.Epoch.Add(time.Duration(at))) == nil
}

func (s *Server) wrote(rec *Recording) {
	at := s.now()
	s.mu.Lock()
	rec.Writes = append(rec.Writes, at)
	s.mu.Unlock()
}

// Int reads a numeric member of the body; 0 where there is none.
func (r *Recording) Int(name string) int {
	var n int
	_ = json.Unmarshal(r.Body[name], &n) // a missing or odd value counts as 0
	return n
}

// Limit is the reply length the request asked for; 0 without one.
func (r *Recording) Limit() int {
	for _, name := range []string{"max_tokens", "max_completion_tokens", "max_output_tokens"} {
		if n := r.Int(name); n > 0 {
			return n
		}
	}
	return 0
}

// Streams reports whether the request asked for a stream.
func (r *Recording) Streams() bool { return string(r.Body["stream"]) == "true" }

// PromptTokens counts four bytes of prompt text as a token, rounded up.
func (r *Recording) PromptTokens() int {
	n := len(r.PromptText())
	return (n + 3) / 4
}

// PromptText is the text of the prompt, its messages joined.
func (r *Recording) PromptText() string {
	for _, name := range []string{"prompt", "query"} {
		var s string
		if json.Unmarshal(r.Body[name], &s) == nil {
			return s
		}
	}
	raw := r.Body["messages"]
	if raw == nil {
		raw = r.Body["input"]
	}
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var messages []struct {
		Content json.RawMessage `json:"content"`
	}
	if json.Unmarshal(raw, &messages) != nil {
		return ""
	}
	var b strings.Builder
	for _, m := range messages {
		var text string
		var parts []struct {
			Text string `json:"text"`
		}
		if json.Unmarshal(m.Content, &text) == nil {
			b.WriteString(text)
		} else if json.Unmarshal(m.Content, &parts) == nil {
			for _, p := range parts {
				b.WriteString(p.Text)
			}
		}
	}
	return b.String()
}
