package play

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/fleetune/fleetune/worker/load/endpoint"
)

// Target says where a marker goes into a prompt.
type Target string

// The targets. Where a prompt has no system message, the system targets mean
// the first user message.
const (
	NoMarker        Target = "none"
	SystemPrefix    Target = "system_prefix"
	SystemSuffix    Target = "system_suffix"
	FirstTurnPrefix Target = "first_turn_prefix"
	FirstTurnSuffix Target = "first_turn_suffix"
)

// ParseTarget reads a target; empty means none.
func ParseTarget(s string) (Target, error) {
	switch t := Target(s); t {
	case "":
		return NoMarker, nil
	case NoMarker, SystemPrefix, SystemSuffix, FirstTurnPrefix, FirstTurnSuffix:
		return t, nil
	}
	return "", fmt.Errorf("cache bust %q: use none, system_prefix, system_suffix, first_turn_prefix or first_turn_suffix", s)
}

// A Marker is a text that keeps a server's prefix cache from knowing a prompt
// of another tree. Its zero value changes nothing.
type Marker struct {
	Text   string
	Target Target
}

// Apply returns the messages with the marker; the given ones stay as they are.
func (m Marker) Apply(messages []endpoint.Message) []endpoint.Message {
	if m.Text == "" || m.Target == NoMarker || m.Target == "" {
		return messages
	}
	role := func(want string) int {
		return slices.IndexFunc(messages, func(x endpoint.Message) bool { return x.Role == want })
	}
	at := -1
	if m.Target == SystemPrefix || m.Target == SystemSuffix {
		at = role("system")
	}
	if at < 0 {
		at = role("user")
	}
	if at < 0 {
		return messages
	}
	out := slices.Clone(messages)
	out[at].Content = m.into(out[at].Content)
	return out
}

// into puts the marker before or after content: text, or a list of parts.
func (m Marker) into(content json.RawMessage) json.RawMessage {
	front := m.Target == SystemPrefix || m.Target == FirstTurnPrefix
	text := "\n\n" + m.Text
	if front {
		text = m.Text + "\n\n"
	}
	var plain string
	if json.Unmarshal(content, &plain) == nil {
		if front {
			plain = text + plain
		} else {
			plain += text
		}
		raw, _ := json.Marshal(plain) // a string always encodes
		return raw
	}
	var parts []json.RawMessage
	if json.Unmarshal(content, &parts) != nil {
		return content
	}
	part, _ := json.Marshal(struct { // plain strings always encode
		Type string `json:"type"`
		Text string `json:"text"`
	}{"text", text})
	if front {
		parts = slices.Insert(parts, 0, json.RawMessage(part))
	} else {
		parts = append(parts, part)
	}
	raw, err := json.Marshal(parts)
	if err != nil {
		return content // the parts were valid JSON when they came
	}
	return raw
}
