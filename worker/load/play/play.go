// Package play sends the turns of a conversation to a server: it makes each
// turn's prompt out of the history, hands it to the transport, and completes
// the record with token counts. When a turn is due is not its business.
package play

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/fleetune/fleetune/worker/load/conversation"
	"github.com/fleetune/fleetune/worker/load/endpoint"
	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/fleetune/fleetune/worker/load/token"
	"github.com/fleetune/fleetune/worker/load/transport"
)

// Config says how turns are sent.
type Config struct {
	Client  *transport.Client
	Options endpoint.Options
	// Models to ask for, used where a turn names none.
	Models  []string
	Counter token.Counter
	// OwnCounts enters the counter's figures even where the server counts.
	OwnCounts bool
	// MaxTokens overrides every turn's output length; 0 leaves them.
	MaxTokens int
	// Worker names this process in records.
	Worker string
	// Epoch is what instants in records count from.
	Epoch time.Time
	// SessionHeader carries the session's id besides X-Correlation-Id, for
	// routers that keep sessions together.
	SessionHeader string
	// Raw is called with all that was sent and received for every request;
	// nil for none.
	Raw func(rec *metrics.Record, raw *transport.Raw)
}

// A Ticket is the permission to send one turn.
type Ticket struct {
	Number int64
	Phase  metrics.Phase
	// Scheduled is when the plan wanted it; zero in a closed loop.
	Scheduled time.Time
	Issued    time.Time
	// CancelAfter hangs up this long after the body was sent; nil never.
	CancelAfter *time.Duration
	// OnFirst is called once at the first content or the end without any.
	OnFirst func()
	// MaxTokens overrides the turn's output length when above 0.
	MaxTokens int
}

// A Session plays one conversation. It is not safe for concurrent use.
type Session struct {
	cfg     *Config
	conv    *conversation.Conversation
	history *conversation.History
	conn    *transport.Session
	id      string
	// Lineage is copied into every record.
	Lineage Lineage
	// Marker makes the prompts of one tree unlike those of any other.
	Marker Marker

	ready int // the turn whose body is prepared, −1 for none
	body  []byte
	err   error
}

// Lineage places a session in its tree.
type Lineage struct {
	Depth        int
	Root, Parent string
}

// Open starts a session.
func Open(cfg *Config, c *conversation.Conversation) *Session {
	id := NewID()
	return &Session{cfg: cfg, conv: c, history: conversation.NewHistory(c.Mode), conn: cfg.Client.Session(), id: id, ready: -1,
		Lineage: Lineage{Root: id}}
}

// NewID returns a random id in the form of a UUID, version 4.
func NewID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, by its contract
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	var out [36]byte
	hex.Encode(out[:8], b[:4])
	hex.Encode(out[9:13], b[4:6])
	hex.Encode(out[14:18], b[6:8])
	hex.Encode(out[19:23], b[8:10])
	hex.Encode(out[24:], b[10:])
	out[8], out[13], out[18], out[23] = '-', '-', '-', '-'
	return string(out[:])
}

// ID is the session's correlation id.
func (s *Session) ID() string { return s.id }

// Conversation is what the session plays.
func (s *Session) Conversation() *conversation.Conversation { return s.conv }

// SkipTo passes over the turns before one, as if they had been sent: their
// messages are in the history, live replies to them are not.
func (s *Session) SkipTo(turn int) {
	if s.conv.Mode == conversation.Whole {
		return // every turn brings all it needs
	}
	for i := range turn {
		s.history.Prompt(&s.conv.Turns[i])
	}
}

// ForkFrom makes the session start with all that another has said and heard.
func (s *Session) ForkFrom(parent *Session) { s.history = parent.history.Fork(s.conv.Mode) }

// Prepare makes a turn's body ahead of its time, so that sending costs none.
func (s *Session) Prepare(turn int) {
	if s.ready == turn {
		return
	}
	s.body, s.err = s.write(turn, 0)
	s.ready = turn
}

func (s *Session) write(turn, maxTokens int) ([]byte, error) {
	t := &s.conv.Turns[turn]
	return s.cfg.body(t, s.Marker.Apply(s.history.Prompt(t)), maxTokens)
}

// body writes the body of a turn's request, whose limit of tokens counts
// before all others when above 0.
func (c *Config) body(t *conversation.Turn, messages []endpoint.Message, maxTokens int) ([]byte, error) {
	p := endpoint.Prompt{
		Model: t.Model, Messages: messages, Documents: t.Documents,
		MaxTokens: t.MaxTokens, Tools: t.Tools, Extra: t.Extra, Raw: t.Raw,
	}
	if p.Model == "" && len(c.Models) > 0 {
		p.Model = c.Models[0]
	}
	if c.MaxTokens > 0 {
		p.MaxTokens = c.MaxTokens
	}
	if maxTokens > 0 {
		p.MaxTokens = maxTokens
	}
	return c.Options.Body(&p)
}

