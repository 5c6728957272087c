package transport

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"time"

	"github.com/fleetune/fleetune/worker/load/endpoint"
	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/fleetune/fleetune/worker/load/sse"
)

// A Call is one request to send.
type Call struct {
	Body []byte
	// CancelAfter hangs up this long after the body was sent; nil never.
	CancelAfter *time.Duration
	// OnFirst is called once, when the first content has arrived or the
	// request has ended without any.
	OnFirst func()
	Headers http.Header
	// Raw is filled in with all that was sent and received; nil keeps nothing.
	Raw *Raw
}

// Text is what a reply said.
type Text struct {
	Content, Reasoning string
	Items              int
}

const (
	readSize = 4 << 10
	// parseAt bounds the bytes that wait to be parsed, so that a long stream
	// does not stay in memory whole.
	parseAt  = 16 << 10
	maxReply = 64 << 20
)

var buffers = sync.Pool{New: func() any { b := make([]byte, readSize); return &b }}

// Do sends a request, waits for the end of its reply, and fills in the record
// from Start on. What went wrong is in the record.
func (s *Session) Do(ctx context.Context, call Call, rec *metrics.Record) Text {
	ctx, cancel, release := s.limits(ctx)
	defer release()
	x := &exchange{session: s, call: call, rec: rec, cancel: cancel, options: s.client.cfg.Options}
	x.probe.client, x.probe.size = s.client, int64(len(call.Body))
	rec.Usage, rec.HTTP = metrics.NoUsage(), metrics.NoHTTP()
	rec.ContentTokens, rec.ReasoningTokens = -1, -1
	rec.URL = s.target.Host
	x.run(ctx)
	cancel(nil)
	x.stopTimer()
	x.first()
	x.probe.fill(rec)
	return Text{Content: x.text.String(), Reasoning: x.reasoning.String(), Items: x.items}
}

// exchange is one request on its way.
type exchange struct {
	session *Session
	call    Call
	rec     *metrics.Record
	cancel  context.CancelCauseFunc
	options endpoint.Options
	probe   probe

	timerMu     sync.Mutex
	cancelTimer *time.Timer

	stream          sse.Stream
	text, reasoning strings.Builder
	items           int
	ended           bool // the stream said that it was complete
	firstDone       bool
}

func (x *exchange) run(ctx context.Context) {
	c := x.session.client
	req := (&http.Request{
		Method: http.MethodPost, URL: x.session.target, Host: cmp.Or(c.host, x.session.target.Host),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: x.header(),
		Body: io.NopCloser(bytes.NewReader(x.call.Body)), ContentLength: int64(len(x.call.Body)),
		GetBody: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(x.call.Body)), nil },
	}).WithContext(httptrace.WithClientTrace(ctx, x.probe.trace(x.sent)))
	if x.call.Raw != nil {
		x.call.Raw.Body, x.call.Raw.Request = x.call.Body, shown(req.Header, x.call.Headers)
	}
	x.rec.Start = c.now()
	x.probe.start = x.rec.Start
	resp, err := x.session.transport.RoundTrip(req)
	if err != nil {
		x.end()
		x.fail(ctx, err)
		return
	}
	x.rec.Headers = c.now()
	x.call.Raw.replied(resp)
	if what := resp.Header.Get(simulatedHeader); what != "" && c.simulated.Load() == nil {
		c.simulated.Store(&what)
	}
	defer func() { _ = resp.Body.Close() }() // the reply has been read, or given up
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case resp.StatusCode/100 != 2:
		body, readErr := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
		x.end()
		x.rec.HTTP.BytesReceived = int64(len(body))
		x.call.Raw.text(body, x.rec.End)
		x.rec.Err = endpoint.Failure(resp.StatusCode, body)
		if readErr != nil && len(body) == 0 {
			x.rec.Err.Message = readErr.Error()
		}
	case x.options.Stream && kind == "text/event-stream":
		x.rec.Streamed = true
		x.readStream(ctx, resp.Body)
	default:
		x.readWhole(ctx, resp.Body)
	}
}

func (x *exchange) header() http.Header {
	h := make(http.Header, len(x.session.client.header)+len(x.call.Headers)+1)
	for name, values := range x.session.client.header {
		h[name] = values
	}
	for name, values := range x.call.Headers {
		h[name] = values
	}
	if x.options.Stream {
		h["Accept"] = acceptStream
	}
	return h
}

var acceptStream = []string{"text/event-stream"}

// sent is called when the body has been written.
func (x *exchange) sent() {
	if x.call.CancelAfter == nil {
		return
	}
	if *x.call.CancelAfter <= 0 {
		x.cancel(errCancelled)
		return
	}
	x.timerMu.Lock()
	defer x.timerMu.Unlock()
	x.cancelTimer = time.AfterFunc(*x.call.CancelAfter, func() { x.cancel(errCancelled) })
}

func (x *exchange) stopTimer() {
	x.timerMu.Lock()
	defer x.timerMu.Unlock()
	if x.cancelTimer != nil {
		x.cancelTimer.Stop()
	}
}

