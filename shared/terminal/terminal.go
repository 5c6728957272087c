// Package terminal writes for people: tables that fit the width, colours only
// where they are wanted, durations and numbers as one says them. Whatever came
// from outside passes through Clean, so that no name or log line steers the
// terminal.
package terminal

import (
	"io"
	"os"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mattn/go-runewidth"
	"golang.org/x/term"
)

// A Screen is where output goes.
type Screen struct {
	io.Writer
	// Width in columns; 0 where lines may be of any length.
	Width int
	// Live says that lines can be drawn again: a terminal.
	Live bool
	// Colour says that colours are wanted.
	Colour bool
}

// Open looks at a file and the environment: a terminal has a width and
// colours, unless NO_COLOR is set or TERM is dumb; anything else has neither.
// COLUMNS, where set, is the width in any case.
func Open(f *os.File, getenv func(string) string) Screen {
	s := Screen{Writer: f}
	if term.IsTerminal(int(f.Fd())) {
		s.Live = getenv("TERM") != "dumb"
		s.Colour = s.Live && getenv("NO_COLOR") == ""
		s.Width = 80
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
			s.Width = width
		}
	}
	if width, err := strconv.Atoi(getenv("COLUMNS")); err == nil && width > 0 {
		s.Width = width
	}
	return s
}

// Asks says whether somebody can be asked: what is read comes from a terminal.
func Asks(in io.Reader) bool {
	f, ok := in.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Clean makes text from outside safe to print on one line: control characters,
// escapes and marks that turn the writing direction become a replacement sign,
// line ends and tabs a blank.
func Clean(s string) string { return clean(s, false) }

// CleanText is Clean for text of several lines: line ends and tabs stay.
func CleanText(s string) string { return clean(s, true) }

func clean(s string, lines bool) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			if lines {
				return r
			}
			return ' '
		case r == '\r':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), r == '\u2028', r == '\u2029':
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(s, string(utf8.RuneError)))
}

// Width is how many columns text without escapes takes.
func Width(s string) int { return runewidth.StringWidth(s) }

// Cut shortens text to a number of columns, with a sign that it did.
func Cut(s string, width int) string {
	if Width(s) <= width {
		return s
	}
	return runewidth.Truncate(s, max(width, 1), "…")
}

// Wrap breaks text between words into lines of a number of columns at most. A
// word that is longer is broken too, so that nothing is lost.
func Wrap(s string, width int) []string {
	width = max(width, 2) // the widest characters take two columns
	if Width(s) <= width {
		return []string{s}
	}
	var lines []string
	line := ""
	for _, word := range strings.Fields(s) {
		if line != "" && Width(line)+1+Width(word) <= width {
			line += " " + word
			continue
		}
		if line != "" {
			lines = append(lines, line)
		}
		for Width(word) > width {
			head := runewidth.Truncate(word, width, "")
			lines, word = append(lines, head), word[len(head):]
		}
		line = word
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

// A Style is how a piece of text looks.
type Style string

// The styles, as the codes of "select graphic rendition" (ECMA-48).
const (
	Plain  Style = ""
	Bold   Style = "1"
	Dim    Style = "2"
	Red    Style = "31"
	Green  Style = "32"
	Yellow Style = "33"
	Cyan   Style = "36"
)

// Paint gives text a style where colours are wanted.
func (s Screen) Paint(style Style, text string) string {
	if !s.Colour || style == Plain || text == "" {
		return text
	}
	return "\x1b[" + string(style) + "m" + text + "\x1b[0m"
}

// StatusStyle is the style of a task's, experiment's or worker's status.
func StatusStyle(status string) Style {
	switch status {
	case "success", "completed", "online", "ok":
		return Green
	case "failed", "lost", "missing", "quarantined":
		return Red
	case "running":
		return Cyan
	case "cancelled", "paused", "draining", "waiting", "foreign":
		return Yellow
	case "left", "queued":
		return Dim
	}
	return Plain
}