// Bodies are the bodies of a conversation's first turns, or of all of them
// when n is 0: as they are before anything was replied, and without a marker.
// The configuration needs no client for them.
func (c *Config) Bodies(conv *conversation.Conversation, n int) ([]json.RawMessage, error) {
	if n == 0 {
		n = len(conv.Turns)
	}
	history := conversation.NewHistory(conv.Mode)
	var out []json.RawMessage
	for i := range conv.Turns[:min(n, len(conv.Turns))] {
		t := &conv.Turns[i]
		body, err := c.body(t, history.Prompt(t), 0)
		if err != nil {
			return nil, fmt.Errorf("writing request %d of %s: %w", i+1, conv.ID, err)
		}
		out = append(out, body)
	}
	return out, nil
}

// Turn sends one turn and returns its record, complete.
func (s *Session) Turn(ctx context.Context, turn int, t Ticket) *metrics.Record {
	rec := s.record(turn, t)
	if t.MaxTokens > 0 {
		s.body, s.err = s.write(turn, t.MaxTokens)
	} else {
		s.Prepare(turn)
	}
	body, err := s.body, s.err
	s.ready, s.body, s.err = -1, nil, nil
	if err != nil {
		if t.OnFirst != nil {
			t.OnFirst()
		}
		rec.Start = int64(time.Since(s.cfg.Epoch))
		rec.End = rec.Start
		rec.Err = &metrics.Error{Class: metrics.ErrRequest, Message: err.Error()}
		return rec
	}
	call := transport.Call{Body: body, CancelAfter: t.CancelAfter, OnFirst: t.OnFirst, Headers: s.headers(rec)}
	if s.cfg.Raw != nil {
		call.Raw = &transport.Raw{}
	}
	text := s.conn.Do(ctx, call, rec)
	Count(rec, text, s.cfg.Counter, s.cfg.OwnCounts)
	if s.cfg.Raw != nil {
		s.cfg.Raw(rec, call.Raw)
	}
	s.history.Reply(text.Content)
	return rec
}

func (s *Session) record(turn int, t Ticket) *metrics.Record {
	plan := &s.conv.Turns[turn]
	rec := &metrics.Record{
		Number: t.Number, Request: NewID(), Session: s.id, Root: s.Lineage.Root, Parent: s.Lineage.Parent,
		Depth: s.Lineage.Depth, Conversation: s.conv.ID, Turn: turn, Turns: len(s.conv.Turns),
		Phase: t.Phase, Worker: s.cfg.Worker, Issued: int64(t.Issued.Sub(s.cfg.Epoch)),
		WantedTokens: plan.MaxTokens, PlannedTokens: plan.InputTokens, InputTokens: -1,
		CacheBlocks: plan.CacheBlocks, CacheHits: plan.CacheHits,
	}
	if s.cfg.MaxTokens > 0 {
		rec.WantedTokens = s.cfg.MaxTokens
	}
	if t.MaxTokens > 0 {
		rec.WantedTokens = t.MaxTokens
	}
	if !t.Scheduled.IsZero() {
		rec.Scheduled = int64(t.Scheduled.Sub(s.cfg.Epoch))
	}
	return rec
}

func (s *Session) headers(rec *metrics.Record) http.Header {
	h := http.Header{"X-Request-Id": {rec.Request}, "X-Correlation-Id": {rec.Session}}
	if s.cfg.SessionHeader != "" {
		h.Set(s.cfg.SessionHeader, rec.Root)
	}
	return h
}

// Close ends the session.
func (s *Session) Close() { s.conn.Close() }

// Count completes a record's token counts: by the server's usage where it
// reported one, else, or if the client's own are asked for, by the counter.
func Count(rec *metrics.Record, text transport.Text, counter token.Counter, own bool) {
	u := rec.Usage
	switch {
	case rec.PlannedTokens > 0 && (own || u.Prompt < 0):
		rec.InputTokens = rec.PlannedTokens
	case u.Prompt >= 0:
		rec.InputTokens = u.Prompt
	}
	if u.Completion >= 0 && !own {
		reasoning := max(u.Reasoning, 0)
		if u.Reasoning < 0 && text.Reasoning != "" && counter != nil {
			reasoning = min(counter.Count(text.Reasoning), u.Completion)
		}
		rec.ReasoningTokens = min(reasoning, u.Completion)
		rec.ContentTokens = u.Completion - rec.ReasoningTokens
		if _, estimate := counter.(token.Bytes); counter != nil && !estimate {
			rec.CountedTokens = counter.Count(text.Content) + counter.Count(text.Reasoning)
		}
		return
	}
	if counter == nil || text.Content == "" && text.Reasoning == "" {
		return
	}
	rec.ContentTokens = counter.Count(text.Content)
	rec.ReasoningTokens = counter.Count(text.Reasoning)
	if u.Completion >= 0 {
		rec.CountedTokens = rec.ContentTokens + rec.ReasoningTokens
	}
}
