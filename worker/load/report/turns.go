package report

import (
	_ "embed"
	"fmt"
	"io"
	"strings"

	"github.com/fleetune/fleetune/shared/terminal"
	"github.com/fleetune/fleetune/worker/load/transcript"
)

//go:embed turns.html
var turnsText string

// Shown bounds what a transcript shows: conversations, and turns of each.
type Shown struct{ Conversations, Turns int }

func (s Shown) of(all []*transcript.Conversation) (some []*transcript.Conversation, left int) {
	some = all[:min(len(all), s.Conversations)]
	return some, len(all) - len(some)
}

// turns are those of a conversation that are shown.
func (s Shown) turns(c *transcript.Conversation) (some []transcript.Turn, left int) {
	some = c.Turns[:min(len(c.Turns), s.Turns)]
	return some, len(c.Turns) - len(some)
}

// WriteTurns writes a table for every conversation, a line for each turn.
func WriteTurns(screen terminal.Screen, all []*transcript.Conversation, s Shown) error {
	p := &printer{Screen: screen}
	some, left := s.of(all)
	for i, c := range some {
		if i > 0 {
			p.line("")
		}
		p.line(screen.Paint(terminal.Bold, terminal.Clean(turnsTitle(c))))
		t := &terminal.Table{Columns: []terminal.Column{{Title: "Turn", Right: true}, {Title: "phase"}, {Title: "messages", Right: true}, {Title: "tokens", Right: true},
			{Title: "kept", Right: true}, {Title: "new", Right: true}, {Title: "reply", Right: true}, {Title: "what is new", Least: 16}}}
		turns, later := s.turns(c)
		for k := range turns {
			x := &turns[k]
			reply := "–"
			if x.Reply != nil {
				reply = fmt.Sprint(x.Reply.Tokens)
			}
			t.Add(fmt.Sprint(x.Index), x.Phase, fmt.Sprint(x.Messages), fmt.Sprint(x.Tokens), fmt.Sprint(x.KeptTokens), fmt.Sprint(x.Tokens-x.KeptTokens), reply, news(x))
		}
		p.table(t)
		if later > 0 {
			p.line(fmt.Sprintf("and %d turns more (--turns)", later))
		}
	}
	if left > 0 {
		p.line("")
		p.line(fmt.Sprintf("%d conversations more (--conversations)", left))
	}
	return p.end()
}

func turnsTitle(c *transcript.Conversation) string {
	out := fmt.Sprintf("%s: %d turns", c.ID, len(c.Turns))
	if len(c.Turns) == 1 {
		out = c.ID + ": 1 turn"
	}
	if c.Depth > 0 {
		out += fmt.Sprintf(", an agent at depth %d", c.Depth)
	}
	return out
}

// news says in a line what a prompt has that the one before had not.
func news(t *transcript.Turn) string {
	var out []string
	if t.Error != "" {
		out = append(out, "failed: "+t.Error)
	}
	if t.Dropped > 0 {
		out = append(out, fmt.Sprintf("dropped of the prompt before: %d", t.Dropped))
	}
	for _, m := range t.New {
		text := strings.Join(strings.Fields(m.Text), " ")
		if m.Cut > 0 {
			text += "…"
		}
		out = append(out, fmt.Sprintf("%s (%d): %s", m.Role, m.Tokens, text))
	}
	return strings.Join(out, "; ")
}

type turnsPage struct {
	shell
	Counter                    string
	Conversations, Turns, Left int
	List                       []turnsEntry
}

type turnsEntry struct {
	Title string
	Turns []transcript.Turn
	Left  int
}

// WriteTurnsPage writes a page on which conversations, turns and messages
// unfold.
func WriteTurnsPage(w io.Writer, all []*transcript.Conversation, counter string, s Shown) error {
	p := turnsPage{shell: newShell("Fleetune turns"), Counter: counter, Conversations: len(all)}
	some, left := s.of(all)
	p.Left = left
	for _, c := range all {
		p.Turns += len(c.Turns)
	}
	for _, c := range some {
		turns, later := s.turns(c)
		p.List = append(p.List, turnsEntry{turnsTitle(c), turns, later})
	}
	return write(w, "turns", turnsText, p)
}
