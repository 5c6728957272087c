package batching

import (
	"github.com/fleetune/fleetune/worker/simulate/paged"
	"github.com/fleetune/fleetune/worker/simulate/vocabulary"
)

// A Request for a reply.
type Request struct {
	// Prompt in tokens; at least one.
	Prompt []uint32
	// Output is the length of the reply in tokens; at least 1.
	Output int
	// Priority: a lower value goes first where the policy asks for it.
	Priority int
	// Seed of what the reply says.
	Seed uint64
}

// A Sequence is a request on its way. Its methods may be called between steps.
type Sequence struct {
	Request
	// Cached is the number of prompt tokens that were found in the cache when
	// the sequence was first admitted; Preempted counts how often it had to go.
	Cached, Preempted int

	number   int64 // by arrival
	tokens   []uint32
	hashes   []paged.Hash
	blocks   []*paged.Block
	computed int
	produced int
	admitted bool
}

// Reply is what the sequence has said so far.
func (s *Sequence) Reply() []uint32 { return s.tokens[len(s.Prompt):] }

// Done says whether the reply has its length.
func (s *Sequence) Done() bool { return s.produced == s.Output }

// missing tokens have no place in the cache yet.
func (s *Sequence) missing() int { return len(s.tokens) - s.computed }

// decodes says that only the token said last is missing.
func (s *Sequence) decodes() bool { return s.produced > 0 && s.missing() == 1 }

// say adds the next token of the reply.
func (s *Sequence) say() {
	s.tokens = append(s.tokens, vocabulary.Say(s.Seed, s.produced))
	s.produced++
}
