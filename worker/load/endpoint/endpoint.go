// Package endpoint writes requests for OpenAI-compatible endpoints and reads
// their replies: chat completions, completions, embeddings, rerank and
// responses. It knows bytes only; sending them is the transport's part.
package endpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/fleetune/fleetune/worker/load/metrics"
)

// Kind names an endpoint.
type Kind string

// The endpoints.
const (
	Chat        Kind = "chat"
	Completions Kind = "completions"
	Embeddings  Kind = "embeddings"
	Rerank      Kind = "rerank"
	Responses   Kind = "responses"
)

// ErrKind is returned for an endpoint that is not known.
var ErrKind = errors.New("unknown endpoint: use chat, completions, embeddings, rerank or responses")

// ParseKind reads an endpoint's name.
func ParseKind(s string) (Kind, error) {
	switch k := Kind(s); k {
	case Chat, Completions, Embeddings, Rerank, Responses:
		return k, nil
	case "rankings":
		return Rerank, nil
	}
	return "", fmt.Errorf("%q: %w", s, ErrKind)
}

// Path is the endpoint's place under the server's URL.
func (k Kind) Path() string {
	switch k {
	case Chat:
		return "/v1/chat/completions"
	case Completions:
		return "/v1/completions"
	case Embeddings:
		return "/v1/embeddings"
	case Rerank:
		return "/v1/rerank"
	default:
		return "/v1/responses"
	}
}

// Streams reports whether the endpoint can stream its reply.
func (k Kind) Streams() bool { return k == Chat || k == Completions || k == Responses }

// A Message is one entry of a conversation. Content is JSON: a string or a
// list of parts.
type Message struct {
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
	// Rest holds other members, such as tool_calls, as they came.
	Rest map[string]json.RawMessage `json:"-"`
}

// Text returns a message whose content is plain text.
func Text(role, text string) Message {
	raw, _ := json.Marshal(text) // a string always encodes
	return Message{Role: role, Content: raw}
}

// Plain returns the text of a message, its parts joined.
func (m Message) Plain() string {
	var s string
	if json.Unmarshal(m.Content, &s) == nil {
		return s
	}
	var parts []struct {
		Text string `json:"text"`
	}
	if json.Unmarshal(m.Content, &parts) != nil {
		return ""
	}
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(p.Text)
	}
	return b.String()
}

// MarshalJSON writes the message with its other members.
func (m Message) MarshalJSON() ([]byte, error) { return m.append(nil) }

// append writes the message. Content is taken as it is: it was checked when it
// was read, and prompts are too long to check them at every turn.
func (m Message) append(b []byte) ([]byte, error) {
	role, err := json.Marshal(m.Role)
	if err != nil {
		return nil, fmt.Errorf("encoding a message's role: %w", err)
	}
	b = append(append(b, `{"role":`...), role...)
	b = append(b, `,"content":`...)
	if m.Content == nil {
		b = append(b, "null"...)
	} else {
		b = append(b, m.Content...)
	}
	if len(m.Rest) > 0 {
		var rest object
		rest.merge(m.Rest)
		more, err := rest.bytes()
		if err != nil {
			return nil, err
		}
		b = append(append(b, ','), more[1:len(more)-1]...)
	}
	return append(b, '}'), nil
}

// UnmarshalJSON keeps members that are not known in Rest.
func (m *Message) UnmarshalJSON(b []byte) error {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	*m = Message{}
	if err := json.Unmarshal(all["role"], &m.Role); err != nil {
		return fmt.Errorf("message without a role: %w", err)
	}
	m.Content = all["content"]
	delete(all, "role")
	delete(all, "content")
	if len(all) > 0 {
		m.Rest = all
	}
	return nil
}

// A Prompt is one request before it is written for an endpoint.
type Prompt struct {
	Model    string
	Messages []Message
	// Documents to rank by the last message; rerank only.
	Documents []string
	MaxTokens int // 0 leaves the limit to the server
	Tools     json.RawMessage
	// Extra members of the body, which win over all others.
	Extra map[string]json.RawMessage
	// Raw is a whole body; when set, only Model, Stream and Extra touch it.
	Raw json.RawMessage
}

// Options say how prompts are written.
type Options struct {
	Kind   Kind
	Stream bool
	// IgnoreEOS asks the server to reach MaxTokens, where a prompt has one.
	IgnoreEOS bool
	// LegacyMaxTokens writes max_tokens where chat has max_completion_tokens.
	LegacyMaxTokens bool
	Extra           map[string]json.RawMessage
}

// Body writes a prompt as the body of a request.
func (o Options) Body(p *Prompt) ([]byte, error) {
	b := object{}
	if p.Raw != nil {
		if err := b.load(p.Raw); err != nil {
			return nil, fmt.Errorf("reading a raw request body: %w", err)
		}
	}
	if p.Model != "" {
		b.set("model", p.Model)
	}
	if p.Raw == nil {
		o.fill(&b, p)
	}
	if o.Kind.Streams() {
		b.set("stream", o.Stream)
		if o.Stream && o.Kind != Responses {
			b.raw("stream_options", json.RawMessage(`{"include_usage":true}`))
		}
	}
	b.merge(o.Extra)
	b.merge(p.Extra)
	return b.bytes()
}

func (o Options) fill(b *object, p *Prompt) {
	limit := "max_tokens"
	switch o.Kind {
	case Chat:
		b.messages("messages", p.Messages)
		if !o.LegacyMaxTokens {
			limit = "max_completion_tokens"
		}
		if p.Tools != nil {
			b.raw("tools", p.Tools)
		}
	case Completions:
		b.set("prompt", joined(p.Messages))
	case Embeddings:
		b.set("input", joined(p.Messages))
		return
	case Rerank:
		b.set("query", joined(p.Messages))
		b.set("documents", p.Documents)
		return
	case Responses:
		b.messages("input", p.Messages)
		limit = "max_output_tokens"
		if p.Tools != nil {
			b.raw("tools", p.Tools)
		}
	}
	if p.MaxTokens > 0 {
		b.set(limit, p.MaxTokens)
	}
	if o.IgnoreEOS && p.MaxTokens > 0 {
		b.set("ignore_eos", true)
	}
}

func joined(messages []Message) string {
	if len(messages) == 1 {
		return messages[0].Plain()
	}
	texts := make([]string, len(messages))
	for i, m := range messages {
		texts[i] = m.Plain()
	}
	return strings.Join(texts, "\n")
}

// A Delta is what one event of a stream, or a whole reply, carries.
type Delta struct {
	Text      string
	Reasoning string
	Tool      string // names and arguments of tool calls
	Usage     *metrics.Usage
	Finish    string
	// Done is set by the event that ends a stream.
	Done bool
	// Items counts embeddings or ranked documents.
	Items int
	Err   *metrics.Error
}

// Kind says what the delta carries; has is false when it has no content.
func (d *Delta) Kind() (kind metrics.ChunkKind, has bool) {
	switch {
	case d.Text != "" || d.Items > 0:
		return metrics.Content, true
	case d.Tool != "":
		return metrics.Tool, true
	case d.Reasoning != "":
		return metrics.Reasoning, true
	}
	return 0, false
}
