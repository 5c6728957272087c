package input

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/fleetune/fleetune/worker/load/conversation"
	"github.com/fleetune/fleetune/worker/load/endpoint"
)

// turnLine is a single_turn line, or a turn of a multi_turn one.
type turnLine struct {
	SessionID string     `json:"session_id"`
	Turns     []turnLine `json:"turns"`

	Text        *string                    `json:"text"`
	Texts       []string                   `json:"texts"`
	Prompt      *string                    `json:"prompt"`
	Image       *string                    `json:"image"`
	Images      []string                   `json:"images"`
	Audio       *string                    `json:"audio"`
	Audios      []string                   `json:"audios"`
	Video       *string                    `json:"video"`
	Videos      []string                   `json:"videos"`
	Role        string                     `json:"role"`
	Timestamp   *float64                   `json:"timestamp"`
	Delay       *float64                   `json:"delay"`
	MaxTokens   int                        `json:"max_tokens"`
	Output      int                        `json:"output_length"`
	Model       string                     `json:"model"`
	Extra       map[string]json.RawMessage `json:"extra"`
	RequestBody json.RawMessage            `json:"request_body"`
}

// loadTurns reads single_turn, multi_turn and raw_payload lines.
func loadTurns(f File, opt Options) (*Workload, error) {
	w := &Workload{}
	err := eachLine(f, func(_ int, line []byte) error {
		c := &conversation.Conversation{ID: fmt.Sprintf("line-%06d", len(w.Conversations)), Mode: conversation.DeltasWithoutReplies}
		if opt.Format == RawPayload {
			t, err := rawTurn(append(json.RawMessage{}, line...), opt)
			if err != nil {
				return err
			}
			c.Turns = []conversation.Turn{t}
			w.Conversations = append(w.Conversations, c)
			return nil
		}
		var l turnLine
		if err := strict(line, &l); err != nil {
			return err
		}
		turns := []turnLine{l}
		if opt.Format == MultiTurn {
			if turns = l.Turns; len(turns) == 0 {
				return errors.New("turns must not be empty")
			}
		} else if l.Turns != nil {
			return errors.New("a single_turn line has turns; is it multi_turn?")
		}
		if l.SessionID != "" {
			c.ID = l.SessionID
		}
		for i := range turns {
			t, err := turns[i].turn(opt)
			if err != nil {
				return fmt.Errorf("turn %d: %w", i, err)
			}
			c.Turns = append(c.Turns, t)
		}
		w.Conversations = append(w.Conversations, c)
		return nil
	})
	return w, err
}

func (l *turnLine) turn(opt Options) (conversation.Turn, error) {
	t := conversation.Turn{Model: l.Model, Extra: l.Extra, MaxTokens: max(l.MaxTokens, l.Output)}
	if l.Timestamp != nil && l.Delay != nil {
		return t, errors.New("timestamp and delay exclude each other")
	}
	if l.Timestamp != nil {
		at, err := span(*l.Timestamp, time.Millisecond)
		if err != nil {
			return t, fmt.Errorf("timestamp: %w", err)
		}
		t.At = &at
	}
	if l.Delay != nil {
		var err error
		if t.Delay, err = span(*l.Delay, time.Millisecond); err != nil {
			return t, fmt.Errorf("delay: %w", err)
		}
	}
	if l.RequestBody != nil {
		return t, l.rawBody(&t, opt)
	}
	m, err := l.message()
	if err != nil {
		return t, err
	}
	t.Messages = []conversation.Message{{Message: m}}
	t.InputTokens = opt.Counter.Count(m.Plain())
	return t, nil
}

// rawBody takes a whole request, given as an object or as its text.
func (l *turnLine) rawBody(t *conversation.Turn, opt Options) error {
	var text string
	raw := l.RequestBody
	if json.Unmarshal(raw, &text) == nil {
		raw = json.RawMessage(text)
	}
	whole, err := rawTurn(raw, opt)
	if err != nil {
		return fmt.Errorf("request_body: %w", err)
	}
	t.Raw, t.InputTokens = whole.Raw, whole.InputTokens
	return nil
}

