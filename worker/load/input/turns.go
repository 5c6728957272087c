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
	SessionID   string                     `json:"session_id"`
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
	MaxTokens   int                        `json:"max_tokens"`
	Output      int                        `json:"output_length"`
	Timestamp   *float64                   `json:"timestamp"`
	Delay       *float64                   `json:"delay"`
	Model       string                     `json:"model"`
	Extra       map[string]json.RawMessage `json:"extra"`
	RequestBody json.RawMessage            `json:"request_body"`
}

// pauses reads when a turn is sent, in ms: at an instant of its own, or so long
// after the end of the turn before.
func pauses(t *conversation.Turn, timestamp, delay *float64) error {
	var errs []error
	read := func(name string, x *float64) (d time.Duration) {
		if x != nil {
			var err error
			if d, err = span(*x, time.Millisecond); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", name, err))
			}
		}
		return d
	}
	if at := read("timestamp", timestamp); timestamp != nil {
		t.At = &at
	}
	t.Delay = read("delay", delay)
	return errors.Join(errs...)
}

// sessionLine is a multi_turn line.
type sessionLine struct {
	SessionID string     `json:"session_id"`
	Turns     []turnLine `json:"turns"`
}

// loadTurns reads single_turn, multi_turn and raw_payload lines.
func loadTurns(w *Workload, f File, opt Options) error {
	return eachLine(f, func(_ int, line []byte) error {
		c := &conversation.Conversation{ID: fmt.Sprintf("line-%06d", w.Rows), Mode: conversation.DeltasWithoutReplies}
		w.Rows++
		var err error
		switch opt.Format {
		case RawPayload:
			err = loadRaw(c, line, opt)
		case MultiTurn:
			err = loadSession(c, line, opt)
		default:
			err = loadSingle(c, line, opt)
		}
		if err != nil {
			return err
		}
		w.Conversations = append(w.Conversations, c)
		return nil
	})
}

func loadRaw(c *conversation.Conversation, line []byte, opt Options) error {
	t, err := RawTurn(append(json.RawMessage{}, line...), opt.Counter)
	c.Turns = []conversation.Turn{t}
	return err
}

func loadSingle(c *conversation.Conversation, line []byte, opt Options) error {
	var l turnLine
	if err := strict(line, &l); err != nil {
		return err
	}
	if l.SessionID != "" {
		c.ID = l.SessionID
	}
	t, err := l.turn(opt)
	c.Turns = []conversation.Turn{t}
	return err
}

func loadSession(c *conversation.Conversation, line []byte, opt Options) error {
	var l sessionLine
	if err := strict(line, &l); err != nil {
		return err
	}
	if len(l.Turns) == 0 {
		return errors.New("turns must not be empty")
	}
	if l.SessionID != "" {
		c.ID = l.SessionID
	}
	var errs []error
	for i := range l.Turns {
		t, err := l.Turns[i].turn(opt)
		if err != nil {
			errs = append(errs, fmt.Errorf("turns[%d]: %w", i, err))
		}
		c.Turns = append(c.Turns, t)
	}
	return errors.Join(errs...)
}

func (l *turnLine) turn(opt Options) (conversation.Turn, error) {
	t := conversation.Turn{Model: l.Model, Extra: l.Extra, MaxTokens: max(l.MaxTokens, l.Output)}
	if l.Timestamp != nil && l.Delay != nil {
		return t, errors.New("timestamp and delay exclude each other")
	}
	if l.MaxTokens < 0 || l.Output < 0 || l.MaxTokens > 0 && l.Output > 0 {
		return t, errors.New("want one of max_tokens and output_length, not below 0")
	}
	if err := pauses(&t, l.Timestamp, l.Delay); err != nil {
		return t, err
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
	whole, err := RawTurn(raw, opt.Counter)
	if err != nil {
		return fmt.Errorf("request_body: %w", err)
	}
	t.Raw, t.InputTokens = whole.Raw, whole.InputTokens
	t.MaxTokens = max(t.MaxTokens, whole.MaxTokens)
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
	if l.Prompt != nil && texts != nil {
		return endpoint.Message{}, errors.New("prompt is another name of text: want one of them")
	}
	if l.Prompt != nil {
		texts = []string{*l.Prompt}
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
