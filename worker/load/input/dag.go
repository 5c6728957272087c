package input

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/worker/load/conversation"
	"github.com/fleetune/fleetune/worker/load/endpoint"
	"github.com/fleetune/fleetune/worker/load/token"
	"github.com/fleetune/fleetune/worker/load/tree"
)

type dagLine struct {
	SessionID string    `json:"session_id"`
	Turns     []dagTurn `json:"turns"`
	PreSpawns []string  `json:"pre_session_spawns"`
	line      int
}

type dagTurn struct {
	Messages  []endpoint.Message         `json:"messages"`
	Model     string                     `json:"model"`
	MaxTokens int                        `json:"max_tokens"`
	Tools     json.RawMessage            `json:"tools"`
	Extra     map[string]json.RawMessage `json:"extra"`
	Delay     *float64                   `json:"delay"`
	Forks     []dagFork                  `json:"forks"`
	Spawns    []dagSpawn                 `json:"spawns"`
}

// dagFork is a child's name, or {child, background}.
type dagFork struct {
	Child      string
	Background bool
}

func (f *dagFork) UnmarshalJSON(b []byte) error {
	if json.Unmarshal(b, &f.Child) == nil {
		return nil
	}
	var o struct {
		Child      string `json:"child"`
		Background bool   `json:"background"`
	}
	err := strict(b, &o)
	f.Child, f.Background = o.Child, o.Background
	return err
}

// dagSpawn is a child's name, joined at the next turn, or {children, join_at}.
type dagSpawn struct {
	Children []string
	JoinAt   *int
}

func (s *dagSpawn) UnmarshalJSON(b []byte) error {
	var name string
	if json.Unmarshal(b, &name) == nil {
		s.Children = []string{name}
		return nil
	}
	var o struct {
		Children []string `json:"children"`
		JoinAt   *int     `json:"join_at"`
	}
	err := strict(b, &o)
	s.Children, s.JoinAt = o.Children, o.JoinAt
	return err
}

// loadDAG reads authored trees, one session a line.
func loadDAG(w *Workload, f File, opt Options) error {
	g := &dag{file: f.Name, opt: opt, sessions: map[string]*dagLine{}, forked: map[string]bool{}, child: map[string]bool{}, played: map[string]bool{}}
	err := eachLine(f, func(number int, line []byte) error {
		w.Rows++
		return g.line(number, line)
	})
	if err != nil {
		return err
	}
	if err := g.check(); err != nil {
		return err
	}
	var found problems
	for _, l := range g.order {
		if g.child[l.SessionID] {
			continue
		}
		t := &tree.Tree{ID: l.SessionID}
		err := g.add(t, l, tree.Stream{Parent: -1, Branch: -1}, nil)
		if err == nil {
			if err = t.Validate(); err != nil {
				err = g.at(l, err)
			}
		}
		if err != nil && !found.add(err) {
			break
		}
		w.Trees = append(w.Trees, t)
	}
	for _, l := range g.order { // a ring of sessions has no root to reach it from
		if !g.played[l.SessionID] && !found.add(g.at(l, errors.New("no root leads here: the session is its own ancestor"))) {
			break
		}
	}
	return found.err()
}

// lengths works out how long the prompts of a tree are: a fork begins with all
// that was said before it.
func lengths(t *tree.Tree) {
	for i := range t.Streams {
		s := &t.Streams[i]
		s.Conv.Accumulate()
		if !s.Fork {
			continue
		}
		at := &t.Streams[s.Parent].Conv.Turns[t.Branches[s.Branch].Spawn]
		for k := range s.Conv.Turns {
			s.Conv.Turns[k].InputTokens += at.InputTokens + at.MaxTokens
		}
	}
}

func (g *dag) line(number int, line []byte) error {
	l := &dagLine{}
	if err := strict(line, l); err != nil {
		return err
	}
	if l.SessionID == "" || len(l.Turns) == 0 {
		return errors.New("a session needs a session_id and turns")
	}
	if before := g.sessions[l.SessionID]; before != nil {
		return fmt.Errorf("session %q is in line %d already", l.SessionID, before.line)
	}
	l.line = number
	g.sessions[l.SessionID] = l
	g.order = append(g.order, l)
	return nil
}

type dag struct {
	file     string
	opt      Options
	sessions map[string]*dagLine
	order    []*dagLine
	forked   map[string]bool // has a fork parent
	child    map[string]bool
	played   map[string]bool // is part of a tree
}

// at places an error at the session's line.
func (g *dag) at(l *dagLine, err error) error {
	return fmt.Errorf("%s:%d: session %q: %w", g.file, l.line, l.SessionID, err)
}

