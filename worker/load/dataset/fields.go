package dataset

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/fleetune/fleetune/worker/load/conversation"
	"github.com/fleetune/fleetune/worker/load/endpoint"
	"github.com/fleetune/fleetune/worker/load/input"
)

// A Map says which field of a row is what. Names may be paths, such as
// request.prompt.
type Map struct {
	// One of these gives what is sent: a text, a list of texts (the turns of a
	// conversation), a list of messages, a list of messages of which every user
	// one is a turn, or a whole request body.
	Prompt, Prompts, Messages, Conversations, RequestBody string
	// System is a text that comes first.
	System string
	// OutputLen is the reply's length in tokens; Output a text as long as it.
	OutputLen, Output string
	// ID names the conversation.
	ID string
}

// ErrMap is returned for a map that names no such thing.
var ErrMap = errors.New("want name=field with the name prompt, prompts, messages, conversations, request_body, system, output_len, output or id")

func (m *Map) places() map[string]*string {
	return map[string]*string{
		"prompt": &m.Prompt, "prompts": &m.Prompts, "messages": &m.Messages, "conversations": &m.Conversations,
		"request_body": &m.RequestBody, "system": &m.System, "output_len": &m.OutputLen, "output": &m.Output, "id": &m.ID,
	}
}

// ParseMap reads pairs such as prompt=question.
func ParseMap(pairs []string) (Map, error) {
	var m Map
	places := m.places()
	for _, p := range pairs {
		name, field, ok := strings.Cut(p, "=")
		to := places[strings.TrimSpace(name)]
		if !ok || to == nil || strings.TrimSpace(field) == "" {
			return Map{}, fmt.Errorf("%q: %w", p, ErrMap)
		}
		*to = strings.TrimSpace(field)
	}
	n := 0
	for _, s := range []string{m.Prompt, m.Prompts, m.Messages, m.Conversations, m.RequestBody} {
		if s != "" {
			n++
		}
	}
	if n > 1 {
		return Map{}, errors.New("a map names one of prompt, prompts, messages, conversations and request_body")
	}
	return m, nil
}

// The names that fields usually have, the surest first.
var usual = []struct {
	what   string
	fields []string
}{
	{"request_body", []string{"request_body"}},
	{"messages", []string{"messages"}},
	{"conversations", []string{"conversations", "conversation"}},
	{"prompts", []string{"prompts", "turns"}},
	{"prompt", []string{"prompt", "text", "question", "instruction", "query", "input", "content", "text_input"}},
	{"system", []string{"system", "system_prompt"}},
	{"output_len", []string{"output_len", "output_length", "max_tokens", "output_tokens", "completion_tokens"}},
	{"output", []string{"output", "answer", "response", "completion", "target"}},
	{"id", []string{"id", "session_id", "conversation_id"}},
}

// Guess fills in what a map leaves open, by the names that a row's fields have.
// sends is set where the map or a template says what is sent.
func (m Map) guess(r record, sends bool) Map {
	places := m.places()
	sends = sends || m.Prompt+m.Prompts+m.Messages+m.Conversations+m.RequestBody != ""
	for _, u := range usual {
		body := slices.Contains([]string{"request_body", "messages", "conversations", "prompts", "prompt"}, u.what)
		if *places[u.what] != "" || body && sends {
			continue
		}
		for _, name := range u.fields {
			if raw, ok := r.fields[name]; ok && fits(u.what, raw) {
				*places[u.what] = name
				sends = sends || body
				break
			}
		}
	}
	return m
}

// fits reports whether a value can be what its name suggests.
func fits(what string, raw json.RawMessage) bool {
	switch what {
	case "messages", "conversations":
		_, err := messages(raw)
		return err == nil
	case "prompts":
		_, err := texts(raw)
		return err == nil
	case "prompt", "output", "system":
		return len(raw) > 0 && raw[0] == '"'
	case "output_len":
		_, err := length(raw)
		return err == nil
	}
	return true
}

// decoded undoes the string around JSON that a table puts there.
func decoded(raw json.RawMessage) json.RawMessage {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return json.RawMessage(s)
	}
	return raw
}

func texts(raw json.RawMessage) ([]string, error) {
	var out []string
	if err := json.Unmarshal(decoded(raw), &out); err != nil {
		return nil, errors.New("want a list of texts")
	}
	if len(out) == 0 {
		return nil, errEmpty
	}
	return out, nil
}

// messages reads a list in the form of OpenAI (role, content) or ShareGPT
// (from, value).
func messages(raw json.RawMessage) ([]endpoint.Message, error) {
	var list []map[string]json.RawMessage
	if err := json.Unmarshal(decoded(raw), &list); err != nil {
		return nil, errors.New("want a list of messages")
	}
	if len(list) == 0 {
		return nil, errEmpty
	}
	out := make([]endpoint.Message, len(list))
	for i, m := range list {
		if m["from"] == nil || m["value"] == nil {
			whole, err := json.Marshal(m)
			if err == nil {
				err = json.Unmarshal(whole, &out[i])
			}
			if err != nil {
				return nil, fmt.Errorf("message %d: %w", i, err)
			}
			continue
		}
		var from, value string
		if json.Unmarshal(m["from"], &from) != nil || json.Unmarshal(m["value"], &value) != nil {
			return nil, fmt.Errorf("message %d: from and value are no texts", i)
		}
		out[i] = endpoint.Text(role(from), value)
	}
	return out, nil
}

func role(from string) string {
	switch from {
	case "human", "user":
		return "user"
	case "gpt", "chatgpt", "bing", "bard", "assistant", "model":
		return "assistant"
	}
	return from
}

