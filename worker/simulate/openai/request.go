package openai

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"

	"github.com/fleetune/fleetune/worker/simulate/batching"
	"github.com/fleetune/fleetune/worker/simulate/vocabulary"
)

// naturalShortest and naturalSpread bound the replies of a request that lets
// the model stop by itself, in tokens.
const (
	naturalShortest = 16
	naturalSpread   = 496
)

// body is what of a request's members has an effect.
type body struct {
	Model         string          `json:"model"`
	Messages      []message       `json:"messages"`
	Prompt        json.RawMessage `json:"prompt"`
	MaxTokens     int             `json:"max_tokens"`
	MaxCompletion int             `json:"max_completion_tokens"`
	MinTokens     int             `json:"min_tokens"`
	IgnoreEOS     bool            `json:"ignore_eos"`
	Stream        bool            `json:"stream"`
	StreamOptions struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
	N        int   `json:"n"`
	Priority int   `json:"priority"`
	Seed     int64 `json:"seed"`
}

type message struct {
	Role    string  `json:"role"`
	Content content `json:"content"`
}

// content is a text, or a list of parts of which the texts count.
type content string

func (c *content) UnmarshalJSON(data []byte) error {
	var text *string
	if json.Unmarshal(data, &text) == nil {
		if text != nil {
			*c = content(*text)
		}
		return nil
	}
	var parts []struct {
		Text string `json:"text"`
	}
	if err := json.Unmarshal(data, &parts); err != nil {
		return errors.New("content is neither a text nor a list of parts")
	}
	for _, p := range parts {
		*c += content(p.Text)
	}
	return nil
}

// A refusal is what a client did wrong.
type refusal struct {
	status  int
	message string
}

// read decodes a request and checks it.
func (s *server) read(r *http.Request, chat bool) (body, batching.Request, string, *refusal) {
	var b body
	if err := json.NewDecoder(r.Body).Decode(&b); err != nil {
		return b, batching.Request{}, "", &refusal{http.StatusBadRequest, "the body is no request: " + err.Error()}
	}
	if b.Model != "" && b.Model != s.Settings.Served {
		return b, batching.Request{}, "", &refusal{http.StatusNotFound, fmt.Sprintf("the model %q does not exist", b.Model)}
	}
	if b.N > 1 {
		return b, batching.Request{}, "", &refusal{http.StatusBadRequest, "the simulated engine gives one choice a request"}
	}
	prompt, err := b.prompt(chat)
	if err != nil {
		return b, batching.Request{}, "", &refusal{http.StatusBadRequest, err.Error()}
	}
	q := batching.Request{Prompt: prompt, Priority: b.Priority, Seed: hash(prompt, b.Seed)}
	limit, refused := s.limit(&b, len(prompt), chat)
	if refused != nil {
		return b, q, "", refused
	}
	finish := "length"
	q.Output = limit
	if natural := max(naturalShortest+int(q.Seed%naturalSpread), b.MinTokens); !b.IgnoreEOS && natural <= limit {
		q.Output, finish = natural, "stop"
	}
	return b, q, finish, nil
}

// limit is the longest reply, as vLLM decides: what was asked for, or what the
// context leaves.
func (s *server) limit(b *body, prompt int, chat bool) (int, *refusal) {
	room := s.Settings.MaxLength - prompt
	limit := b.MaxCompletion
	if limit <= 0 {
		limit = b.MaxTokens
	}
	if limit <= 0 && !chat {
		limit = 16
	}
	if room <= 0 || limit > room {
		return 0, &refusal{http.StatusBadRequest, fmt.Sprintf("This model's maximum context length is %d tokens. However, you requested %d tokens (%d in the messages, %d in the completion). Please reduce the length of the messages or completion.",
			s.Settings.MaxLength, prompt+limit, prompt, limit)}
	}
	if limit <= 0 {
		limit = room
	}
	return limit, nil
}

// prompt in tokens.
func (b *body) prompt(chat bool) ([]uint32, error) {
	var tokens []uint32
	if chat {
		if len(b.Messages) == 0 {
			return nil, errors.New("there are no messages")
		}
		for _, m := range b.Messages {
			tokens = vocabulary.Append(append(tokens, header(m.Role)), string(m.Content))
		}
		return append(tokens, header("assistant")), nil
	}
	var text string
	var texts []string
	var numbers []uint32
	switch {
	case json.Unmarshal(b.Prompt, &text) == nil:
		tokens = vocabulary.Append(nil, text)
	case json.Unmarshal(b.Prompt, &numbers) == nil:
		tokens = numbers
	case json.Unmarshal(b.Prompt, &texts) == nil && len(texts) == 1:
		tokens = vocabulary.Append(nil, texts[0])
	default:
		return nil, errors.New("the simulated engine takes one prompt a request: a text or a list of tokens")
	}
	if len(tokens) == 0 {
		return nil, errors.New("the prompt is empty")
	}
	return tokens, nil
}

// header is the token before a message.
func header(role string) uint32 {
	return vocabulary.Append(nil, (role + "    ")[:4])[0]
}

// hash makes the seed of a reply: the same question gets the same answer.
func hash(prompt []uint32, seed int64) uint64 {
	h := fnv.New64a()
	var b [8]byte
	for i := range b {
		b[i] = byte(seed >> (8 * i))
	}
	_, _ = h.Write(b[:]) // a hash takes everything
	for _, t := range prompt {
		_, _ = h.Write([]byte{byte(t), byte(t >> 8), byte(t >> 16), byte(t >> 24)})
	}
	return h.Sum64()
}