type part struct {
	Type  string   `json:"type"`
	Text  string   `json:"text,omitempty"`
	Image *urlPart `json:"image_url,omitempty"`
	Audio *urlPart `json:"audio_url,omitempty"`
	Video *urlPart `json:"video_url,omitempty"`
}

type urlPart struct {
	URL string `json:"url"`
}

// message makes plain text of one text, and a list of parts of anything more.
func (l *turnLine) message() (endpoint.Message, error) {
	texts, err := oneOrMany("text", l.Text, l.Texts)
	if err != nil {
		return endpoint.Message{}, err
	}
	if l.Prompt != nil {
		texts = append(texts, *l.Prompt)
	}
	images, err1 := oneOrMany("image", l.Image, l.Images)
	audios, err2 := oneOrMany("audio", l.Audio, l.Audios)
	videos, err3 := oneOrMany("video", l.Video, l.Videos)
	if err := errors.Join(err1, err2, err3); err != nil {
		return endpoint.Message{}, err
	}
	role := l.Role
	if role == "" {
		role = "user"
	}
	if len(images)+len(audios)+len(videos) == 0 && len(texts) == 1 {
		return endpoint.Text(role, texts[0]), nil
	}
	var parts []part
	for _, s := range texts {
		parts = append(parts, part{Type: "text", Text: s})
	}
	for _, s := range images {
		parts = append(parts, part{Type: "image_url", Image: &urlPart{s}})
	}
	for _, s := range audios {
		parts = append(parts, part{Type: "audio_url", Audio: &urlPart{s}})
	}
	for _, s := range videos {
		parts = append(parts, part{Type: "video_url", Video: &urlPart{s}})
	}
	if len(parts) == 0 {
		return endpoint.Message{}, errors.New("the turn has no content")
	}
	raw, err := json.Marshal(parts)
	return endpoint.Message{Role: role, Content: raw}, err
}

func oneOrMany(name string, one *string, many []string) ([]string, error) {
	if one != nil && many != nil {
		return nil, fmt.Errorf("%s and %ss exclude each other", name, name)
	}
	if one != nil {
		return []string{*one}, nil
	}
	return many, nil
}

// span reads a number of units as a duration.
func span(x float64, unit time.Duration) (time.Duration, error) {
	d := x * float64(unit)
	if !(d >= 0) || d > float64(100*365*24*time.Hour) {
		return 0, fmt.Errorf("%v is no time from 0 to 100 years", x)
	}
	return time.Duration(d), nil
}

// loadShareGPT reads a list of conversations: the first message is the prompt,
// the second one's length the length of the reply.
func loadShareGPT(f File, opt Options) (*Workload, error) {
	var list []struct {
		ID            string `json:"id"`
		Conversations []struct {
			Value string `json:"value"`
		} `json:"conversations"`
	}
	if err := json.Unmarshal(f.Data, &list); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name, err)
	}
	w := &Workload{}
	const least = 4 // shorter prompts and replies say nothing
	for i, entry := range list {
		if len(entry.Conversations) < 2 {
			w.Skipped++
			continue
		}
		prompt, reply := entry.Conversations[0].Value, entry.Conversations[1].Value
		in, out := opt.Counter.Count(prompt), opt.Counter.Count(reply)
		if in < least || out < least || opt.MaxInput > 0 && in > opt.MaxInput {
			w.Skipped++
			continue
		}
		id := entry.ID
		if id == "" {
			id = fmt.Sprintf("entry-%06d", i)
		}
		w.Conversations = append(w.Conversations, &conversation.Conversation{ID: id, Turns: []conversation.Turn{{
			Messages: []conversation.Message{conversation.Text("user", prompt)}, InputTokens: in, MaxTokens: out,
		}}})
	}
	return w, nil
}
