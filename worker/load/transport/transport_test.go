package transport

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/fleetune/fleetune/worker/load/endpoint"
	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/fleetune/fleetune/worker/load/mockopenai"
	"github.com/fleetune/fleetune/worker/simulate/openai"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func serve(t *testing.T, cfg mockopenai.Config) *mockopenai.Server {
	s, err := mockopenai.Start(cfg)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

func always(b mockopenai.Behaviour) mockopenai.Config {
	return mockopenai.Config{Behave: func(int, *mockopenai.Recording) mockopenai.Behaviour { return b }}
}

func dial(t *testing.T, cfg Config) *Client {
	c, err := New(cfg, time.Now())
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func send(t *testing.T, c *Client, p *endpoint.Prompt) (*metrics.Record, Text) {
	s := c.Session()
	defer s.Close()
	body, err := c.cfg.Options.Body(p)
	require.NoError(t, err)
	rec := &metrics.Record{}
	text := s.Do(t.Context(), Call{Body: body}, rec)
	return rec, text
}

func hello(tokens int) *endpoint.Prompt {
	return &endpoint.Prompt{Model: "m", Messages: []endpoint.Message{endpoint.Text("user", "hello you all")}, MaxTokens: tokens}
}

func TestEveryEndpointAgainstTheOracle(t *testing.T) {
	server := serve(t, always(mockopenai.Behaviour{TTFT: time.Millisecond, ITL: time.Millisecond, Reasoning: 2, Cached: 1}))
	for _, kind := range []endpoint.Kind{endpoint.Chat, endpoint.Completions, endpoint.Responses, endpoint.Embeddings, endpoint.Rerank} {
		for _, stream := range []bool{false, true} {
			if stream && !kind.Streams() {
				continue
			}
			t.Run(string(kind)+map[bool]string{true: " streaming"}[stream], func(t *testing.T) {
				server.Forget()
				c := dial(t, Config{URLs: []string{server.URL}, Options: endpoint.Options{Kind: kind, Stream: stream, IgnoreEOS: true}})
				p := hello(5)
				p.Documents = []string{"a", "b"}
				rec, text := send(t, c, p)
				require.Nil(t, rec.Err)
				require.True(t, rec.Valid())
				require.Equal(t, stream, rec.Streamed)
				seen := server.Recordings()
				require.Len(t, seen, 1)
				require.Equal(t, kind.Path(), seen[0].Path)
				require.Equal(t, seen[0].PromptTokens(), rec.Usage.Prompt)
				require.Equal(t, 1, rec.Usage.CacheRead)
				if kind == endpoint.Embeddings || kind == endpoint.Rerank {
					require.Equal(t, 1, text.Items)
					require.Negative(t, rec.Usage.Completion, "nothing is written")
					return
				}
				require.Equal(t, 5, rec.Usage.Completion)
				require.Equal(t, 5, seen[0].Limit())
				require.Equal(t, "true", string(seen[0].Body["ignore_eos"]))
				if !stream {
					require.Equal(t, "tok tok tok tok tok ", text.Content)
					return
				}
				require.Len(t, rec.Chunks, 5)
				if kind != endpoint.Completions {
					require.Equal(t, "tok tok ", text.Reasoning)
					require.Equal(t, metrics.Reasoning, rec.Chunks[1].Kind)
				}
				arriveAfterTheyWereSent(t, c, server, rec, &seen[0])
			})
		}
	}
}

// arriveAfterTheyWereSent holds the stamps against the oracle: no chunk may
// arrive before it was written, and the order is kept. How much later they
// come is the accuracy measurement's to say, not a test's.
func arriveAfterTheyWereSent(t *testing.T, c *Client, s *mockopenai.Server, rec *metrics.Record, seen *mockopenai.Recording) {
	shift := int64(c.epoch.Sub(s.Epoch))
	require.Less(t, rec.Start+shift, seen.Arrived)
	require.Len(t, seen.Writes, len(rec.Chunks))
	earliest := seen.Arrived + int64(time.Millisecond) // the set time to first token
	for i, chunk := range rec.Chunks {
		require.GreaterOrEqual(t, chunk.At+shift, earliest+int64(i)*int64(time.Millisecond))
	}
	h := rec.HTTP
	require.Positive(t, h.Total)
	require.GreaterOrEqual(t, h.Total, h.Waiting+h.Receiving)
	require.LessOrEqual(t, rec.Start, rec.Sent)
	require.LessOrEqual(t, rec.Headers, rec.FirstChunk())
	require.LessOrEqual(t, rec.LastChunk(), rec.End)
}

func TestFaultsHaveTheirClass(t *testing.T) {
	for fault, want := range map[mockopenai.Fault]metrics.Class{
		mockopenai.ResetAtOnce:   metrics.ErrReset,
		mockopenai.ResetLater:    metrics.ErrReset,
		mockopenai.HalfStream:    metrics.ErrTruncated,
		mockopenai.CutStream:     metrics.ErrTruncated,
		mockopenai.SlowHeaders:   metrics.ErrTimeout,
		mockopenai.Hang:          metrics.ErrIdle,
		mockopenai.TooMany:       metrics.ErrRateLimited,
		mockopenai.ServerError:   metrics.ErrServer,
		mockopenai.MalformedJSON: metrics.ErrMalformed,
		mockopenai.ErrorEvent:    metrics.ErrServer,
		mockopenai.NoContent:     metrics.ErrEmpty,
		mockopenai.NotHTTP:       metrics.ErrMalformed,
		mockopenai.NoDone:        "",
		mockopenai.MalformedSSE:  "", // lines that are no fields are passed over, as the standard says
	} {
		t.Run(string(fault), func(t *testing.T) {
			server := serve(t, always(mockopenai.Behaviour{Fault: fault, After: 2, Tokens: 5}))
			cfg := Config{URLs: []string{server.URL}, Options: endpoint.Options{Kind: endpoint.Chat, Stream: true}}
			switch fault {
			case mockopenai.SlowHeaders:
				cfg.Timeout = 20 * time.Millisecond
			case mockopenai.Hang:
				cfg.IdleTimeout = 20 * time.Millisecond
			}
			rec, _ := send(t, dial(t, cfg), hello(5))
			if want == "" {
				require.Nil(t, rec.Err)
				require.True(t, rec.Valid())
				return
			}
			require.NotNil(t, rec.Err)
			require.Equal(t, want, rec.Err.Class, rec.Err.Message)
			require.False(t, rec.Valid())
			require.Positive(t, rec.End)
		})
	}
}

func TestFailuresToConnect(t *testing.T) {
	opt := endpoint.Options{Kind: endpoint.Chat, Stream: true}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	require.NoError(t, l.Close())
	rec, _ := send(t, dial(t, Config{URLs: []string{addr}, Options: opt}), hello(1))
	require.Equal(t, metrics.ErrRefused, rec.Err.Class)

	secure := serve(t, mockopenai.Config{TLS: true})
	rec, _ = send(t, dial(t, Config{URLs: []string{secure.URL}, Options: opt}), hello(1))
	require.Equal(t, metrics.ErrTLS, rec.Err.Class)

	rec, _ = send(t, dial(t, Config{URLs: []string{secure.URL}, Options: opt, InsecureTLS: true}), hello(1))
	require.Nil(t, rec.Err)
	require.Positive(t, rec.HTTP.TLS)

	ca := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(ca, secure.Certificate(), 0o600))
	rec, _ = send(t, dial(t, Config{URLs: []string{secure.URL}, Options: opt, CAFile: ca}), hello(1))
	require.Nil(t, rec.Err)
}

// A server that asks for the client's certificate gets it, and tells that it
// has none as a failure of TLS.
func TestClientCertificates(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"choices":[{"message":{"content":"hi"}}]}`)) // a client that is gone shows in its record
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	pair := server.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	require.NoError(t, err)
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})
	secret := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
	dir := t.TempDir()
	at := func(name string, content ...[]byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, bytes.Join(content, nil), 0o600))
		return path
	}
	cfg := Config{URLs: []string{server.URL}, InsecureTLS: true, Options: endpoint.Options{Kind: endpoint.Chat}}
	rec, _ := send(t, dial(t, cfg), hello(1))
	require.Equal(t, metrics.ErrTLS, rec.Err.Class, rec.Err.Message)

	for _, files := range [][2]string{{at("cert.pem", cert), at("key.pem", secret)}, {at("both.pem", cert, secret), ""}} {
		cfg.CertFile, cfg.KeyFile = files[0], files[1]
		rec, _ = send(t, dial(t, cfg), hello(1))
		require.Nil(t, rec.Err)
	}
	for _, files := range [][2]string{{"", at("key.pem", secret)}, {at("cert.pem", cert), ""}, {"/nowhere", ""}} {
		cfg.CertFile, cfg.KeyFile = files[0], files[1]
		_, err := New(cfg, time.Now())
		require.Error(t, err)
	}
}

// A server that hangs up on a connection it had kept is told apart from one
// that breaks: another keep-alive policy is the remedy.
func TestAKeptConnectionThatIsClosed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		in := bufio.NewReader(conn)
		for n := range 2 {
			req, err := http.ReadRequest(in)
			if err != nil {
				break
			}
			_, _ = io.Copy(io.Discard, req.Body) // a short body shows in the test's records
			if n == 0 {
				body := `{"choices":[{"message":{"content":"hi"}}]}`
				_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			}
		}
		_ = conn.Close() // the client sees the end
	}()
	c := dial(t, Config{URLs: []string{l.Addr().String()}, Options: endpoint.Options{Kind: endpoint.Chat}})
	rec, _ := send(t, c, hello(1))
	require.Nil(t, rec.Err)
	rec, _ = send(t, c, hello(1))
	require.Equal(t, metrics.ErrStale, rec.Err.Class, rec.Err.Message)
	require.NoError(t, l.Close())
	<-done
}

func TestLimitsAreNamed(t *testing.T) {
	waited := &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded}
	require.Equal(t, metrics.ErrConnectTimeout, classify(nil, waited, false, false).Class)
	e := classify(&limitError{metrics.ErrTimeout, 3 * time.Second}, context.Canceled, true, false)
	require.Equal(t, metrics.ErrTimeout, e.Class)
	require.Contains(t, e.Message, "limit of 3s")
	e = classify(&limitError{metrics.ErrIdle, time.Second}, context.Canceled, true, false)
	require.Equal(t, metrics.ErrIdle, e.Class)
	require.Contains(t, e.Message, "limit of 1s")
}

func TestHeadersOfTheUser(t *testing.T) {
	server := serve(t, mockopenai.Config{})
	hosts := make(chan string, 1)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { hosts <- r.Host }))
	defer front.Close()
	headers := http.Header{"Content-Type": {"application/json; charset=utf-8"}, "Host": {"model.example"}, "X-Two": {"a", "b"}}
	opt := endpoint.Options{Kind: endpoint.Chat}
	rec, _ := send(t, dial(t, Config{URLs: []string{server.URL}, Headers: headers, Options: opt}), hello(1))
	require.Nil(t, rec.Err)
	got := server.Recordings()[0].Header
	require.Equal(t, "application/json; charset=utf-8", got.Get("Content-Type"))
	require.Equal(t, []string{"a", "b"}, got["X-Two"])
	send(t, dial(t, Config{URLs: []string{front.URL}, Headers: headers, Options: opt}), hello(1))
	require.Equal(t, "model.example", <-hosts)
}

// Servers on this machine are never behind the environment's proxy.
func TestNoProxyBeforeThisMachine(t *testing.T) {
	require.Empty(t, dial(t, Config{URLs: []string{"localhost:1", "127.0.0.1:2"}, Options: endpoint.Options{Kind: endpoint.Chat}}).Proxy())
}

func TestOverflowIsToldApart(t *testing.T) {
	server := serve(t, always(mockopenai.Behaviour{Overflow: 2}))
	rec, _ := send(t, dial(t, Config{URLs: []string{server.URL}, Options: endpoint.Options{Kind: endpoint.Chat}}), hello(1))
	require.Equal(t, metrics.ErrOverflow, rec.Err.Class)
	require.Equal(t, http.StatusBadRequest, rec.Err.Code)
}

func TestCancellationOnPurpose(t *testing.T) {
	server := serve(t, always(mockopenai.Behaviour{TTFT: time.Hour}))
	c := dial(t, Config{URLs: []string{server.URL}, Options: endpoint.Options{Kind: endpoint.Chat, Stream: true}})
	for _, delay := range []time.Duration{0, 5 * time.Millisecond} {
		s := c.Session()
		body, err := c.cfg.Options.Body(hello(1))
		require.NoError(t, err)
		rec := &metrics.Record{}
		s.Do(t.Context(), Call{Body: body, CancelAfter: &delay}, rec)
		require.Equal(t, metrics.ErrCancelled, rec.Err.Class)
		require.Equal(t, 499, rec.Err.Code)
		require.Positive(t, rec.Cancelled)
		require.GreaterOrEqual(t, rec.Cancelled-rec.Sent, int64(delay))
	}
}

func TestTheEndOfTheRunIsItsOwnClass(t *testing.T) {
	server := serve(t, always(mockopenai.Behaviour{TTFT: time.Hour}))
	c := dial(t, Config{URLs: []string{server.URL}, Options: endpoint.Options{Kind: endpoint.Chat, Stream: true}})
	ctx, cancel := context.WithCancelCause(t.Context())
	s := c.Session()
	rec := &metrics.Record{}
	time.AfterFunc(5*time.Millisecond, func() { cancel(ErrRunEnded) })
	s.Do(ctx, Call{Body: []byte(`{"stream":true}`)}, rec)
	require.Equal(t, metrics.ErrRunEnded, rec.Err.Class)
}

func TestConnectionPolicies(t *testing.T) {
	server := serve(t, mockopenai.Config{})
	for policy, want := range map[Reuse]int{Pooled: 1, Never: 6, Sticky: 2} {
		server.Forget()
		c := dial(t, Config{URLs: []string{server.URL}, Reuse: policy, Options: endpoint.Options{Kind: endpoint.Chat, Stream: true}})
		for range 2 {
			s := c.Session()
			for range 3 {
				body, err := c.cfg.Options.Body(hello(2))
				require.NoError(t, err)
				rec := &metrics.Record{}
				s.Do(t.Context(), Call{Body: body}, rec)
				require.Nil(t, rec.Err)
			}
			s.Close()
		}
		conns := map[string]bool{}
		for _, r := range server.Recordings() {
			conns[r.Conn] = true
		}
		require.Len(t, conns, want, "%s", policy)
	}
}

func TestSessionsTakeServersInTurnAndKeepThem(t *testing.T) {
	one, two := serve(t, mockopenai.Config{}), serve(t, mockopenai.Config{})
	c := dial(t, Config{URLs: []string{one.URL, two.URL + "/v1"}, APIKey: "k", Headers: http.Header{"X-A": {"b"}},
		Options: endpoint.Options{Kind: endpoint.Chat}})
	for range 4 {
		rec, _ := send(t, c, hello(1))
		require.Nil(t, rec.Err)
	}
	for _, s := range []*mockopenai.Server{one, two} {
		require.Len(t, s.Recordings(), 2)
		r := s.Recordings()[0]
		require.Equal(t, "/v1/chat/completions", r.Path)
		require.Equal(t, "Bearer k", r.Header.Get("Authorization"))
		require.Equal(t, "b", r.Header.Get("X-A"))
	}
}

func TestFirstContentIsToldOnce(t *testing.T) {
	server := serve(t, always(mockopenai.Behaviour{Tokens: 3}))
	c := dial(t, Config{URLs: []string{server.URL}, Options: endpoint.Options{Kind: endpoint.Chat, Stream: true}})
	s := c.Session()
	calls := 0
	rec := &metrics.Record{}
	s.Do(t.Context(), Call{Body: []byte(`{"stream":true}`), OnFirst: func() { calls++ }}, rec)
	require.Nil(t, rec.Err)
	require.Equal(t, 1, calls)
}

func TestConfigurationIsChecked(t *testing.T) {
	for _, cfg := range []Config{{}, {URLs: []string{"ftp://x"}}, {URLs: []string{"http://x"}, Reuse: "often"}, {URLs: []string{"http://x"}, CAFile: "/nowhere"}} {
		_, err := New(cfg, time.Now())
		require.Error(t, err)
	}
}

func TestLongStreamsAreParsedOnTheWay(t *testing.T) {
	server := serve(t, always(mockopenai.Behaviour{Tokens: 2000}))
	rec, text := send(t, dial(t, Config{URLs: []string{server.URL}, Options: endpoint.Options{Kind: endpoint.Chat, Stream: true}}), hello(1))
	require.Nil(t, rec.Err)
	require.Len(t, rec.Chunks, 2000)
	require.Equal(t, 2000, strings.Count(text.Content, "tok "))
}

// What only simulates says so in every reply, and the client remembers.
func TestASimulationIsNoticed(t *testing.T) {
	require.Equal(t, openai.Header, simulatedHeader)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(openai.Header, "h100-sxm")
		_, _ = w.Write([]byte(`{}`)) // the client looks at the header alone
	}))
	defer s.Close()
	c, err := New(Config{URLs: []string{s.URL}, Options: endpoint.Options{Kind: endpoint.Chat}}, time.Now())
	require.NoError(t, err)
	defer c.Close()
	require.Empty(t, c.Simulated())
	session := c.Session()
	defer session.Close()
	session.Do(t.Context(), Call{Body: []byte(`{}`)}, &metrics.Record{})
	require.Equal(t, "h100-sxm", c.Simulated())
}
