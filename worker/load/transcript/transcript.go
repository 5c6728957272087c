// Package transcript reads what a run sent, turn by turn: which messages each
// prompt had, how many of them the prompt before had begun with, and what was
// new. It shows how a context grows, and where one is rewritten and a server's
// prefix cache no longer helps.
package transcript

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/fleetune/fleetune/worker/load/token"
)

// A Conversation is a session with its turns in the order they were sent.
type Conversation struct {
	ID string `json:"conversation_id"`
	// Session tells apart what plays the same conversation; empty where only
	// the requests are known.
	Session string `json:"x_correlation_id,omitempty"`
	Depth   int    `json:"agent_depth"`
	Turns   []Turn `json:"turns"`

	begun int64
}

// A Turn is one request. Lengths are in tokens by the reader's counter.
type Turn struct {
	Index  int    `json:"turn_index"`
	Phase  string `json:"benchmark_phase,omitempty"`
	Status int    `json:"status,omitempty"`
	// Messages of the prompt, of which Kept are those that the prompt before
	// began with too; Dropped were in that and are not at their place in this.
	Messages   int `json:"messages"`
	Tokens     int `json:"tokens"`
	Kept       int `json:"messages_kept"`
	KeptTokens int `json:"tokens_kept"`
	Dropped    int `json:"messages_dropped"`
	// New are the others.
	New []Message `json:"new"`
	// Reply is what the server said, nil where nothing is known of it.
	Reply *Message `json:"reply,omitempty"`
	Error string   `json:"error,omitempty"`

	start int64
	all   []part
}

// A Message is a part of a prompt; the text has been cut after so many
// characters.
type Message struct {
	Role   string `json:"role"`
	Tokens int    `json:"tokens"`
	Text   string `json:"text"`
	Cut    int    `json:"characters_cut,omitempty"`
}

// ErrNothing is returned for what holds no request.
var ErrNothing = errors.New("no request in it; bench writes whole requests with --aiperf-dir DIR --export-level raw")

// A Reader reads transcripts.
type Reader struct {
	Counter token.Counter
	// Text is how many characters of a message are kept.
	Text int
}

// longest is how long the line of one request may be.
const longest = 256 << 20

// Read reads a file of whole requests, a line each, or an inputs.json.
func (r Reader) Read(in io.Reader) ([]*Conversation, error) {
	b := bufio.NewReaderSize(in, 1<<16)
	if head, _ := b.Peek(1 << 10); bytes.Contains(head, []byte(`"data"`)) && !bytes.Contains(head, []byte(`"metadata"`)) {
		return r.inputs(b)
	}
	sessions := map[string]*Conversation{}
	s := bufio.NewScanner(b)
	s.Buffer(nil, longest)
	for n := 1; s.Scan(); n++ {
		if len(bytes.TrimSpace(s.Bytes())) == 0 {
			continue
		}
		if err := r.line(sessions, s.Bytes()); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("reading the requests: %w", err)
	}
	var out []*Conversation
	for _, c := range sessions {
		c.begun = slices.MinFunc(c.Turns, func(a, b Turn) int { return cmp.Compare(a.start, b.start) }).start
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b *Conversation) int {
		return cmp.Or(cmp.Compare(a.begun, b.begun), cmp.Compare(a.Depth, b.Depth), cmp.Compare(a.Session, b.Session))
	})
	return finish(out)
}

// rawLine is what is read of a request's line.
type rawLine struct {
	Metadata *struct {
		Correlation  string `json:"x_correlation_id"`
		Conversation string `json:"conversation_id"`
		Turn         int    `json:"turn_index"`
		Start        int64  `json:"request_start_ns"`
		Phase        string `json:"benchmark_phase"`
		Depth        int    `json:"agent_depth"`
	} `json:"metadata"`
	Payload json.RawMessage `json:"payload"`
	Status  int             `json:"status"`
	Replies []event         `json:"responses"`
	Error   *metrics.Error  `json:"error"`
}

func (r Reader) line(sessions map[string]*Conversation, data []byte) error {
	var l rawLine
	if err := json.Unmarshal(data, &l); err != nil {
		return fmt.Errorf("it is no request: %w", err)
	}
	if l.Metadata == nil || l.Payload == nil {
		return errors.New("it is no whole request: metadata or payload is missing; bench writes them with --export-level raw")
	}
	m := l.Metadata
	t, kind, err := r.turn(l.Payload)
	if err != nil {
		return err
	}
	t.Index, t.Phase, t.Status, t.start = m.Turn, m.Phase, l.Status, m.Start
	if l.Error != nil {
		t.Error = l.Error.Error()
	}
	if text := reply(kind, l.Replies); text != "" {
		said := r.message("assistant", text)
		t.Reply = &said
	}
	id := cmp.Or(m.Correlation, m.Conversation)
	c := sessions[id]
	if c == nil {
		c = &Conversation{ID: m.Conversation, Session: m.Correlation, Depth: m.Depth}
		sessions[id] = c
	}
	c.Turns = append(c.Turns, t)
	return nil
}

// inputs reads the requests of conversations before anything was sent.
func (r Reader) inputs(in io.Reader) ([]*Conversation, error) {
	var doc struct {
		Data []struct {
			Session  string            `json:"session_id"`
			Payloads []json.RawMessage `json:"payloads"`
		} `json:"data"`
	}
	if err := json.NewDecoder(in).Decode(&doc); err != nil {
		return nil, fmt.Errorf("reading the inputs: %w", err)
	}
	var out []*Conversation
	for _, d := range doc.Data {
		if len(d.Payloads) == 0 {
			continue
		}
		c := &Conversation{ID: d.Session}
		for i, p := range d.Payloads {
			t, _, err := r.turn(p)
			if err != nil {
				return nil, fmt.Errorf("payloads[%d] of %q: %w", i, d.Session, err)
			}
			t.Index, t.start = i, int64(i)
			c.Turns = append(c.Turns, t)
		}
		out = append(out, c)
	}
	return finish(out)
}

// finish holds every turn against the one before it.
func finish(all []*Conversation) ([]*Conversation, error) {
	if len(all) == 0 {
		return nil, ErrNothing
	}
	for _, c := range all {
		slices.SortStableFunc(c.Turns, func(a, b Turn) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.Index, b.Index)) })
		var before []part
		for i := range c.Turns {
			t := &c.Turns[i]
			t.compare(before)
			before, t.all = t.all, nil
		}
	}
	return all, nil
}

// compare finds what of the prompt before this one begins with.
func (t *Turn) compare(before []part) {
	for t.Kept < len(before) && t.Kept < len(t.all) && before[t.Kept].sum == t.all[t.Kept].sum {
		t.KeptTokens += t.all[t.Kept].Tokens
		t.Kept++
	}
	t.Dropped = len(before) - t.Kept
	t.New = []Message{}
	for _, p := range t.all[t.Kept:] {
		t.New = append(t.New, p.Message)
	}
}

// message makes one of a text, which it cuts between characters.
func (r Reader) message(role, text string) Message {
	m := Message{Role: role, Tokens: r.Counter.Count(text), Text: text}
	if n := utf8.RuneCountInString(text); n > r.Text {
		end := 0
		for range r.Text {
			_, size := utf8.DecodeRuneInString(text[end:])
			end += size
		}
		m.Text, m.Cut = strings.Clone(text[:end]), n-r.Text
	}
	return m
}