func length(raw json.RawMessage) (int, error) {
	s := strings.TrimSpace(string(decoded(raw)))
	x, err := strconv.ParseFloat(s, 64)
	if err != nil || x < 0 || x > 1<<24 || x != float64(int(x)) {
		return 0, fmt.Errorf("%.20q is no length in tokens", s)
	}
	return int(x), nil
}

// errEmpty marks rows that have nothing to send.
var errEmpty = errors.New("the row is empty")

var placeholder = regexp.MustCompile(`\{\{\s*([^{}]+?)\s*\}\}`)

// A shaper makes conversations of rows.
type shaper struct {
	fields   Map
	template string
	opt      input.Options
}

// shape makes the conversation of a row; number names it where the row does
// not.
func (s *shaper) shape(r record, number int) (*conversation.Conversation, error) {
	c := &conversation.Conversation{ID: fmt.Sprintf("row-%06d", number), Mode: conversation.DeltasWithoutReplies}
	if id, ok := r.text(s.fields.ID); ok && s.fields.ID != "" && id != "" {
		c.ID = id
	}
	if err := s.turns(c, r); err != nil {
		return nil, err
	}
	if text, ok := r.text(s.fields.System); ok && text != "" && s.fields.System != "" && c.Turns[0].Raw == nil {
		c.Turns[0].Messages = append([]conversation.Message{conversation.Text("system", text)}, c.Turns[0].Messages...)
	}
	out, err := s.output(r)
	if err != nil {
		return nil, err
	}
	if last := &c.Turns[len(c.Turns)-1]; out > 0 {
		last.MaxTokens = out
	}
	s.count(c)
	return c, nil
}

func (s *shaper) turns(c *conversation.Conversation, r record) error {
	m := s.fields
	say := func(list ...endpoint.Message) {
		t := conversation.Turn{}
		for _, one := range list {
			t.Messages = append(t.Messages, conversation.Message{Message: one})
		}
		c.Turns = append(c.Turns, t)
	}
	switch {
	case s.template != "":
		text, err := fill(s.template, r)
		if err != nil {
			return err
		}
		say(endpoint.Text("user", text))
	case m.RequestBody != "":
		raw := decoded(r.find(m.RequestBody))
		if len(raw) == 0 || string(raw) == "null" {
			return errEmpty
		}
		t, err := input.RawTurn(raw, s.opt.Counter)
		if err != nil {
			return fmt.Errorf("%s: %w", m.RequestBody, err)
		}
		c.Turns = []conversation.Turn{t}
	case m.Messages != "":
		list, err := messages(r.find(m.Messages))
		if err != nil {
			return fmt.Errorf("%s: %w", m.Messages, err)
		}
		// The last message of an assistant is what is to be answered.
		for len(list) > 1 && list[len(list)-1].Role == "assistant" {
			list = list[:len(list)-1]
		}
		say(list...)
	case m.Conversations != "":
		list, err := messages(r.find(m.Conversations))
		if err != nil {
			return fmt.Errorf("%s: %w", m.Conversations, err)
		}
		return s.dialogue(c, list)
	case m.Prompts != "":
		list, err := texts(r.find(m.Prompts))
		if err != nil {
			return fmt.Errorf("%s: %w", m.Prompts, err)
		}
		for _, text := range list {
			say(endpoint.Text("user", text))
		}
	default:
		text, ok := r.text(m.Prompt)
		if !ok || strings.TrimSpace(text) == "" {
			return errEmpty
		}
		say(endpoint.Text("user", text))
	}
	return nil
}

// dialogue makes a turn of every user message; what the assistant said in the
// record gives the length of the live reply.
func (s *shaper) dialogue(c *conversation.Conversation, list []endpoint.Message) error {
	var waiting []conversation.Message
	for _, m := range list {
		if m.Role == "assistant" && len(c.Turns) > 0 && len(waiting) == 0 {
			c.Turns[len(c.Turns)-1].MaxTokens = s.opt.Counter.Count(m.Plain())
			continue
		}
		waiting = append(waiting, conversation.Message{Message: m})
		if m.Role == "user" {
			c.Turns = append(c.Turns, conversation.Turn{Messages: waiting})
			waiting = nil
		}
	}
	if len(c.Turns) == 0 {
		return errEmpty
	}
	return nil
}

// count sets the length of every prompt.
func (s *shaper) count(c *conversation.Conversation) {
	for i := range c.Turns {
		t := &c.Turns[i]
		for _, m := range t.Messages {
			t.InputTokens += s.opt.Counter.Count(m.Plain())
		}
	}
	s.opt.Synthesis.Outputs(c)
	c.Accumulate()
}

func (s *shaper) output(r record) (int, error) {
	if s.fields.OutputLen != "" {
		raw := r.find(s.fields.OutputLen)
		if raw == nil || string(raw) == "null" || string(raw) == `""` {
			return 0, nil
		}
		n, err := length(raw)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", s.fields.OutputLen, err)
		}
		return n, nil
	}
	if text, ok := r.text(s.fields.Output); ok && s.fields.Output != "" {
		return s.opt.Counter.Count(text), nil
	}
	return 0, nil
}

// fill writes a template: {{field}} is replaced by the row's field.
func fill(template string, r record) (string, error) {
	var missing error
	text := placeholder.ReplaceAllStringFunc(template, func(hole string) string {
		name := placeholder.FindStringSubmatch(hole)[1]
		value, ok := r.text(name)
		if !ok && r.find(name) == nil && missing == nil {
			missing = fmt.Errorf("the template's field %q is not in the row", name)
		}
		return value
	})
	return text, missing
}