// check resolves every name and what may stand where.
func (g *dag) check() error {
	var found problems
	for _, l := range g.order {
		for i := range l.Turns {
			for _, err := range g.checkTurn(l, i) {
				if !found.add(g.at(l, fmt.Errorf("turns[%d]: %w", i, err))) {
					return found.err()
				}
			}
		}
		for _, name := range l.PreSpawns {
			if err := g.resolve(name); err != nil && !found.add(g.at(l, fmt.Errorf("pre_session_spawns: %w", err))) {
				return found.err()
			}
		}
	}
	for _, l := range g.order {
		for i := range l.Turns {
			system := slices.ContainsFunc(l.Turns[i].Messages, func(m endpoint.Message) bool { return m.Role == "system" })
			if system && (i > 0 || g.forked[l.SessionID]) &&
				!found.add(g.at(l, fmt.Errorf("turns[%d]: a system message belongs to the first turn of a root or a spawned session", i))) {
				return found.err()
			}
		}
	}
	return found.err()
}

// resolve notes that a session is another's child.
func (g *dag) resolve(name string) error {
	if g.sessions[name] == nil {
		if near := space.Nearest(name, slices.Collect(maps.Keys(g.sessions))); near != "" {
			return fmt.Errorf("no session %q; did you mean %q?", name, near)
		}
		return fmt.Errorf("no session %q", name)
	}
	g.child[name] = true
	return nil
}

func (g *dag) checkTurn(l *dagLine, i int) (errs []error) {
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	t := &l.Turns[i]
	if len(t.Messages) == 0 {
		bad("messages must not be empty")
	}
	if t.MaxTokens < 0 {
		bad("max_tokens %d is below 0", t.MaxTokens)
	}
	for _, f := range t.Forks {
		if err := g.resolve(f.Child); err != nil {
			bad("forks: %w", err)
			continue
		}
		if g.forked[f.Child] {
			bad("session %q is forked twice", f.Child)
		}
		if !f.Background && i != len(l.Turns)-1 {
			bad("fork %q is not in the background and not on the last turn", f.Child)
		}
		g.forked[f.Child] = true
	}
	for _, s := range t.Spawns {
		if s.JoinAt != nil && (*s.JoinAt <= i || *s.JoinAt >= len(l.Turns)) {
			bad("join_at %d is not after the spawn and inside the session", *s.JoinAt)
		}
		if len(s.Children) == 0 {
			bad("a spawn without children")
		}
		for _, name := range s.Children {
			if err := g.resolve(name); err != nil {
				bad("spawns: %w", err)
			}
		}
	}
	return errs
}

const maxStreams = 100_000

// add appends a session and all its descendants to a tree.
func (g *dag) add(t *tree.Tree, l *dagLine, s tree.Stream, path []string) error {
	for _, name := range path {
		if name == l.SessionID {
			return g.at(l, errors.New("the session is its own ancestor"))
		}
	}
	if len(t.Streams) >= maxStreams {
		return g.at(l, fmt.Errorf("the tree has more than %d sessions", maxStreams))
	}
	path = append(path[:len(path):len(path)], l.SessionID)
	g.played[l.SessionID] = true
	conv, err := l.conversation(g.opt.Counter)
	if err != nil {
		return g.at(l, err)
	}
	s.Conv = conv
	self := len(t.Streams)
	t.Streams = append(t.Streams, s)
	branch := func(spawn, join int, fork bool, names ...string) error {
		at := len(t.Branches)
		t.Branches = append(t.Branches, tree.Branch{Parent: self, Spawn: spawn, Join: join})
		for _, name := range names {
			t.Branches[at].Children = append(t.Branches[at].Children, len(t.Streams))
			child := tree.Stream{Parent: self, Branch: at, Depth: s.Depth + 1, Fork: fork}
			if err := g.add(t, g.sessions[name], child, path); err != nil {
				return err
			}
		}
		return nil
	}
	for _, name := range l.PreSpawns {
		if err := branch(-1, tree.NoJoin, false, name); err != nil {
			return err
		}
	}
	for i := range l.Turns {
		for _, f := range l.Turns[i].Forks {
			if err := branch(i, tree.NoJoin, true, f.Child); err != nil {
				return err
			}
		}
		for _, sp := range l.Turns[i].Spawns {
			join := tree.NoJoin // a spawn on the last turn has nothing to join
			if sp.JoinAt != nil {
				join = *sp.JoinAt
			} else if i+1 < len(l.Turns) {
				join = i + 1
			}
			if err := branch(i, join, false, sp.Children...); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *dagLine) conversation(counter token.Counter) (*conversation.Conversation, error) {
	c := &conversation.Conversation{ID: l.SessionID, Mode: conversation.DeltasWithoutReplies}
	for i := range l.Turns {
		in := &l.Turns[i]
		t := conversation.Turn{Model: in.Model, MaxTokens: in.MaxTokens, Tools: in.Tools, Extra: in.Extra}
		if in.Delay != nil {
			var err error
			if t.Delay, err = span(*in.Delay, time.Millisecond); err != nil {
				return nil, fmt.Errorf("turns[%d]: delay: %w", i, err)
			}
		}
		for _, m := range in.Messages {
			t.Messages = append(t.Messages, conversation.Message{Message: m})
			t.InputTokens += counter.Count(m.Plain())
		}
		c.Turns = append(c.Turns, t)
	}
	return c, nil
}
