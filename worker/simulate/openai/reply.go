package openai

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/fleetune/fleetune/worker/simulate/batching"
	"github.com/fleetune/fleetune/worker/simulate/clock"
	"github.com/fleetune/fleetune/worker/simulate/vocabulary"
)

func (s *server) completions(w http.ResponseWriter, r *http.Request) { s.serve(w, r, false) }

func (s *server) chat(w http.ResponseWriter, r *http.Request) { s.serve(w, r, true) }

// exchange is one request with its reply on the way.
type exchange struct {
	*server
	w      http.ResponseWriter
	r      *http.Request
	chat   bool
	usage  bool
	prompt int
	finish string
	reply  *clock.Reply
	buffer []byte
}

func (s *server) serve(w http.ResponseWriter, r *http.Request, chat bool) {
	b, q, finish, refused := s.read(r, chat)
	if refused != nil {
		refuse(w, refused.status, refused.message)
		return
	}
	reply, drop, err := s.Loop.Ask(q)
	switch {
	case errors.Is(err, batching.ErrTooLong):
		refuse(w, http.StatusBadRequest, err.Error())
		return
	case errors.Is(err, clock.ErrStopped):
		hangUp() // it died of this request, say, before it could answer
	case err != nil:
		refuse(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	defer drop()
	x := &exchange{server: s, w: w, r: r, chat: chat, usage: b.StreamOptions.IncludeUsage, prompt: len(q.Prompt), finish: finish, reply: reply}
	if b.Stream {
		x.stream()
	} else {
		x.whole()
	}
}

// hangUp ends a reply that cannot be finished: an engine that died closes its
// connections.
func hangUp() { panic(http.ErrAbortHandler) }

// whole sends the reply in one piece.
func (x *exchange) whole() {
	for {
		if x.await(x.r.Context(), x.reply) != nil {
			hangUp()
		}
		tokens, cached, over := x.reply.Read(0)
		if !over {
			continue
		}
		var text strings.Builder
		for _, t := range tokens {
			text.WriteString(vocabulary.Text(t))
		}
		choice := map[string]any{"index": 0, "finish_reason": x.finish, "text": text.String()}
		object := "text_completion"
		if x.chat {
			delete(choice, "text")
			choice["message"] = map[string]any{"role": "assistant", "content": text.String()}
			object = "chat.completion"
		}
		answer(x.w, http.StatusOK, map[string]any{"id": "simulated", "object": object, "created": 0, "model": x.Settings.Served,
			"system_fingerprint": x.fingerprint, "choices": []any{choice}, "usage": x.count(len(tokens), cached)})
		return
	}
}

func (x *exchange) count(tokens, cached int) map[string]any {
	return map[string]any{"prompt_tokens": x.prompt, "completion_tokens": tokens, "total_tokens": x.prompt + tokens,
		"prompt_tokens_details": map[string]any{"cached_tokens": cached}}
}

// stream sends tokens as they come, so many to an event.
func (x *exchange) stream() {
	x.w.Header().Set("Content-Type", "text/event-stream")
	sent := 0
	for {
		if x.await(x.r.Context(), x.reply) != nil {
			hangUp()
		}
		tokens, cached, over := x.reply.Read(sent)
		for len(tokens) > 0 {
			n := min(max(1, x.Settings.StreamInterval), len(tokens))
			if n < x.Settings.StreamInterval && !over && sent > 0 {
				break // the first token is never held back, nor are the last ones
			}
			x.tokens(tokens[:n], sent == 0)
			sent += n
			tokens = tokens[n:]
		}
		if over {
			x.close(sent, cached)
		}
		if !x.flush() || over {
			return
		}
	}
}

// tokens adds an event with some of the reply.
func (x *exchange) tokens(tokens []uint32, first bool) {
	var text strings.Builder
	for _, t := range tokens {
		text.WriteString(vocabulary.Text(t))
	}
	x.buffer = append(x.buffer, "data: "...)
	switch {
	case x.chat && first:
		x.buffer = fmt.Appendf(x.buffer, `{"id":"simulated","object":"chat.completion.chunk","created":0,"model":%q,"system_fingerprint":%q,"choices":[{"index":0,"delta":{"role":"assistant","content":%q},"finish_reason":null}]}`,
			x.Settings.Served, x.fingerprint, text.String())
	case x.chat:
		x.buffer = fmt.Appendf(x.buffer, `{"id":"simulated","object":"chat.completion.chunk","created":0,"model":%q,"choices":[{"index":0,"delta":{"content":%q},"finish_reason":null}]}`,
			x.Settings.Served, text.String())
	default:
		x.buffer = fmt.Appendf(x.buffer, `{"id":"simulated","object":"text_completion","created":0,"model":%q,"system_fingerprint":%q,"choices":[{"index":0,"text":%q,"finish_reason":null}]}`,
			x.Settings.Served, x.fingerprint, text.String())
	}
	x.buffer = append(x.buffer, "\n\n"...)
}

// close adds the end: the reason, the usage where it was asked for, the mark.
func (x *exchange) close(tokens, cached int) {
	object, nothing := "text_completion", `"text":""`
	if x.chat {
		object, nothing = "chat.completion.chunk", `"delta":{}`
	}
	x.buffer = fmt.Appendf(x.buffer, "data: {\"id\":\"simulated\",\"object\":%q,\"created\":0,\"model\":%q,\"choices\":[{\"index\":0,%s,\"finish_reason\":%q}]}\n\n",
		object, x.Settings.Served, nothing, x.finish)
	if x.usage {
		usage, _ := json.Marshal(x.count(tokens, cached)) //nolint:errchkjson // numbers alone
		x.buffer = fmt.Appendf(x.buffer, "data: {\"id\":\"simulated\",\"object\":%q,\"created\":0,\"model\":%q,\"choices\":[],\"usage\":%s}\n\n", object, x.Settings.Served, usage)
	}
	x.buffer = append(x.buffer, "data: [DONE]\n\n"...)
}

// flush sends what was added; false when the client has gone.
func (x *exchange) flush() bool {
	if len(x.buffer) == 0 {
		return true
	}
	_, err := x.w.Write(x.buffer)
	x.buffer = x.buffer[:0]
	return err == nil && http.NewResponseController(x.w).Flush() == nil
}
