// Package transport sends requests over HTTP and fills in their records: it
// stamps what happens when it happens and leaves parsing for after. It knows
// connections, time-outs and error classes; what to send and when is decided
// elsewhere.
package transport

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fleetune/fleetune/worker/load/endpoint"
	"github.com/fleetune/fleetune/worker/load/metrics"
)

// Reuse says how connections are kept.
type Reuse string

// The keep-alive policies.
const (
	// Pooled shares idle connections between all requests.
	Pooled Reuse = "pooled"
	// Never opens a connection for every request.
	Never Reuse = "never"
	// Sticky gives every session a connection of its own for its whole life.
	Sticky Reuse = "sticky-user-sessions"
)

// Config says where requests go and how.
type Config struct {
	// URLs of the server, with or without a path; sessions take them in turn.
	URLs []string
	// Path overrides the endpoint's path.
	Path    string
	Options endpoint.Options
	Headers http.Header
	// APIKey is sent as a bearer token.
	APIKey string
	Reuse  Reuse
	// ConnectTimeout bounds opening a connection, and once more its TLS
	// handshake; 0 is DefaultConnectTimeout.
	ConnectTimeout time.Duration
	// Timeout bounds one request; 0 sets none.
	Timeout time.Duration
	// IdleTimeout bounds the silence inside a reply; 0 sets none.
	IdleTimeout time.Duration
	// KeepAlive is how long an idle connection stays open. The default, 4 s,
	// is below the 5 s after which common servers hang up, so a request never
	// races with the server's close.
	KeepAlive time.Duration
	// CAFile holds certificates to trust besides the system's.
	CAFile string
	// CertFile and KeyFile hold the client's own certificate, in PEM; the key
	// may be in the certificate's file.
	CertFile, KeyFile string
	// InsecureTLS accepts any certificate.
	InsecureTLS bool
}

// DefaultConnectTimeout is how long a connection may take to open.
const DefaultConnectTimeout = 30 * time.Second

// A Client sends requests. It is safe for concurrent use.
type Client struct {
	cfg     Config
	targets []*url.URL
	header  http.Header
	host    string // sent instead of the URL's, if not empty
	trust   *tls.Config
	shared  *http.Transport
	turn    atomic.Uint64
	epoch   time.Time

	simulated atomic.Pointer[string]
}

// simulatedHeader names what a server only simulates.
const simulatedHeader = "X-Simulated"

// Simulated is what the server says that it simulates; empty for a real one,
// or one that has not replied.
func (c *Client) Simulated() string {
	if s := c.simulated.Load(); s != nil {
		return *s
	}
	return ""
}

// New checks the configuration and returns a client whose records count from
// epoch.
func New(cfg Config, epoch time.Time) (*Client, error) {
	if len(cfg.URLs) == 0 {
		return nil, errors.New("no URL to send to")
	}
	c := &Client{cfg: cfg, epoch: epoch, header: http.Header{}}
	for _, raw := range cfg.URLs {
		u, err := target(raw, cfg.Path, cfg.Options.Kind)
		if err != nil {
			return nil, err
		}
		c.targets = append(c.targets, u)
	}
	switch cfg.Reuse {
	case "":
		c.cfg.Reuse = Pooled
	case Pooled, Never, Sticky:
	default:
		return nil, fmt.Errorf("connection reuse %q: use pooled, never or sticky-user-sessions", cfg.Reuse)
	}
	if c.cfg.KeepAlive == 0 {
		c.cfg.KeepAlive = 4 * time.Second
	}
	if c.cfg.ConnectTimeout == 0 {
		c.cfg.ConnectTimeout = DefaultConnectTimeout
	}
	c.header.Set("Content-Type", "application/json")
	for name, values := range cfg.Headers {
		c.header[http.CanonicalHeaderKey(name)] = values
	}
	// Where a request goes is no header of its own to net/http.
	c.host = c.header.Get("Host")
	c.header.Del("Host")
	if cfg.APIKey != "" {
		c.header.Set("Authorization", "Bearer "+cfg.APIKey)
	}
	var err error
	if c.trust, err = cfg.trust(); err != nil {
		return nil, err
	}
	c.shared = c.open()
	return c, nil
}