func (x *exchange) end() {
	x.rec.End = x.session.client.now()
}

func (x *exchange) first() {
	if !x.firstDone && x.call.OnFirst != nil {
		x.call.OnFirst()
	}
	x.firstDone = true
}

// readStream takes the bytes of a stream as they come. Events are parsed when
// the stream is over, or enough has piled up; only a caller that waits for
// the first content makes it look sooner.
func (x *exchange) readStream(ctx context.Context, body io.Reader) {
	idle := x.watch()
	defer idle.stop()
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for {
		n, err := body.Read(*buf)
		if n > 0 {
			x.stream.Write((*buf)[:n], x.session.client.now())
			x.rec.HTTP.Reads++
			x.rec.HTTP.BytesReceived += int64(n)
			idle.touch()
			waits := !x.firstDone && x.call.OnFirst != nil
			if waits || x.stream.Pending() > parseAt {
				x.parse()
				if waits && len(x.rec.Chunks) > 0 {
					x.first()
				}
			}
		}
		if err != nil {
			x.end()
			x.first()
			x.parse()
			x.finish(ctx, err)
			return
		}
	}
}

// finish judges the end of a stream.
func (x *exchange) finish(ctx context.Context, err error) {
	switch {
	case x.rec.Err != nil:
	case !errors.Is(err, io.EOF) && !x.ended:
		x.fail(ctx, err)
	case !x.ended && x.rec.Finish == "":
		x.rec.Err = &metrics.Error{Class: metrics.ErrTruncated, Message: "the stream stopped before its end"}
	case len(x.rec.Chunks) == 0:
		x.rec.Err = &metrics.Error{Class: metrics.ErrEmpty, Message: "the stream carried no content"}
	}
}

func (x *exchange) parse() {
	for {
		e, ok := x.stream.Next()
		if !ok {
			break
		}
		x.call.Raw.event(e.Name, e.Data, e.At)
		d, err := x.options.Chunk(e.Name, e.Data)
		if err != nil {
			if x.rec.Err == nil {
				x.rec.Err = &metrics.Error{Class: metrics.ErrMalformed, Message: err.Error()}
			}
			continue
		}
		x.take(&d, e.At)
	}
	x.stream.Compact()
}

func (x *exchange) take(d *endpoint.Delta, at int64) {
	if kind, has := d.Kind(); has {
		x.rec.Chunks = append(x.rec.Chunks, metrics.Chunk{At: at, Kind: kind})
	}
	x.text.WriteString(d.Text)
	x.reasoning.WriteString(d.Reasoning)
	x.items += d.Items
	if d.Usage != nil {
		x.rec.Usage = *d.Usage
	}
	if d.Finish != "" {
		x.rec.Finish = d.Finish
	}
	if d.Err != nil && x.rec.Err == nil {
		x.rec.Err = d.Err
	}
	x.ended = x.ended || d.Done
}

func (x *exchange) readWhole(ctx context.Context, body io.Reader) {
	idle := x.watch()
	defer idle.stop()
	var whole bytes.Buffer
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	var at int64
	for {
		n, err := body.Read(*buf)
		if n > 0 {
			at = x.session.client.now()
			whole.Write((*buf)[:n])
			x.rec.HTTP.Reads++
			idle.touch()
		}
		if whole.Len() > maxReply {
			err = fmt.Errorf("reply is longer than %d bytes", maxReply)
		}
		if err != nil {
			x.end()
			x.rec.HTTP.BytesReceived = int64(whole.Len())
			if !errors.Is(err, io.EOF) {
				x.fail(ctx, err)
				return
			}
			break
		}
	}
	x.call.Raw.text(whole.Bytes(), at)
	d, err := x.options.Reply(whole.Bytes())
	if err != nil {
		x.rec.Err = &metrics.Error{Class: metrics.ErrMalformed, Message: err.Error()}
		return
	}
	x.take(&d, at)
	if x.rec.Err == nil && len(x.rec.Chunks) == 0 {
		x.rec.Err = &metrics.Error{Class: metrics.ErrEmpty, Message: "the reply carried no content"}
	}
}

// fail classifies an error of the exchange.
func (x *exchange) fail(ctx context.Context, err error) {
	x.rec.Err = classify(context.Cause(ctx), err, x.rec.Headers > 0, x.probe.reused.Load())
	if x.rec.Err.Class == metrics.ErrCancelled {
		x.rec.Cancelled = x.rec.End
	}
}

// idleWatch cancels an exchange that falls silent.
type idleWatch struct {
	limit time.Duration
	timer *time.Timer
}

func (x *exchange) watch() idleWatch {
	limit := x.session.client.cfg.IdleTimeout
	if limit <= 0 {
		return idleWatch{}
	}
	return idleWatch{limit, time.AfterFunc(limit, func() { x.cancel(&limitError{metrics.ErrIdle, limit}) })}
}

func (w idleWatch) touch() {
	if w.timer != nil {
		w.timer.Reset(w.limit)
	}
}

func (w idleWatch) stop() {
	if w.timer != nil {
		w.timer.Stop()
	}
}
