// Package openai is the simulated engine's HTTP side: the OpenAI API, and the
// paths and figures that vLLM and SGLang have beside it. Every reply carries the
// header X-Simulated with the GPU's name, and a fingerprint that says so.
package openai

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/fleetune/fleetune/shared/engine"
	"github.com/fleetune/fleetune/worker/simulate/batching"
	"github.com/fleetune/fleetune/worker/simulate/clock"
	"github.com/fleetune/fleetune/worker/simulate/settings"
)

// Header says on every reply that no engine gave it.
const Header = "X-Simulated"

// maxBody bounds a request in bytes.
const maxBody = 64 << 20

// A Config of the server.
type Config struct {
	Settings *settings.Settings
	Loop     *clock.Loop
	// Development opens vLLM's paths for development, as VLLM_SERVER_DEV_MODE
	// does there.
	Development bool
}

type server struct {
	Config
	fingerprint string
}

// New makes the handler.
func New(cfg Config) http.Handler {
	s := &server{Config: cfg, fingerprint: "simulated-" + cfg.Settings.GPU.Name}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", s.health)
	mux.HandleFunc("GET /metrics", s.metrics)
	mux.HandleFunc("GET /v1/models", s.models)
	mux.HandleFunc("POST /v1/completions", s.completions)
	mux.HandleFunc("POST /v1/chat/completions", s.chat)
	if cfg.Settings.Engine == engine.SGLang {
		for _, path := range []string{"/get_server_info", "/server_info"} {
			mux.HandleFunc("GET "+path, s.info)
		}
		mux.HandleFunc("GET /get_model_info", s.modelInfo)
		mux.HandleFunc("GET /health_generate", s.healthGenerate)
		mux.HandleFunc("/flush_cache", s.flush)
	} else {
		mux.HandleFunc("GET /version", s.version)
		if cfg.Development {
			mux.HandleFunc("POST /reset_prefix_cache", s.flush)
			mux.HandleFunc("GET /server_info", s.info)
		}
	}
	return s.labelled(mux)
}

// labelled marks every reply, and asks for the key where the engine would.
func (s *server) labelled(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(Header, s.Settings.GPU.Name)
		if key := s.Settings.APIKey; key != "" && strings.HasPrefix(r.URL.Path, "/v1/") && r.Header.Get("Authorization") != "Bearer "+key {
			refuse(w, http.StatusUnauthorized, "Unauthorized")
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

// refuse answers with an error in OpenAI's form.
func refuse(w http.ResponseWriter, status int, message string) {
	answer(w, status, map[string]any{"error": map[string]any{"message": message, "type": http.StatusText(status), "code": status}})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) //nolint:errchkjson // the client may have gone; the bodies are ours
}

func (s *server) health(w http.ResponseWriter, _ *http.Request) {
	select {
	case <-s.Loop.Ended():
		w.WriteHeader(http.StatusServiceUnavailable)
	default:
		w.WriteHeader(http.StatusOK)
	}
}

// healthGenerate answers once a token was made.
func (s *server) healthGenerate(w http.ResponseWriter, r *http.Request) {
	reply, drop, err := s.Loop.Ask(batching.Request{Prompt: []uint32{0}, Output: 1})
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	defer drop()
	if s.await(r.Context(), reply) != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusOK)
}

// await waits until a reply has more.
func (s *server) await(ctx context.Context, reply *clock.Reply) error {
	select {
	case <-reply.Ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.Loop.Ended():
		return clock.ErrStopped
	}
}

func (s *server) models(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{"object": "list", "data": []any{map[string]any{
		"id": s.Settings.Served, "object": "model", "owned_by": "simulated", "root": s.Settings.Model, "max_model_len": s.Settings.MaxLength,
	}}})
}

func (s *server) version(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]string{"version": "simulated"})
}

func (s *server) modelInfo(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{"model_path": s.Settings.Model, "is_generation": true, "simulated": s.Settings.GPU.Name})
}

func (s *server) info(w http.ResponseWriter, _ *http.Request) {
	info := map[string]any{"simulated": s.Settings.GPU.Name, "version": "simulated", "model_path": s.Settings.Model, "served_model_name": s.Settings.Served,
		"ignored": s.Settings.Ignored}
	for name, value := range s.Settings.Effective {
		info[name] = json.RawMessage(value)
	}
	answer(w, http.StatusOK, info)
}

func (s *server) flush(w http.ResponseWriter, _ *http.Request) {
	switch all, err := s.Loop.Flush(); {
	case err != nil:
		refuse(w, http.StatusServiceUnavailable, err.Error())
	case !all:
		refuse(w, http.StatusBadRequest, "requests are running: what they use stays in the cache")
	default:
		_, _ = io.WriteString(w, "Cache flushed.\n") // the client may have gone
	}
}

// metrics writes the state under the engine's own names, in Prometheus's form.
func (s *server) metrics(w http.ResponseWriter, _ *http.Request) {
	st, err := s.Loop.State()
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	write := func(kind, name string, value float64) {
		_, _ = fmt.Fprintf(w, "# TYPE %s %s\n%s{model_name=%q} %g\n", name, kind, name, s.Settings.Served, value) // the client may have gone
	}
	hits := 0.0
	if st.Queried > 0 {
		hits = float64(st.Hit) / float64(st.Queried)
	}
	if s.Settings.Engine == engine.SGLang {
		write("gauge", "sglang:num_running_reqs", float64(st.Running))
		write("gauge", "sglang:num_queue_reqs", float64(st.Waiting))
		write("gauge", "sglang:token_usage", st.Usage)
		write("gauge", "sglang:cache_hit_rate", hits)
		write("counter", "sglang:prompt_tokens_total", float64(st.PromptTokens))
		write("counter", "sglang:generation_tokens_total", float64(st.OutputTokens))
	} else {
		write("gauge", "vllm:num_requests_running", float64(st.Running))
		write("gauge", "vllm:num_requests_waiting", float64(st.Waiting))
		write("gauge", "vllm:kv_cache_usage_perc", st.Usage)
		write("counter", "vllm:prefix_cache_queries_total", float64(st.Queried))
		write("counter", "vllm:prefix_cache_hits_total", float64(st.Hit))
		write("counter", "vllm:num_preemptions_total", float64(st.Preemptions))
		write("counter", "vllm:prompt_tokens_total", float64(st.PromptTokens))
		write("counter", "vllm:generation_tokens_total", float64(st.OutputTokens))
	}
	write("counter", "simulated_steps_total", float64(st.Steps))
	write("counter", "simulated_busy_seconds_total", st.Busy)
	write("counter", "simulated_behind_seconds_total", st.Behind.Seconds())
}
