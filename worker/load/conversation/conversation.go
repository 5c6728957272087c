// Package conversation is what the load generator's inputs come down to:
// conversations of turns, whose prompts are real text or filler that is made
// when it is sent. Whatever the format of a trace, this is all that the load
// shapes and the agentic replay see of it.
package conversation

import (
	"encoding/json"
	"hash/fnv"
	"math/rand/v2"
	"time"

	"github.com/fleetune/fleetune/worker/load/endpoint"
	"github.com/fleetune/fleetune/worker/load/token"
)

// Mode says how the turns of a conversation become prompts.
type Mode string

// The modes.
const (
	// DeltasWithoutReplies appends each turn, then the server's live reply.
	DeltasWithoutReplies Mode = "deltas_without_responses"
	// DeltasWithReplies appends each turn, which brings the recorded replies
	// along; live replies are dropped.
	DeltasWithReplies Mode = "deltas_with_responses"
	// Whole turns are complete prompts.
	Whole Mode = "message_array_with_responses"
)

// A Conversation is an ordered list of turns.
type Conversation struct {
	ID    string
	Mode  Mode
	Turns []Turn
}

// A Turn is one request of a conversation.
type Turn struct {
	Messages []Message
	// Reset forgets all earlier messages first.
	Reset bool
	// MaxTokens of the reply; 0 leaves it to the server.
	MaxTokens int
	// InputTokens is the length of the whole prompt as the workload knows it;
	// 0 when it does not.
	InputTokens int
	// At is the turn's own instant since the start of the trace.
	At *time.Duration
	// Delay is the pause after the end of the turn before.
	Delay     time.Duration
	Model     string
	Tools     json.RawMessage
	Extra     map[string]json.RawMessage
	Raw       json.RawMessage
	Documents []string
	// CacheBlocks of the prompt, and those of them that an ideal prefix cache
	// would hold.
	CacheBlocks, CacheHits int
}

// A Message is a part of a prompt: content as it came, or filler.
type Message struct {
	endpoint.Message
	Fill []Fill
	// Words make the filler; nil makes the fallback's, of four bytes a token.
	Words *token.Words
}

// Fill is filler of a length in tokens.
type Fill = token.Fill

// Filler returns a message of filler.
func Filler(role string, fill ...Fill) Message {
	return Message{Message: endpoint.Message{Role: role}, Fill: fill}
}

// Text returns a message of plain text.
func Text(role, text string) Message { return Message{Message: endpoint.Text(role, text)} }

// Render makes the message's content.
func (m Message) Render() endpoint.Message {
	if m.Fill == nil {
		return m.Message
	}
	size := 0
	for _, f := range m.Fill {
		size += f.Tokens
	}
	b := make([]byte, 1, size*token.FillerBytes+2)
	b[0] = '"'
	b = m.Words.Append(b, m.Fill...)
	b = append(b, '"') // filler needs no escapes
	return endpoint.Message{Role: m.Role, Content: b}
}

// A History turns the turns of one session into prompts.
type History struct {
	mode     Mode
	messages []endpoint.Message
}

// NewHistory returns the history of a session that has said nothing yet.
func NewHistory(mode Mode) *History { return &History{mode: mode} }

// Fork returns a history that starts with all that was said so far.
func (h *History) Fork(mode Mode) *History {
	return &History{mode: mode, messages: append([]endpoint.Message{}, h.messages...)}
}

// Prompt adds a turn and returns the messages to send.
func (h *History) Prompt(t *Turn) []endpoint.Message {
	if h.mode == Whole || t.Reset {
		h.messages = nil
	}
	for _, m := range t.Messages {
		h.messages = append(h.messages, m.Render())
	}
	return h.messages
}

// Reply adds the server's reply, if this mode keeps it.
func (h *History) Reply(text string) {
	if h.mode == DeltasWithoutReplies && text != "" {
		h.messages = append(h.messages, endpoint.Text("assistant", text))
	}
}

// Accumulate makes the lengths of whole prompts out of those of what each turn
// adds: all that was said before comes first, replies as long as they are asked
// for. Turns that bring whole prompts keep their lengths.
func (c *Conversation) Accumulate() {
	if c.Mode == Whole {
		return
	}
	before := 0
	for i := range c.Turns {
		t := &c.Turns[i]
		if t.Raw != nil {
			continue
		}
		t.InputTokens += before
		before = t.InputTokens + t.MaxTokens
	}
}

// Use makes the filler of a conversation out of a tokenizer's words.
func (c *Conversation) Use(words *token.Words) {
	for i := range c.Turns {
		for k := range c.Turns[i].Messages {
			c.Turns[i].Messages[k].Words = words
		}
	}
}

// Seed derives a seed from the run's seed and names, so that the order in
// which parts are made does not matter to what they draw.
func Seed(root int64, names ...string) uint64 {
	h := fnv.New64a()
	var b [8]byte
	for i := range b {
		b[i] = byte(uint64(root) >> (8 * i))
	}
	_, _ = h.Write(b[:]) // a hash takes every write
	for _, n := range names {
		_, _ = h.Write([]byte{0})
		_, _ = h.Write([]byte(n))
	}
	return mix(h.Sum64())
}

// Number derives a seed from a seed and a number.
func Number(seed uint64, n int64) uint64 { return mix(seed ^ mix(uint64(n)+0x9e3779b97f4a7c15)) }

// mix is the finaliser of splitmix64 (Steele, Lea and Flood, 2014).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Rand returns a source of randomness for a seed.
func Rand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, mix(seed))) }
