package openai

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/shared/hardware"
	"github.com/fleetune/fleetune/worker/load"
	"github.com/fleetune/fleetune/worker/load/scrape"
	"github.com/fleetune/fleetune/worker/simulate/batching"
	"github.com/fleetune/fleetune/worker/simulate/clock"
	"github.com/fleetune/fleetune/worker/simulate/model"
	"github.com/fleetune/fleetune/worker/simulate/settings"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"))
}

// start serves a model of a billion parameters a hundred times faster than it would be.
func start(t *testing.T, engine, arguments string) string {
	g, err := hardware.Lookup("h100-sxm")
	require.NoError(t, err)
	s, err := settings.Read(settings.Input{Engine: engine, GPU: g, Arguments: strings.Fields("--model meta-llama/Llama-3.2-1B " + arguments),
		Architecture: func(name string) (task.Architecture, error) { return model.Find(name, nil) }})
	require.NoError(t, err)
	loop := clock.New([]*batching.Rank{batching.NewRank(s.Policy, s.Costs)}, 100, 1)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- loop.Run(ctx) }()
	server := httptest.NewServer(New(Config{Settings: s, Loop: loop, Development: true}))
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
		server.CloseClientConnections()
		server.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return server.URL
}

func do(t *testing.T, method, url, body string) (int, string) {
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, "h100-sxm", response.Header.Get(Header), "every reply says that it is simulated")
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(text)
}

type reply struct {
	Fingerprint string `json:"system_fingerprint"`
	Choices     []struct {
		Text    string
		Message struct{ Content string }
		Delta   struct{ Role, Content string }
		Finish  string `json:"finish_reason"`
	}
	Usage struct {
		Prompt     int `json:"prompt_tokens"`
		Completion int `json:"completion_tokens"`
		Details    struct {
			Cached int `json:"cached_tokens"`
		} `json:"prompt_tokens_details"`
	}
}

func decode(t *testing.T, text string) (r reply) {
	require.NoError(t, json.Unmarshal([]byte(text), &r), text)
	return r
}

func TestRepliesInOnePieceAndInManyAreTheSame(t *testing.T) {
	url := start(t, "vllm", "")
	ask := func(stream, chat bool) (text string, r reply) {
		path, body := "/v1/completions", `{"prompt":"the and for are but not you all","max_tokens":40,"ignore_eos":true`
		if chat {
			path, body = "/v1/chat/completions", `{"messages":[{"role":"user","content":[{"type":"text","text":"hello"}]}],"max_tokens":40,"ignore_eos":true`
		}
		if !stream {
			code, answer := do(t, http.MethodPost, url+path, body+"}")
			require.Equal(t, 200, code, answer)
			r = decode(t, answer)
			require.Equal(t, "simulated-h100-sxm", r.Fingerprint)
			return r.Choices[0].Text + r.Choices[0].Message.Content, r
		}
		_, answer := do(t, http.MethodPost, url+path, body+`,"stream":true,"stream_options":{"include_usage":true}}`)
		lines := bufio.NewScanner(strings.NewReader(answer))
		events := 0
		for lines.Scan() {
			data, ok := strings.CutPrefix(lines.Text(), "data: ")
			if !ok || data == "[DONE]" {
				continue
			}
			r = decode(t, data)
			for _, c := range r.Choices {
				text += c.Text + c.Delta.Content
				events++
			}
		}
		require.Equal(t, 41, events, "one for every token and one for the end")
		require.True(t, strings.HasSuffix(answer, "data: [DONE]\n\n"))
		return text, r
	}
	for _, chat := range []bool{false, true} {
		whole, a := ask(false, chat)
		pieces, b := ask(true, chat)
		require.Equal(t, whole, pieces)
		require.Len(t, whole, 160, "four bytes a token")
		require.Equal(t, 40, a.Usage.Completion)
		require.Equal(t, a.Usage.Completion, b.Usage.Completion)
		require.Equal(t, a.Usage.Prompt, b.Usage.Prompt)
	}
}

func TestAConversationFindsItsBeginningInTheCache(t *testing.T) {
	for _, engine := range []string{"vllm", "sglang"} {
		url := start(t, engine, "")
		say := func(messages string) reply {
			code, answer := do(t, http.MethodPost, url+"/v1/chat/completions", `{"messages":[`+messages+`],"max_tokens":64,"ignore_eos":true}`)
			require.Equal(t, 200, code, answer)
			return decode(t, answer)
		}
		first := `{"role":"user","content":"` + strings.Repeat(" the", 300) + `"}`
		one := say(first)
		require.Zero(t, one.Usage.Details.Cached)
		two := say(first + `,{"role":"assistant","content":"` + one.Choices[0].Message.Content + `"},{"role":"user","content":" and"}`)
		require.Greater(t, two.Usage.Details.Cached, 300+40, "the question and most of the answer")
		path, method := "/reset_prefix_cache", http.MethodPost
		if engine == "sglang" {
			path = "/flush_cache"
		}
		code, _ := do(t, method, url+path, "")
		require.Equal(t, 200, code)
		require.Zero(t, say(first).Usage.Details.Cached)
	}
}

