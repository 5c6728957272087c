package transcript

import (
	"encoding/json"
	"fmt"
	"hash/maphash"
	"strings"

	"github.com/fleetune/fleetune/worker/load/endpoint"
)

// part is a message with what tells it from others, whatever is cut of it.
type part struct {
	Message
	sum uint64
}

var seed = maphash.MakeSeed() // sums are compared within one process

// turn reads a request's body: its messages, or what else it has as a prompt.
func (r Reader) turn(body json.RawMessage) (Turn, endpoint.Kind, error) {
	var b struct {
		Messages     []endpoint.Message `json:"messages"`
		Prompt       json.RawMessage    `json:"prompt"`
		Input        json.RawMessage    `json:"input"`
		Instructions string             `json:"instructions"`
		Query        string             `json:"query"`
		Documents    []string           `json:"documents"`
		Tools        json.RawMessage    `json:"tools"`
	}
	if err := json.Unmarshal(body, &b); err != nil {
		return Turn{}, "", fmt.Errorf("reading a request's body: %w", err)
	}
	var t Turn
	add := func(role, text, whole string) {
		p := part{r.message(role, text), maphash.String(seed, role+"\x00"+whole)}
		t.all = append(t.all, p)
		t.Messages++
		t.Tokens += p.Tokens
	}
	if b.Tools != nil {
		add("tools", string(b.Tools), string(b.Tools))
	}
	say := func(list []endpoint.Message) {
		for _, m := range list {
			add(m.Role, shown(m), whole(m))
		}
	}
	kind := endpoint.Chat
	switch {
	case b.Messages != nil:
		say(b.Messages)
	case b.Prompt != nil:
		kind = endpoint.Completions
		for _, text := range texts(b.Prompt) {
			add("prompt", text, text)
		}
	case b.Query != "":
		kind = endpoint.Rerank
		add("query", b.Query, b.Query)
		for _, text := range b.Documents {
			add("document", text, text)
		}
	case b.Input != nil:
		kind = endpoint.Responses // embeddings have no text as a reply either way
		if b.Instructions != "" {
			add("instructions", b.Instructions, b.Instructions)
		}
		var list []endpoint.Message
		if json.Unmarshal(b.Input, &list) == nil {
			say(list)
			break
		}
		for _, text := range texts(b.Input) {
			add("input", text, text)
		}
	}
	return t, kind, nil
}

// texts reads one text or a list of them; anything else is its JSON.
func texts(raw json.RawMessage) []string {
	var one string
	var list []string
	switch {
	case json.Unmarshal(raw, &one) == nil:
		return []string{one}
	case json.Unmarshal(raw, &list) == nil:
		return list
	}
	return []string{string(raw)}
}

// shown is a message for people: its text, and what else it carries as JSON.
func shown(m endpoint.Message) string {
	var out []string
	if text := m.Plain(); text != "" {
		out = append(out, text)
	} else if m.Content != nil && string(m.Content) != "null" && string(m.Content) != `""` {
		out = append(out, string(m.Content))
	}
	if calls := m.Rest["tool_calls"]; calls != nil {
		out = append(out, string(calls))
	}
	return strings.Join(out, "\n")
}

// whole is all of a message, as one text.
func whole(m endpoint.Message) string {
	raw, err := m.MarshalJSON()
	if err != nil {
		return string(m.Content)
	}
	return string(raw)
}

// event is a piece of a reply: one of a stream, or all of it.
type event struct {
	Packets []struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	} `json:"packets"`
	Text string `json:"text"`
}

// reply joins what the server said. What does not read is passed over: the run
// has told of it.
func reply(kind endpoint.Kind, events []event) string {
	opt := endpoint.Options{Kind: kind, Stream: true}
	var b strings.Builder
	for _, e := range events {
		name, data := "", ""
		for _, p := range e.Packets {
			switch p.Name {
			case "event":
				name = p.Value
			case "data":
				data = p.Value
			}
		}
		var d endpoint.Delta
		var err error
		if e.Text != "" {
			d, err = opt.Reply([]byte(e.Text))
		} else {
			d, err = opt.Chunk(name, []byte(data))
		}
		if err == nil {
			b.WriteString(d.Reasoning + d.Text + d.Tool)
		}
	}
	return b.String()
}
