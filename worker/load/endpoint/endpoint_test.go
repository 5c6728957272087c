package endpoint

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetune/fleetune/worker/load/metrics"
)

func TestBodies(t *testing.T) {
	p := &Prompt{Model: "m", Messages: []Message{Text("system", "s"), Text("user", "u")}, MaxTokens: 3,
		Documents: []string{"d"}, Extra: map[string]json.RawMessage{"temperature": json.RawMessage("0"), "model": json.RawMessage(`"other"`)}}
	for name, c := range map[string]struct {
		opt  Options
		want string
	}{
		"chat":     {Options{Kind: Chat, Stream: true}, `{"model":"other","messages":[{"role":"system","content":"s"},{"role":"user","content":"u"}],"max_completion_tokens":3,"stream":true,"stream_options":{"include_usage":true},"temperature":0}`},
		"legacy":   {Options{Kind: Chat, LegacyMaxTokens: true, IgnoreEOS: true}, `{"model":"other","messages":[{"role":"system","content":"s"},{"role":"user","content":"u"}],"max_tokens":3,"ignore_eos":true,"stream":false,"temperature":0}`},
		"complete": {Options{Kind: Completions}, `{"model":"other","prompt":"s\nu","max_tokens":3,"stream":false,"temperature":0}`},
		"embed":    {Options{Kind: Embeddings, Stream: true}, `{"model":"other","input":"s\nu","temperature":0}`},
		"rerank":   {Options{Kind: Rerank}, `{"model":"other","query":"s\nu","documents":["d"],"temperature":0}`},
		"response": {Options{Kind: Responses, Stream: true}, `{"model":"other","input":[{"role":"system","content":"s"},{"role":"user","content":"u"}],"max_output_tokens":3,"stream":true,"temperature":0}`},
	} {
		got, err := c.opt.Body(p)
		require.NoError(t, err, name)
		require.Equal(t, c.want, string(got), name)
	}
	got, err := Options{Kind: Chat, Stream: true}.Body(&Prompt{Model: "m", Raw: json.RawMessage(`{"messages":[],"model":"x","stream":false}`)})
	require.NoError(t, err)
	require.JSONEq(t, `{"messages":[],"model":"m","stream":true,"stream_options":{"include_usage":true}}`, string(got))
	_, err = Options{Kind: Chat}.Body(&Prompt{Raw: json.RawMessage(`[]`)})
	require.ErrorContains(t, err, "raw request body")
}

func TestMessagesKeepWhatTheyDoNotKnow(t *testing.T) {
	in := `{"role":"tool","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}],"tool_call_id":"7"}`
	var m Message
	require.NoError(t, json.Unmarshal([]byte(in), &m))
	require.Equal(t, "ab", m.Plain())
	out, err := json.Marshal(m)
	require.NoError(t, err)
	require.JSONEq(t, in, string(out))
	require.Error(t, json.Unmarshal([]byte(`{"content":"x"}`), &m))
}

func TestUsageSpellings(t *testing.T) {
	for body, want := range map[string]metrics.Usage{
		`{"prompt_tokens":3,"completion_tokens":0,"total_tokens":3}`:                     {Prompt: 3, Completion: 0, Total: 3, Reasoning: -1, CacheRead: -1, CacheWrite: -1, CacheMiss: -1},
		`{"prompt_tokens":3,"prompt_tokens_details":{"cached_tokens":2}}`:                {Prompt: 3, Completion: -1, Total: -1, Reasoning: -1, CacheRead: 2, CacheWrite: -1, CacheMiss: -1},
		`{"input_tokens":3,"cache_read_input_tokens":1,"cache_creation_input_tokens":2}`: {Prompt: 3, Completion: -1, Total: -1, Reasoning: -1, CacheRead: 1, CacheWrite: 2, CacheMiss: -1},
		`{"prompt_cache_miss_tokens":5,"output_tokens_details":{"reasoning_tokens":4}}`:  {Prompt: -1, Completion: -1, Total: -1, Reasoning: 4, CacheRead: -1, CacheWrite: -1, CacheMiss: 5},
	} {
		d, err := Options{Kind: Chat}.Reply([]byte(`{"usage":` + body + `}`))
		require.NoError(t, err)
		require.Equal(t, want, *d.Usage, body)
	}
}

