// Package log sets up the log lines of every Fleetune program: for a person on
// a terminal, as JSON anywhere else. There is no global logger; what is made
// here is handed down.
package log

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/rs/zerolog"
)

// timeLayout is RFC 3339 with milliseconds.
const timeLayout = "2006-01-02T15:04:05.000Z07:00"

// Formats of a log.
const (
	Auto    = "auto"
	Console = "console"
	JSON    = "json"
)

// Options say what is logged, and how. The zero value logs from info on, in
// the format that fits the writer.
type Options struct {
	// Level is trace, debug, info (the default), warn, error or disabled.
	Level string
	// Format is auto (the default: console on a terminal, JSON otherwise),
	// console or json.
	Format string
	// Role is the part of the house that speaks: manager, worker, …
	Role string
}

// New makes a logger that writes to w. Colours are used on a terminal only,
// and not when NO_COLOR is set (see no-color.org) or TERM is dumb.
func New(w io.Writer, o Options) (zerolog.Logger, error) {
	level := zerolog.InfoLevel
	if o.Level != "" {
		parsed, err := zerolog.ParseLevel(o.Level)
		if err != nil || parsed == zerolog.NoLevel {
			return zerolog.Nop(), fmt.Errorf("log level %q is none of trace, debug, info, warn, error, disabled", o.Level)
		}
		level = parsed
	}
	terminal := isTerminal(w)
	switch o.Format {
	case Console:
		w = console(w, terminal)
	case Auto, "":
		if terminal {
			w = console(w, true)
		}
	case JSON:
	default:
		return zerolog.Nop(), fmt.Errorf("log format %q is none of %s, %s, %s", o.Format, Auto, Console, JSON)
	}
	logger := zerolog.New(w).Level(level).Hook(stamp{})
	if o.Role != "" {
		logger = logger.With().Str("role", o.Role).Logger()
	}
	return logger, nil
}

// A stamp adds the time. zerolog's own would need its package-level layout
// changed for milliseconds.
type stamp struct{}

// Run implements zerolog.Hook.
func (stamp) Run(e *zerolog.Event, _ zerolog.Level, _ string) {
	e.Str(zerolog.TimestampFieldName, time.Now().Format(timeLayout))
}

func console(w io.Writer, terminal bool) io.Writer {
	colour := terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return zerolog.ConsoleWriter{
		Out:     w,
		NoColor: !colour,
		FormatTimestamp: func(v any) string {
			text, _ := v.(string)
			at, err := time.Parse(timeLayout, text)
			if err != nil {
				return text
			}
			return at.Local().Format("15:04:05.000")
		},
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && (isatty.IsTerminal(f.Fd()) || isatty.IsCygwinTerminal(f.Fd()))
}
