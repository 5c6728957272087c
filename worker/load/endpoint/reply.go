package endpoint

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/fleetune/fleetune/worker/load/metrics"
)

// Chunk reads the data of one event of a stream.
func (o Options) Chunk(name string, data []byte) (Delta, error) {
	if string(data) == "[DONE]" {
		return Delta{Done: true}, nil
	}
	if o.Kind == Responses {
		return responsesEvent(data)
	}
	var d Delta
	if scan(data, &d) && name != "error" {
		return d, nil
	}
	var r reply
	if err := json.Unmarshal(data, &r); err != nil {
		return Delta{}, fmt.Errorf("reading a stream event: %w", err)
	}
	d = r.delta()
	if name == "error" && d.Err == nil {
		d.Err = &metrics.Error{Class: metrics.ErrServer, Message: clip(string(data))}
	}
	return d, nil
}

// Reply reads a whole reply.
func (o Options) Reply(body []byte) (Delta, error) {
	var fast Delta
	if (o.Kind == Chat || o.Kind == Completions) && scan(body, &fast) {
		return fast, nil
	}
	var r reply
	if err := json.Unmarshal(body, &r); err != nil {
		return Delta{}, fmt.Errorf("reading a reply: %w", err)
	}
	d := r.delta()
	switch o.Kind {
	case Embeddings:
		d.Items = len(r.Data)
	case Rerank:
		d.Items = len(r.Results) + len(r.Rankings)
	case Responses:
		r.output(&d)
	}
	return d, nil
}

// reply holds the members of all endpoints' replies that are read.
type reply struct {
	Choices  []choice          `json:"choices"`
	Usage    *usage            `json:"usage"`
	Error    json.RawMessage   `json:"error"`
	Data     []json.RawMessage `json:"data"`
	Results  []json.RawMessage `json:"results"`
	Rankings []json.RawMessage `json:"rankings"`
	Output   []outputItem      `json:"output"`
	Status   string            `json:"status"`
}

type choice struct {
	Delta   *content `json:"delta"`
	Message *content `json:"message"`
	Text    string   `json:"text"`
	Finish  string   `json:"finish_reason"`
}

type content struct {
	Content          string          `json:"content"`
	Reasoning        string          `json:"reasoning"`
	ReasoningContent string          `json:"reasoning_content"`
	ToolCalls        json.RawMessage `json:"tool_calls"`
}

type usage struct {
	Prompt            *int              `json:"prompt_tokens"`
	Completion        *int              `json:"completion_tokens"`
	Input             *int              `json:"input_tokens"`
	Output            *int              `json:"output_tokens"`
	Total             *int              `json:"total_tokens"`
	Details           *cachedDetails    `json:"prompt_tokens_details"`
	InputDetails      *cachedDetails    `json:"input_tokens_details"`
	CompletionDetails *reasoningDetails `json:"completion_tokens_details"`
	OutputDetails     *reasoningDetails `json:"output_tokens_details"`
	CacheRead         *int              `json:"cache_read_input_tokens"`
	CacheWrite        *int              `json:"cache_creation_input_tokens"`
	CacheMiss         *int              `json:"prompt_cache_miss_tokens"`
}

type cachedDetails struct {
	Cached *int `json:"cached_tokens"`
}

type reasoningDetails struct {
	Reasoning *int `json:"reasoning_tokens"`
}

type outputItem struct {
	Type      string `json:"type"`
	Arguments string `json:"arguments"`
	Content   []struct {
		Text string `json:"text"`
	} `json:"content"`
	Summary []struct {
		Text string `json:"text"`
	} `json:"summary"`
}

func (r *reply) delta() Delta {
	var d Delta
	for i := range r.Choices {
		c := &r.Choices[i]
		d.Text += c.Text
		if c.Finish != "" {
			d.Finish = c.Finish
		}
		for _, m := range []*content{c.Delta, c.Message} {
			if m == nil {
				continue
			}
			d.Text += m.Content
			d.Reasoning += m.ReasoningContent
			if m.ReasoningContent == "" {
				d.Reasoning += m.Reasoning
			}
			if s := string(m.ToolCalls); s != "" && s != "null" && s != "[]" {
				d.Tool += s
			}
		}
	}
	if r.Usage != nil {
		u := r.Usage.counts()
		d.Usage = &u
	}
	d.Err = failure(r.Error)
	return d
}

// output reads a reply of the responses endpoint into d.
func (r *reply) output(d *Delta) {
	for _, item := range r.Output {
		for _, c := range item.Content {
			if item.Type == "reasoning" {
				d.Reasoning += c.Text
			} else {
				d.Text += c.Text
			}
		}
		for _, c := range item.Summary {
			d.Reasoning += c.Text
		}
		d.Tool += item.Arguments
	}
	d.Finish = r.Status
}

