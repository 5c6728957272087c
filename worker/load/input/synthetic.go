package input

import (
	"cmp"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/fleetune/fleetune/worker/load/conversation"
	"github.com/fleetune/fleetune/worker/load/token"
)

// Synthetic describes made-up conversations.
type Synthetic struct {
	Scenario Scenario
	// Turns of a conversation, and the pause before each but the first, s.
	Turns, Delay Length
	// DelayRatio is a factor of the pauses; 0 is 1.
	DelayRatio float64
	// SharedSystem is a system prompt that all conversations have in common,
	// UserContext one that each has for itself, both in tokens.
	SharedSystem, UserContext int
	// Prefixes is the size of a pool of which each conversation starts with a
	// random one of PrefixLength tokens.
	Prefixes, PrefixLength int
	// Documents per rerank request.
	Documents int
	Seed      int64
	// Words make the filler; nil makes the fallback's.
	Words *token.Words
	// Texts are cut into the users' messages instead of filler; nil for none.
	Texts *Texts
}

// source makes conversations without end; the n-th is always the same.
type source struct {
	spec Synthetic
	seed uint64
	next atomic.Int64
}

// NewSource returns the conversations of a description.
func (s Synthetic) NewSource() conversation.Source {
	return &source{spec: s, seed: conversation.Seed(s.Seed, "synthetic")}
}

// Next makes the next conversation.
func (s *source) Next() *conversation.Conversation { return s.spec.make(s.seed, s.next.Add(1)-1) }

// Take makes the first n conversations.
func (s Synthetic) Take(n int) []*conversation.Conversation {
	seed := conversation.Seed(s.Seed, "synthetic")
	out := make([]*conversation.Conversation, n)
	for i := range out {
		out[i] = s.make(seed, int64(i))
	}
	return out
}

func (s *Synthetic) make(seed uint64, n int64) *conversation.Conversation {
	own := conversation.Number(seed, n)
	rng := conversation.Rand(own)
	c := &conversation.Conversation{ID: fmt.Sprintf("synthetic-%06d", n), Mode: conversation.DeltasWithoutReplies}
	turns := 1
	if s.Turns != (Length{}) {
		turns = s.Turns.Draw(rng, 1)
	}
	total := 0
	for turn := range turns {
		prompt, reply := s.Scenario.draw(rng)
		t := conversation.Turn{MaxTokens: output(reply, rng.Uint64())}
		length := prompt.Draw(rng, 1)
		if turn == 0 {
			t.Messages, total = s.preamble(seed, own, rng.IntN(max(1, s.Prefixes)))
		} else if s.Delay != (Length{}) {
			t.Delay = max(0, time.Duration(cmp.Or(s.DelayRatio, 1)*s.delay(rng.Uint64())*float64(time.Second)))
		}
		text := rng.Uint64()
		if s.Texts != nil {
			var m conversation.Message
			m, length = s.Texts.message(text, length)
			t.Messages = append(t.Messages, m)
		} else {
			t.Messages = append(t.Messages, conversation.Filler("user", conversation.Fill{Seed: text, Tokens: length}))
		}
		total += length
		t.InputTokens = total
		total += t.MaxTokens
		if s.Scenario.Documents > 0 {
			t.Documents = s.documents(rng.Uint64())
		}
		c.Turns = append(c.Turns, t)
	}
	c.Use(s.Words)
	return c
}

func output(law Length, seed uint64) int {
	if law == (Length{}) {
		return 0
	}
	least := 1
	if law.Law == Uniform {
		least = 2
	}
	return law.Draw(conversation.Rand(seed), least)
}

func (s *Synthetic) delay(seed uint64) float64 {
	rng := conversation.Rand(seed)
	switch s.Delay.Law {
	case Normal:
		return s.Delay.A + s.Delay.B*rng.NormFloat64()
	case Uniform:
		return s.Delay.A + rng.Float64()*(s.Delay.B-s.Delay.A)
	}
	return s.Delay.A
}

// preamble is what comes before the first user message, and its length.
func (s *Synthetic) preamble(seed, own uint64, prefix int) ([]conversation.Message, int) {
	var fill []conversation.Fill
	if s.SharedSystem > 0 {
		fill = append(fill, conversation.Fill{Seed: conversation.Number(seed, -1), Tokens: s.SharedSystem})
	}
	if s.Prefixes > 0 && s.PrefixLength > 0 {
		fill = append(fill, conversation.Fill{Seed: conversation.Number(seed, -2-int64(prefix)), Tokens: s.PrefixLength})
	}
	if s.UserContext > 0 {
		fill = append(fill, conversation.Fill{Seed: conversation.Number(own, -1), Tokens: s.UserContext})
	}
	if fill == nil {
		return nil, 0
	}
	total := 0
	for _, f := range fill {
		total += f.Tokens
	}
	return []conversation.Message{conversation.Filler("system", fill...)}, total
}

func (s *Synthetic) documents(seed uint64) []string {
	n := max(1, s.Documents)
	out := make([]string, n)
	for i := range out {
		m := conversation.Filler("", conversation.Fill{Seed: conversation.Number(seed, int64(i)), Tokens: s.Scenario.Documents})
		m.Words = s.Words
		out[i] = m.Render().Plain()
	}
	return out
}