func TestWrongRequestsAreRefused(t *testing.T) {
	url := start(t, "vllm", "--max-model-len 100")
	for body, want := range map[string]string{
		`{"messages":`:                                         "no request",
		`{"prompt":["a","b"]}`:                                 "one prompt",
		`{"prompt":""}`:                                        "empty",
		`{"prompt":"a","n":2}`:                                 "one choice",
		`{"prompt":{}}`:                                        "one prompt",
		`{"prompt":"a","model":"other"}`:                       "does not exist",
		`{"prompt":"` + strings.Repeat("a", 500) + `"}`:        "maximum context length is 100 tokens",
		`{"prompt":"a","max_tokens":100}`:                      "maximum context length",
		`{"prompt":"a","messages":[{"role":"u","content":3}]}`: "",
	} {
		code, answer := do(t, http.MethodPost, url+"/v1/completions", body)
		require.GreaterOrEqual(t, code, 400, body)
		require.Contains(t, answer, want)
	}
	code, answer := do(t, http.MethodPost, url+"/v1/chat/completions", `{"messages":[]}`)
	require.Equal(t, 400, code)
	require.Contains(t, answer, "no messages")
}

func TestTheKeyIsAskedFor(t *testing.T) {
	url := start(t, "vllm", "--api-key sesame")
	code, _ := do(t, http.MethodGet, url+"/v1/models", "")
	require.Equal(t, 401, code)
	code, _ = do(t, http.MethodGet, url+"/health", "")
	require.Equal(t, 200, code)
}

func TestRepliesEndByThemselvesUnlessTold(t *testing.T) {
	url := start(t, "sglang", "")
	_, answer := do(t, http.MethodPost, url+"/v1/completions", `{"prompt":"a","max_tokens":100000}`)
	r := decode(t, answer)
	require.Equal(t, "stop", r.Choices[0].Finish)
	require.Less(t, r.Usage.Completion, 1000)
	_, answer = do(t, http.MethodPost, url+"/v1/completions", `{"prompt":"a","max_tokens":5}`)
	require.Equal(t, "length", decode(t, answer).Choices[0].Finish)
}

func TestEnginesTellAboutThemselves(t *testing.T) {
	vllm, sglang := start(t, "vllm", "--max-model-len 4096"), start(t, "sglang", "--context-length 4096")
	for path, want := range map[string]string{
		vllm + "/v1/models": `"max_model_len":4096`, vllm + "/version": "simulated", vllm + "/server_info": `"num_gpu_blocks"`,
		sglang + "/get_server_info": `"max_total_num_tokens"`, sglang + "/get_model_info": `"is_generation":true`, sglang + "/health_generate": "",
	} {
		code, answer := do(t, http.MethodGet, path, "")
		require.Equal(t, 200, code, path)
		require.Contains(t, answer, want)
	}
	code, _ := do(t, http.MethodGet, vllm+"/get_server_info", "")
	require.Equal(t, 404, code)
}

// The load generator measures it like any engine, and reads its figures.
func TestTheLoadGeneratorIsServed(t *testing.T) {
	for _, engine := range []string{"vllm", "sglang"} {
		url := start(t, engine, "--served-model-name m")
		figures, err := scrape.Start(t.Context(), url+"/metrics", time.Hour, nil)
		require.NoError(t, err)
		result, err := load.RunCell(t.Context(), load.Cell{Scenario: "D(200,20)", Concurrency: 8}, load.CellOptions{URL: url, Model: "m", Requests: 24})
		require.NoError(t, err)
		require.Equal(t, 24, result.Requests)
		require.Zero(t, result.Errors)
		require.InDelta(t, 20, result.Output.Avg, 0)
		require.InDelta(t, 203, result.Input.Avg, 3)
		found := false
		read, failed := figures.Stop(t.Context())
		require.Zero(t, failed)
		for _, m := range read {
			if m.Tag == "server_generation_tokens" {
				found = true
				require.InDelta(t, 480, m.Stats.Avg, 0)
			}
		}
		require.True(t, found)
	}
}
