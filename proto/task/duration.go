package task

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/fleetune/fleetune/proto/task/internal/form"
)

// String writes the duration as time.Duration does.
func (d Duration) String() string { return time.Duration(d).String() }

// Set reads a text with units, days among them, or plain seconds: with Type it
// makes a Duration the value of a flag.
func (d *Duration) Set(text string) error {
	value, err := form.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("reading a duration: %w", err)
	}
	*d = Duration(value)
	return nil
}

// Type names the value of a flag.
func (d *Duration) Type() string { return "duration" }

// MarshalJSON writes seconds, exact to the nanosecond.
func (d Duration) MarshalJSON() ([]byte, error) {
	return []byte(form.FormatSeconds(time.Duration(d))), nil
}

// UnmarshalJSON reads seconds or a text with units.
func (d *Duration) UnmarshalJSON(data []byte) error {
	parse, text := form.Seconds, string(data)
	if len(data) > 0 && data[0] == '"' {
		parse = form.ParseDuration
		if err := json.Unmarshal(data, &text); err != nil {
			return fmt.Errorf("decoding a duration: %w", err)
		}
	}
	if text == "null" {
		return nil
	}
	value, err := parse(text)
	if err != nil {
		return fmt.Errorf("decoding a duration: %w", err)
	}
	*d = Duration(value)
	return nil
}
