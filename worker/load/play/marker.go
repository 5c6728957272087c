package play

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

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

// isolation before another target keeps a warm-up's prompts out of
// profiling's way, and leaves profiling's as they are.
const isolation = "warmup_isolation_"

// Isolation says that the target is for warm-up alone, and where it points to.
func (t Target) Isolation() (Target, bool) {
	rest, ok := strings.CutPrefix(string(t), isolation)
	return Target(rest), ok
}

// Isolated marks every prompt of a warm-up alike.
func Isolated(t Target) Marker { return Marker{Text: "[warmup]", Target: t} }

// Own is a marker that no other session of any run has.
func Own(benchmark, session string, t Target) Marker {
	sum := sha256.Sum256([]byte(benchmark + ":" + session))
	return Marker{Text: "[rid:" + hex.EncodeToString(sum[:])[:12] + "]", Target: t}
}

// ParseTarget reads a target; empty means none.
func ParseTarget(s string) (Target, error) {
	rest, isolated := Target(s).Isolation()
	switch t := Target(s); rest {
	case "":
		if !isolated {
			return NoMarker, nil
		}
	case NoMarker:
		if !isolated {
			return t, nil
		}
	case SystemPrefix, SystemSuffix, FirstTurnPrefix, FirstTurnSuffix:
		return t, nil
	}
	return "", fmt.Errorf("cache bust %q: use none, system_prefix, system_suffix, first_turn_prefix or first_turn_suffix, with warmup_isolation_ before it for the warm-up alone", s)
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