func TestFailureClasses(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		class  metrics.Class
		says   string
	}{
		{429, `{"error":{"message":"slow down"}}`, metrics.ErrRateLimited, "slow down"},
		{503, `upstream`, metrics.ErrServer, "upstream"},
		{404, `{"detail":"no such model"}`, metrics.ErrClient, `"no such model"`},
		{400, `{"message":"This model's maximum context length is 8 tokens"}`, metrics.ErrOverflow, "This model's maximum context length is 8 tokens"},
		{500, `{"error":"plain"}`, metrics.ErrServer, "plain"},
	} {
		e := Failure(c.status, []byte(c.body))
		require.Equal(t, c.class, e.Class)
		require.Equal(t, c.says, e.Message)
		require.Equal(t, c.status, e.Code)
	}
	require.LessOrEqual(t, len(Failure(500, []byte(strings.Repeat("é", 1000))).Message), 310)
}

func FuzzChunk(f *testing.F) {
	f.Add("", []byte(`{"choices":[{"delta":{"content":"a","reasoning_content":"b","tool_calls":[]}}],"usage":{"prompt_tokens":1}}`), true)
	f.Add("error", []byte(`{"error":"x"}`), false)
	f.Add("", []byte(`{"type":"response.completed","response":{"usage":{"input_tokens":1}}}`), true)
	f.Add("", []byte(`[DONE]`), false)
	f.Fuzz(func(t *testing.T, name string, data []byte, responses bool) {
		opt := Options{Kind: Chat}
		if responses {
			opt.Kind = Responses
		}
		d, err := opt.Chunk(name, data)
		if err == nil && d.Err != nil && len(d.Err.Message) > 310 {
			t.Fatal("a message is not clipped")
		}
		_, _ = opt.Reply(data)
		_ = Failure(500, data)
	})
}

// decode is what the standard library makes of an event.
func decode(data []byte) (Delta, error) {
	var r reply
	if err := json.Unmarshal(data, &r); err != nil {
		return Delta{}, err
	}
	return r.delta(), nil
}

var events = []string{
	`{"id":"x","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"tok "},"finish_reason":null}]}`,
	`{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":"stop"}],"usage":null}`,
	`{"choices":[{"delta":{"content":"a\n\u00e9","reasoning_content":"because"}}]}`,
	`{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":2}}}`,
	`{"choices":[{"index":0,"text":"héllo","finish_reason":null}]}`,
	`{"choices":[{"delta":{"tool_calls":[{"function":{"name":"f"}}]}}]}`,
	`{"choices":[{"delta":{"content":"a","content":"b"}}]}`,
	`{"choices":[{"delta":{"content":"a","Content":"b"}}]}`,
	`{"error":{"message":"no"}}`,
	` { "choices" : [ { "delta" : { "content" : "x" } } ] } `,
	`{"choices":[{"delta":{"content":3}}]}`,
	`{"choices":[{"delta":null,"message":{"content":"m"}}]}`,
	`{"created":01,"choices":[]}`, `{"id":"\x","choices":[]}`, `{"model":1e,"choices":[]}`, `null`, `{}`, `{} x`, `[`,
}

// The fast reader says what the standard library says, or nothing.
func sameAsTheDecoder(t *testing.T, data []byte) (fast bool) {
	var got Delta
	if !scan(data, &got) {
		return false
	}
	want, err := decode(data)
	require.NoError(t, err, "%q", data)
	require.Equal(t, want, got, "%q", data)
	return true
}

func TestScanAgreesWithTheDecoder(t *testing.T) {
	for i, e := range events {
		fast := sameAsTheDecoder(t, []byte(e))
		if i < 5 {
			require.True(t, fast, "the usual events are read fast: %s", e)
		}
	}
}

func FuzzScan(f *testing.F) {
	for _, e := range events {
		f.Add([]byte(e))
	}
	f.Fuzz(func(t *testing.T, data []byte) { sameAsTheDecoder(t, data) })
}

func BenchmarkChunk(b *testing.B) {
	data := []byte(events[0])
	b.ReportAllocs()
	for b.Loop() {
		if _, err := (Options{Kind: Chat}).Chunk("", data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBody(b *testing.B) {
	p := &Prompt{Model: "m", Messages: []Message{Text("user", strings.Repeat(" tok", 12000))}, MaxTokens: 10}
	b.SetBytes(48000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := (Options{Kind: Chat, Stream: true}).Body(p); err != nil {
			b.Fatal(err)
		}
	}
}