func (u *usage) counts() metrics.Usage {
	out := metrics.NoUsage()
	pick := func(to *int, from ...*int) {
		for _, p := range from {
			if p != nil {
				*to = *p
				return
			}
		}
	}
	pick(&out.Prompt, u.Prompt, u.Input)
	pick(&out.Completion, u.Completion, u.Output)
	pick(&out.Total, u.Total)
	pick(&out.CacheWrite, u.CacheWrite)
	pick(&out.CacheMiss, u.CacheMiss)
	pick(&out.CacheRead, u.CacheRead)
	if u.Details != nil {
		pick(&out.CacheRead, u.Details.Cached)
	}
	if u.InputDetails != nil {
		pick(&out.CacheRead, u.InputDetails.Cached)
	}
	if u.CompletionDetails != nil {
		pick(&out.Reasoning, u.CompletionDetails.Reasoning)
	}
	if u.OutputDetails != nil {
		pick(&out.Reasoning, u.OutputDetails.Reasoning)
	}
	return out
}

// failure reads an error member: an object with a message, or plain text.
func failure(raw json.RawMessage) *metrics.Error {
	if s := string(raw); s == "" || s == "null" {
		return nil
	}
	var o struct {
		Message string `json:"message"`
	}
	text := ""
	if json.Unmarshal(raw, &o) == nil && o.Message != "" {
		text = o.Message
	} else if json.Unmarshal(raw, &text) != nil {
		text = string(raw)
	}
	class := metrics.ErrServer
	if Overflows(text) {
		class = metrics.ErrOverflow
	}
	return &metrics.Error{Class: class, Message: clip(text)}
}

// responsesEvent reads one event of the responses endpoint.
func responsesEvent(data []byte) (Delta, error) {
	var e struct {
		Type     string          `json:"type"`
		Delta    string          `json:"delta"`
		Message  string          `json:"message"`
		Error    json.RawMessage `json:"error"`
		Response *reply          `json:"response"`
	}
	if err := json.Unmarshal(data, &e); err != nil {
		return Delta{}, fmt.Errorf("reading a stream event: %w", err)
	}
	var d Delta
	switch e.Type {
	case "response.output_text.delta", "response.refusal.delta":
		d.Text = e.Delta
	case "response.reasoning_text.delta", "response.reasoning_summary_text.delta":
		d.Reasoning = e.Delta
	case "response.function_call_arguments.delta":
		d.Tool = e.Delta
	case "error", "response.failed":
		d.Err = failure(e.Error)
		if d.Err == nil && e.Response != nil {
			d.Err = failure(e.Response.Error)
		}
		if d.Err == nil {
			d.Err = &metrics.Error{Class: metrics.ErrServer, Message: clip(e.Message)}
		}
	case "response.completed", "response.incomplete":
		d.Done = true
	}
	if e.Response != nil {
		if e.Response.Usage != nil {
			u := e.Response.Usage.counts()
			d.Usage = &u
		}
		if d.Done {
			d.Finish = e.Response.Status
		}
	}
	return d, nil
}

// Failure classifies a reply whose status is not 2xx.
func Failure(status int, body []byte) *metrics.Error {
	e := &metrics.Error{Class: metrics.ErrClient, Code: status, Message: clip(string(body))}
	var r struct {
		Error   json.RawMessage `json:"error"`
		Message string          `json:"message"`
		Detail  json.RawMessage `json:"detail"`
	}
	if json.Unmarshal(body, &r) == nil {
		switch f := failure(r.Error); {
		case f != nil:
			e.Message = f.Message
		case r.Message != "":
			e.Message = clip(r.Message)
		case len(r.Detail) > 0:
			e.Message = clip(string(r.Detail))
		}
	}
	switch {
	case Overflows(string(body)):
		e.Class = metrics.ErrOverflow
	case status == 429:
		e.Class = metrics.ErrRateLimited
	case status >= 500:
		e.Class = metrics.ErrServer
	}
	return e
}

// Overflows reports whether an error's text says that the prompt did not fit
// the model's context.
func Overflows(text string) bool {
	text = strings.ToLower(text)
	for _, sign := range []string{
		"context length", "context_length", "maximum context", "context window", "prompt is too long",
		"input is too long", "exceeds the available context", "longer than the model",
	} {
		if strings.Contains(text, sign) {
			return true
		}
	}
	return false
}

// clip bounds a message from a server.
func clip(s string) string {
	const most = 300
	s = strings.TrimSpace(strings.ToValidUTF8(s, "\uFFFD"))
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
