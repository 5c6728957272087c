package input

import (
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/fleetune/fleetune/worker/load/conversation"
	"github.com/fleetune/fleetune/worker/load/endpoint"
	"github.com/fleetune/fleetune/worker/load/token"
)

// Texts are prompts of a dataset, cut and joined to the lengths of a scenario:
// real words at made-up lengths.
type Texts struct {
	all     []string
	counter token.Counter
}

// NewTexts takes what users say in conversations.
func NewTexts(from []*conversation.Conversation, counter token.Counter) (*Texts, error) {
	if counter == nil {
		counter = token.Bytes{}
	}
	t := &Texts{counter: counter}
	for _, c := range from {
		for i := range c.Turns {
			if text := userText(&c.Turns[i]); text != "" && counter.Count(text) > 0 {
				t.all = append(t.all, text)
			}
		}
	}
	if len(t.all) == 0 {
		return nil, errors.New("the dataset holds no text of users")
	}
	return t, nil
}

// userText is the prompt of a turn: the last message of a user, or of a whole
// request its prompt.
func userText(t *conversation.Turn) string {
	if t.Raw == nil {
		for i := len(t.Messages) - 1; i >= 0; i-- {
			if m := &t.Messages[i]; m.Role == "user" {
				return m.Render().Plain()
			}
		}
		return ""
	}
	var body struct {
		Prompt   json.RawMessage    `json:"prompt"`
		Messages []endpoint.Message `json:"messages"`
	}
	if json.Unmarshal(t.Raw, &body) != nil {
		return ""
	}
	var prompt string
	if json.Unmarshal(body.Prompt, &prompt) == nil && prompt != "" {
		return prompt
	}
	for i := len(body.Messages) - 1; i >= 0; i-- {
		if body.Messages[i].Role == "user" {
			return body.Messages[i].Plain()
		}
	}
	return ""
}

// message makes a message of n tokens, and says of how many if the counter
// cannot be met. The seed says with which text it begins; those after it follow,
// from the first again, until there is enough.
func (t *Texts) message(seed uint64, n int) (conversation.Message, int) {
	at := int(seed % uint64(len(t.all)))
	var b strings.Builder
	for have := 0; have < n; at = (at + 1) % len(t.all) {
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		piece := t.all[at]
		if more := t.counter.Count(piece); have+more > n {
			piece, have = t.cut(piece, n-have), n
		} else {
			have += more
		}
		b.WriteString(piece)
	}
	text, count := t.trim(b.String(), t.all[at], n)
	return conversation.Text("user", text), count
}

// cut returns the longest beginning of a text that is no more than n tokens.
func (t *Texts) cut(text string, n int) string {
	low, high := 0, len(text)
	for low < high {
		mid := (low + high + 1) / 2
		if t.counter.Count(text[:boundary(text, mid)]) <= n {
			low = mid
		} else {
			high = mid - 1
		}
	}
	return text[:boundary(text, low)]
}

// trim makes up for what pieces count otherwise together than alone: it takes
// runes from the end, or adds some, few enough to count the whole each time.
func (t *Texts) trim(text, more string, n int) (string, int) {
	count := t.counter.Count(text)
	for ; count > n && text != ""; count = t.counter.Count(text) {
		text = text[:boundary(text, max(0, len(text)-max(1, count-n)))]
	}
	const steps = 64
	for range steps {
		if count >= n || more == "" {
			break
		}
		_, size := utf8.DecodeRuneInString(more)
		longer := text + more[:size]
		c := t.counter.Count(longer)
		if c > n {
			break
		}
		text, more, count = longer, more[size:], c
	}
	return text, count
}

// boundary is the end of the last whole rune before a place.
func boundary(text string, at int) int {
	for at > 0 && at < len(text) && !utf8.RuneStart(text[at]) {
		at--
	}
	return at
}
