// Package tree is the shape of an agentic trace: a root conversation, the
// conversations that its turns spawn, and the turns that wait for them.
package tree

import (
	"errors"
	"fmt"
	"time"

	"github.com/fleetune/fleetune/worker/load/conversation"
)

// A Tree is one recorded root conversation with all its descendants.
type Tree struct {
	ID string
	// Streams are the conversations; the first is the root.
	Streams  []Stream
	Branches []Branch
	// Timed is set when turns carry recorded instants.
	Timed bool
}

// A Stream is one conversation of a tree.
type Stream struct {
	Conv *conversation.Conversation
	// Parent is the stream that spawned this one, −1 at the root; Branch the
	// branch it belongs to, −1 at the root.
	Parent, Branch int
	Depth          int
	// Fork is set when the stream starts with its parent's history.
	Fork bool
	// Starts holds the recorded start of every turn, Ends its end; nil without
	// timestamps.
	Starts, Ends []time.Duration
}

// NoJoin marks a branch that nothing waits for.
const NoJoin = -1

// A Branch is a set of streams spawned by one turn and joined by another.
type Branch struct {
	Parent int
	// Spawn is the turn on whose return the children start; −1 starts them
	// with their parent.
	Spawn int
	// Join is the parent's turn that waits for all children, or NoJoin.
	Join     int
	Children []int
	// Start is the recorded start of the branch.
	Start time.Duration
	// FromSend branches began while the request that spawned them was in
	// flight: their children start from its send, not from its return.
	FromSend bool
}

// Validate checks that indices point where they may.
func (t *Tree) Validate() error {
	if len(t.Streams) == 0 {
		return errors.New("a tree without a root")
	}
	for i := range t.Streams {
		s := &t.Streams[i]
		switch {
		case len(s.Conv.Turns) == 0:
			return fmt.Errorf("stream %q has no turns", s.Conv.ID)
		case (i == 0) != (s.Parent < 0):
			return fmt.Errorf("stream %q: only the root has no parent", s.Conv.ID)
		case s.Parent >= i:
			return fmt.Errorf("stream %q comes before its parent", s.Conv.ID)
		case s.Ends != nil && len(s.Ends) != len(s.Conv.Turns):
			return fmt.Errorf("stream %q: %d turns have %d ends", s.Conv.ID, len(s.Conv.Turns), len(s.Ends))
		case t.Timed && len(s.Starts) != len(s.Conv.Turns):
			return fmt.Errorf("stream %q: %d turns have %d starts", s.Conv.ID, len(s.Conv.Turns), len(s.Starts))
		}
	}
	for i := range t.Branches {
		if err := t.validateBranch(i); err != nil {
			return err
		}
	}
	return nil
}

func (t *Tree) validateBranch(i int) error {
	b := &t.Branches[i]
	if b.Parent < 0 || b.Parent >= len(t.Streams) {
		return fmt.Errorf("branch %d has no parent", i)
	}
	turns := len(t.Streams[b.Parent].Conv.Turns)
	if b.Spawn < -1 || b.Spawn >= turns || b.Join != NoJoin && (b.Join <= b.Spawn || b.Join >= turns) {
		return fmt.Errorf("branch %d spawns at turn %d and joins at %d of %d", i, b.Spawn, b.Join, turns)
	}
	for _, c := range b.Children {
		if c <= 0 || c >= len(t.Streams) || t.Streams[c].Branch != i || t.Streams[c].Parent != b.Parent {
			return fmt.Errorf("branch %d and its child %d do not agree", i, c)
		}
	}
	return nil
}

// Span is the time between the first and the last recorded start.
func (t *Tree) Span() (from, to time.Duration) {
	first := true
	for i := range t.Streams {
		for _, at := range t.Streams[i].Starts {
			if first || at < from {
				from = at
			}
			if first || at > to {
				to = at
			}
			first = false
		}
	}
	return from, to
}

// Requests counts the turns of all streams.
func (t *Tree) Requests() int {
	n := 0
	for i := range t.Streams {
		n += len(t.Streams[i].Conv.Turns)
	}
	return n
}