// target joins a server's URL and the endpoint's path. A URL that already ends
// in the path, or in the API's /v1, is not given it twice.
func target(raw, path string, kind endpoint.Kind) (*url.URL, error) {
	if !strings.Contains(raw, "://") {
		raw = "http://" + raw
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("reading URL: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("URL %q: want http://host:port", raw)
	}
	if path == "" {
		path = kind.Path()
	}
	base := strings.TrimSuffix(u.Path, "/")
	switch {
	case strings.HasSuffix(base, path):
	case strings.HasSuffix(base, "/v1") && strings.HasPrefix(path, "/v1/"):
		base += strings.TrimPrefix(path, "/v1")
	default:
		base += "/" + strings.TrimPrefix(path, "/")
	}
	u.Path = base
	return u, nil
}

// trust is what TLS takes for granted, and shows of itself.
func (cfg *Config) trust() (*tls.Config, error) {
	trust := &tls.Config{InsecureSkipVerify: cfg.InsecureTLS, MinVersion: tls.VersionTLS12} //nolint:gosec // only when the user asks for it
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("reading certificates: %w", err)
		}
		if trust.RootCAs, err = x509.SystemCertPool(); err != nil {
			trust.RootCAs = x509.NewCertPool()
		}
		if !trust.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("reading certificates: none in %s", cfg.CAFile)
		}
	}
	if cfg.CertFile == "" && cfg.KeyFile == "" {
		return trust, nil
	}
	if cfg.CertFile == "" {
		return nil, errors.New("a client's key needs its certificate")
	}
	own, err := tls.LoadX509KeyPair(cfg.CertFile, cmp.Or(cfg.KeyFile, cfg.CertFile))
	if err != nil {
		return nil, fmt.Errorf("reading the client's certificate: %w", err)
	}
	trust.Certificates = []tls.Certificate{own}
	return trust, nil
}

func (c *Client) open() *http.Transport {
	dial := &net.Dialer{Timeout: c.cfg.ConnectTimeout}
	return &http.Transport{
		DialContext:         dial.DialContext,
		TLSClientConfig:     c.trust,
		TLSHandshakeTimeout: c.cfg.ConnectTimeout,
		DisableKeepAlives:   c.cfg.Reuse == Never,
		DisableCompression:  true, // a compressed stream would arrive in blocks of the compressor
		MaxIdleConnsPerHost: 1 << 20,
		IdleConnTimeout:     c.cfg.KeepAlive,
		Proxy:               http.ProxyFromEnvironment,
	}
}

// Proxy is the host of the proxy that the environment puts before a server;
// empty without one.
func (c *Client) Proxy() string {
	for _, u := range c.targets {
		proxy, err := http.ProxyFromEnvironment(&http.Request{URL: u})
		if err == nil && proxy != nil {
			return proxy.Host
		}
	}
	return ""
}

// Beside returns the URL of another path on the first server.
func (c *Client) Beside(path string) string {
	u := url.URL{Scheme: c.targets[0].Scheme, Host: c.targets[0].Host, Path: path}
	return u.String()
}

// now is the time since the epoch, never 0.
func (c *Client) now() int64 { return int64(time.Since(c.epoch)) }

// Close drops idle connections.
func (c *Client) Close() { c.shared.CloseIdleConnections() }

// A Session sends the requests of one play of a conversation, all to the same
// server. It is not safe for concurrent use.
type Session struct {
	client    *Client
	target    *url.URL
	transport *http.Transport
}

// Session opens a session on the next server.
func (c *Client) Session() *Session {
	s := &Session{client: c, transport: c.shared}
	s.target = c.targets[(c.turn.Add(1)-1)%uint64(len(c.targets))]
	if c.cfg.Reuse == Sticky {
		t := c.open()
		t.MaxConnsPerHost = 1
		t.IdleConnTimeout = 0 // the session's think time must not cost its connection
		s.transport = t
	}
	return s
}

// Close ends the session, and its connection if that was its own.
func (s *Session) Close() {
	if s.transport != s.client.shared {
		s.transport.CloseIdleConnections()
	}
}

// errCancelled is the cause when the client hangs up on purpose.
var errCancelled = errors.New("cancelled on purpose")

// limitError is the cause when one of the limits of a request ended it.
type limitError struct {
	class metrics.Class
	limit time.Duration
}

func (e *limitError) Error() string {
	if e.class == metrics.ErrIdle {
		return fmt.Sprintf("no byte for the limit of %v inside the reply", e.limit)
	}
	return fmt.Sprintf("the request took longer than its limit of %v", e.limit)
}

// Causes for a context whose end cancels requests in flight.
var (
	// ErrRunEnded says that the run and its grace are over: the request took
	// too long, which is a failure.
	ErrRunEnded = errors.New("the run and its grace ended before the reply")
	// ErrStopped says that the caller stopped the run, which says nothing about
	// the request.
	ErrStopped = errors.New("the run was stopped")
)

// limits derives the context of one request.
func (s *Session) limits(ctx context.Context) (context.Context, context.CancelCauseFunc, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	if s.client.cfg.Timeout <= 0 {
		return ctx, cancel, func() {}
	}
	timer := time.AfterFunc(s.client.cfg.Timeout, func() { cancel(&limitError{metrics.ErrTimeout, s.client.cfg.Timeout}) })
	return ctx, cancel, func() { timer.Stop() }
}
