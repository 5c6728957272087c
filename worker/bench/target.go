package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/fleetune/fleetune/worker/load"
	"github.com/fleetune/fleetune/worker/load/endpoint"
	"github.com/fleetune/fleetune/worker/load/transport"
)

// targetOptions say which server is loaded, and how it is spoken to.
type targetOptions struct {
	URLs          []string      `json:"url"`
	Models        []string      `json:"model"`
	Endpoint      string        `json:"endpoint_type"`
	Path          string        `json:"endpoint_path,omitempty"`
	Streaming     bool          `json:"streaming"`
	APIKey        string        `json:"-"` // refused, see validate
	APIKeyEnv     string        `json:"api_key_env,omitempty"`
	Headers       []string      `json:"-"` // may carry secrets
	Extra         []string      `json:"extra_inputs,omitempty"`
	Timeout       time.Duration `json:"request_timeout_ns"`
	IdleTimeout   time.Duration `json:"idle_timeout_ns,omitempty"`
	Reuse         string        `json:"connection_reuse"`
	KeepAlive     time.Duration `json:"keep_alive_ns,omitempty"`
	ConnTimeout   time.Duration `json:"connect_timeout_ns,omitempty"`
	CAFile        string        `json:"ca_file,omitempty"`
	CertFile      string        `json:"cert_file,omitempty"`
	KeyFile       string        `json:"key_file,omitempty"`
	InsecureTLS   bool          `json:"insecure_tls,omitempty"`
	LegacyTokens  bool          `json:"legacy_max_tokens"`
	IgnoreEOS     bool          `json:"ignore_eos"`
	ServerCounts  bool          `json:"use_server_token_count"`
	SessionHeader string        `json:"session_header,omitempty"`
	ServerMetrics string        `json:"server_metrics,omitempty"`
	GPUTelemetry  string        `json:"gpu_telemetry,omitempty"`
}

func (t *targetOptions) flags(f *pflag.FlagSet) {
	f.StringSliceVarP(&t.URLs, "url", "u", []string{"http://localhost:8000"}, "server to load; several take sessions in turn")
	f.StringSliceVarP(&t.Models, "model", "m", nil, "model to ask for")
	f.StringVar(&t.Endpoint, "endpoint-type", "chat", "chat, completions, embeddings, rerank or responses")
	f.StringVar(&t.Path, "endpoint", "", "path of the endpoint, instead of its usual one")
	f.BoolVar(&t.Streaming, "streaming", true, "stream replies")
	f.StringVar(&t.APIKeyEnv, "api-key-env", "", "environment variable that holds the API key")
	f.StringVar(&t.APIKey, "api-key", "", "")
	_ = f.MarkHidden("api-key") // it is there, one line above
	f.StringArrayVarP(&t.Headers, "header", "H", nil, "header as 'Name: value'")
	f.StringArrayVar(&t.Extra, "extra-inputs", nil, "member of every request body as name:value; the value is JSON, or else text")
	durationVar(f, &t.Timeout, "request-timeout", 6*time.Hour, time.Second, "limit of one request")
	durationVar(f, &t.IdleTimeout, "idle-timeout", 0, time.Second, "limit of silence inside a reply")
	f.StringVar(&t.Reuse, "connection-reuse-strategy", "pooled", "pooled, never or sticky-user-sessions")
	durationVar(f, &t.KeepAlive, "keep-alive", 0, time.Second, "how long an idle connection stays open (default 4s, below common servers' 5s)")
	durationVar(f, &t.ConnTimeout, "connect-timeout", transport.DefaultConnectTimeout, time.Second, "limit of opening a connection")
	f.StringVar(&t.CAFile, "ca-file", "", "certificates to trust besides the system's")
	f.StringVar(&t.CertFile, "cert-file", "", "client certificate for servers that ask for one, as PEM")
	f.StringVar(&t.KeyFile, "key-file", "", "its private key, if that is not in the certificate's file")
	f.BoolVar(&t.InsecureTLS, "insecure", false, "accept any certificate")
	f.BoolVar(&t.LegacyTokens, "use-legacy-max-tokens", true, "write max_tokens rather than max_completion_tokens")
	f.BoolVar(&t.ServerCounts, "use-server-token-count", true, "take the server's token counts where it gives any; false takes the --tokenizer's")
	f.BoolVar(&t.IgnoreEOS, "ignore-eos", true, "ask the server to reach the output length, for workloads that set one")
	f.StringVar(&t.SessionHeader, "session-header", "", "header that carries the session's id for routers")
	f.StringVar(&t.ServerMetrics, "server-metrics", load.AutoMetrics, "Prometheus endpoint of the engine; auto tries /metrics beside the URL, empty reads none")
	f.StringVar(&t.GPUTelemetry, "gpu-telemetry", load.AutoGPUs, "local, or the URL of a DCGM exporter; auto reads this machine's GPUs if the server is here, empty none")
}

func (t *targetOptions) target() (transport.Config, error) {
	kind, err := endpoint.ParseKind(t.Endpoint)
	if err != nil {
		return transport.Config{}, fmt.Errorf("--endpoint-type: %w", err)
	}
	extra := map[string]json.RawMessage{}
	for _, e := range t.Extra {
		name, value, ok := strings.Cut(e, ":")
		if !ok || name == "" {
			return transport.Config{}, fmt.Errorf("--extra-inputs %q: want name:value", e)
		}
		raw := json.RawMessage(value)
		if !json.Valid(raw) {
			raw, _ = json.Marshal(value) // a string always encodes
		}
		extra[name] = raw
	}
	headers := http.Header{}
	for _, h := range t.Headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			return transport.Config{}, errors.New("--header: want 'Name: value'")
		}
		headers.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	key := ""
	if t.APIKeyEnv != "" {
		if key = os.Getenv(t.APIKeyEnv); key == "" {
			return transport.Config{}, fmt.Errorf("--api-key-env: %s is not set", t.APIKeyEnv)
		}
	}
	return transport.Config{
		URLs: t.URLs, Path: t.Path, Headers: headers, APIKey: key, Reuse: transport.Reuse(t.Reuse), Timeout: t.Timeout,
		IdleTimeout: t.IdleTimeout, KeepAlive: t.KeepAlive, ConnectTimeout: t.ConnTimeout,
		CAFile: t.CAFile, CertFile: t.CertFile, KeyFile: t.KeyFile, InsecureTLS: t.InsecureTLS,
		Options: endpoint.Options{Kind: kind, Stream: t.Streaming && kind.Streams(), IgnoreEOS: t.IgnoreEOS && kind.Streams(),
			LegacyMaxTokens: t.LegacyTokens, Extra: extra},
	}, nil
}
