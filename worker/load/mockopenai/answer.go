package mockopenai

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
)

// answer is one reply on its way.
type answer struct {
	server *Server
	w      http.ResponseWriter
	ctx    context.Context
	rec    *Recording
	do     Behaviour
	buf    []byte
}

func (a *answer) run() {
	switch a.do.Fault {
	case ResetAtOnce:
		a.hangUp(true)
		return
	case NotHTTP:
		a.rawReply("no HTTP here\r\n\r\n")
		return
	case SlowHeaders:
		<-a.ctx.Done()
		return
	case TooMany:
		a.w.Header().Set("Retry-After", "1")
		a.status(http.StatusTooManyRequests, "too many requests")
		return
	case ServerError:
		a.status(http.StatusInternalServerError, "it broke")
		return
	}
	if a.do.Overflow > 0 && a.rec.PromptTokens() > a.do.Overflow {
		a.status(http.StatusBadRequest, fmt.Sprintf("This model's maximum context length is %d tokens", a.do.Overflow))
		return
	}
	if a.rec.Streams() {
		a.stream()
		return
	}
	a.whole()
}

func (a *answer) status(code int, message string) {
	a.w.Header().Set("Content-Type", "application/json")
	a.w.WriteHeader(code)
	_ = json.NewEncoder(a.w).Encode(map[string]any{"error": map[string]any{"message": message, "code": code}})
}

func (a *answer) tokens() int {
	switch {
	case a.do.Tokens > 0:
		return a.do.Tokens
	case a.rec.Limit() > 0:
		return a.rec.Limit()
	}
	return 16
}

// stream sends the reply token by token, each at its instant.
func (a *answer) stream() {
	a.w.Header().Set("Content-Type", "text/event-stream")
	a.w.WriteHeader(http.StatusOK)
	if a.do.Fault == NoContent {
		a.event(`{"choices":[{"delta":{"role":"assistant"}}]}`)
		a.close()
		return
	}
	per := max(1, a.do.PerChunk)
	total := a.tokens()
	sent := 0
	for chunk := 0; sent < total; chunk++ {
		at := a.rec.Arrived + int64(a.do.TTFT) + int64(chunk)*int64(a.do.ITL)*int64(per)
		if !a.server.wait(a.ctx, at) {
			return
		}
		if a.do.Fault != None && chunk == a.do.After && a.faults() {
			return
		}
		n := min(per, total-sent)
		if !a.content(sent, n) {
			return
		}
		sent += n
	}
	a.close()
}

// faults does what was asked after some chunks; it reports whether the reply
// is over.
func (a *answer) faults() bool {
	switch a.do.Fault {
	case ResetLater:
		a.hangUp(true)
	case CutStream:
		a.hangUp(false)
	case HalfStream:
	case Hang:
		<-a.ctx.Done()
	case MalformedJSON:
		a.event(`{"choices":[{"delta":`)
		return false
	case MalformedSSE:
		a.write([]byte("\x00\x01 this is no event\n\n"))
		return false
	case ErrorEvent:
		a.event(`{"error":{"message":"out of memory","code":500}}`)
	default:
		return false
	}
	return true
}

// content sends n tokens as one chunk.
func (a *answer) content(sent, n int) bool {
	text := strings.Repeat("tok ", n)
	b := a.buf[:0]
	b = append(b, "data: "...)
	switch {
	case strings.HasSuffix(a.rec.Path, "/responses"):
		kind := "output_text"
		if sent < a.do.Reasoning {
			kind = "reasoning_text"
		}
		b = fmt.Appendf(b, `{"type":"response.%s.delta","delta":%q}`, kind, text)
	case strings.HasSuffix(a.rec.Path, "/chat/completions"):
		member := "content"
		if sent < a.do.Reasoning {
			member = "reasoning_content"
		}
		b = append(b, `{"id":"mock","object":"chat.completion.chunk","created":1,"model":"mock","choices":[{"index":0,"delta":{"`...)
		b = append(b, member...)
		b = append(b, `":"`...)
		b = append(b, text...)
		b = append(b, `"},"finish_reason":null}]}`...)
	default:
		b = append(b, `{"id":"mock","object":"text_completion","choices":[{"index":0,"text":"`...)
		b = append(b, text...)
		b = append(b, `","finish_reason":null}]}`...)
	}
	b = append(b, "\n\n"...)
	a.buf = b
	if !a.write(a.buf) {
		return false
	}
	a.server.wrote(a.rec)
	return true
}

// close sends the end of a stream: finish reason, usage, end mark.
func (a *answer) close() {
	if strings.HasSuffix(a.rec.Path, "/responses") {
		a.event(`{"type":"response.completed","response":{"status":"completed"` + a.usage(true) + `}}`)
		return
	}
	a.event(`{"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}`)
	if u := a.usage(false); u != "" {
		a.event(`{"choices":[]` + u + `}`)
	}
	if a.do.Fault != NoDone {
		a.write([]byte("data: [DONE]\n\n"))
	}
}

// usage writes the usage member with a comma before it.
func (a *answer) usage(responses bool) string {
	if a.do.NoUsage {
		return ""
	}
	in, out := a.rec.PromptTokens(), a.tokens()
	if a.do.Fault == NoContent {
		out = 0
	}
	if strings.HasSuffix(a.rec.Path, "/embeddings") || strings.HasSuffix(a.rec.Path, "/rerank") {
		return fmt.Sprintf(`,"usage":{"prompt_tokens":%d,"total_tokens":%d,"prompt_tokens_details":{"cached_tokens":%d}}`, in, in, a.do.Cached)
	}
	names := [4]string{"prompt_tokens", "completion_tokens", "prompt_tokens_details", "completion_tokens_details"}
	if responses {
		names = [4]string{"input_tokens", "output_tokens", "input_tokens_details", "output_tokens_details"}
	}
	return fmt.Sprintf(`,"usage":{%q:%d,%q:%d,"total_tokens":%d,%q:{"cached_tokens":%d},%q:{"reasoning_tokens":%d}}`,
		names[0], in, names[1], out, in+out, names[2], a.do.Cached, names[3], a.do.Reasoning)
}

// whole sends the reply in one piece, when its last token would be there.
func (a *answer) whole() {
	n := a.tokens()
	if !a.server.wait(a.ctx, a.rec.Arrived+int64(a.do.TTFT)+int64(n-1)*int64(a.do.ITL)) {
		return
	}
	a.w.Header().Set("Content-Type", "application/json")
	text := strings.Repeat("tok ", n)
	var body string
	switch {
	case strings.HasSuffix(a.rec.Path, "/embeddings"):
		body = `{"object":"list","data":[{"index":0,"embedding":[0.5,0.25]}]` + a.usage(false) + `}`
	case strings.HasSuffix(a.rec.Path, "/rerank"):
		body = `{"results":[{"index":0,"relevance_score":0.5}]` + a.usage(false) + `}`
	case strings.HasSuffix(a.rec.Path, "/responses"):
		body = `{"status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":` + strconv.Quote(text) + `}]}]` + a.usage(true) + `}`
	case strings.HasSuffix(a.rec.Path, "/chat/completions"):
		body = `{"id":"mock","object":"chat.completion","created":1,"model":"mock","choices":[{"index":0,"message":{"role":"assistant","content":` + strconv.Quote(text) + `},"finish_reason":"length"}]` + a.usage(false) + `}`
	default:
		body = `{"id":"mock","object":"text_completion","created":1,"model":"mock","choices":[{"index":0,"text":` + strconv.Quote(text) + `,"finish_reason":"length"}]` + a.usage(false) + `}`
	}
	if a.do.Fault == MalformedJSON || a.do.Fault == MalformedSSE {
		body = body[:len(body)/2]
	}
	if a.write([]byte(body)) {
		a.server.wrote(a.rec)
	}
}

func (a *answer) event(data string) { a.write([]byte("data: " + data + "\n\n")) }

func (a *answer) write(b []byte) bool {
	if _, err := a.w.Write(b); err != nil {
		return false
	}
	return http.NewResponseController(a.w).Flush() == nil
}

// hangUp closes the connection, with a reset or without.
func (a *answer) hangUp(reset bool) {
	conn, _, err := http.NewResponseController(a.w).Hijack()
	if err != nil {
		return // the client was faster
	}
	if tcp, ok := conn.(*net.TCPConn); ok && reset {
		_ = tcp.SetLinger(0) // makes the close a reset
	}
	_ = conn.Close()
}

func (a *answer) rawReply(text string) {
	conn, rw, err := http.NewResponseController(a.w).Hijack()
	if err != nil {
		return // the client was faster
	}
	_, _ = rw.WriteString(text)
	_ = rw.Flush()
	_ = conn.Close()
}

func certificate(s *httptest.Server) []byte {
	if s.Certificate() == nil {
		return nil
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}
