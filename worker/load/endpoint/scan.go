package endpoint

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// Streams of chat and completions carry one small object a token, and reading
// them is most of what a streamed token costs. scan reads such an object in
// one pass: it takes the members that matter and steps over the rest. Anything
// it is not sure of it leaves to the standard decoder, whose answer it never
// contradicts; a fuzz test holds the two against each other.
//
// It reports false when the decoder has to look.
func scan(data []byte, d *Delta) bool {
	s := scanner{b: data}
	ok := s.object(func(name []byte) bool {
		switch string(name) {
		case "choices":
			return s.array(func() bool { return s.choice(d) })
		case "usage":
			if s.null() {
				return true
			}
			var u usage
			if from := s.at; !s.usage(&u) {
				s.at, u = from, usage{}
				if raw, ok := s.skip(); !ok || json.Unmarshal(raw, &u) != nil {
					return false
				}
			}
			counts := u.counts()
			d.Usage = &counts
			return true
		case "id", "object", "created", "model", "system_fingerprint", "service_tier":
			_, ok := s.skip()
			return ok
		}
		return false // an error, a reply of another kind, or an odd spelling
	})
	return ok && s.end()
}

func (s *scanner) choice(d *Delta) bool {
	return s.object(func(name []byte) bool {
		switch string(name) {
		case "delta", "message":
			if s.null() {
				return true
			}
			return s.content(d)
		case "text":
			return s.text(&d.Text)
		case "finish_reason":
			var finish string
			if !s.text(&finish) {
				return false
			}
			if finish != "" {
				d.Finish = finish
			}
			return true
		case "index", "logprobs", "stop_reason", "token_ids":
			_, ok := s.skip()
			return ok
		}
		return false
	})
}

// content reads a delta. Calls of tools, and both spellings of reasoning at
// once, are the decoder's.
func (s *scanner) content(d *Delta) bool {
	reasoning := false
	return s.object(func(name []byte) bool {
		switch string(name) {
		case "content":
			return s.text(&d.Text)
		case "reasoning_content", "reasoning":
			if reasoning {
				return false
			}
			reasoning = true
			return s.text(&d.Reasoning)
		case "tool_calls":
			return s.null()
		case "role", "refusal":
			_, ok := s.skip()
			return ok
		}
		return false
	})
}

// scanner steps through one JSON value.
type scanner struct {
	b  []byte
	at int
}

func (s *scanner) space() {
	for s.at < len(s.b) {
		switch s.b[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return
		}
	}
}

// take steps over c, and the space before it.
func (s *scanner) take(c byte) bool {
	s.space()
	if s.at < len(s.b) && s.b[s.at] == c {
		s.at++
		return true
	}
	return false
}

func (s *scanner) end() bool {
	s.space()
	return s.at == len(s.b)
}

// object calls f at the value of every member. A name that comes twice is
// left to the decoder.
func (s *scanner) object(f func(name []byte) bool) bool {
	if !s.take('{') {
		return false
	}
	if s.take('}') {
		return true
	}
	var seen [16][]byte
	for n := 0; n < len(seen); n++ {
		name, plain := s.str()
		if !plain || !s.take(':') {
			return false
		}
		for _, other := range seen[:n] {
			if bytes.EqualFold(name, other) {
				return false
			}
		}
		seen[n] = name
		if !f(name) {
			return false
		}
		if s.take('}') {
			return true
		}
		if !s.take(',') {
			return false
		}
	}
	return false
}

func (s *scanner) array(f func() bool) bool {
	if s.null() {
		return true
	}
	if !s.take('[') {
		return false
	}
	if s.take(']') {
		return true
	}
	for {
		if !f() {
			return false
		}
		if s.take(']') {
			return true
		}
		if !s.take(',') {
			return false
		}
	}
}

// str steps over a string; plain is false when it has escapes or bytes that
// are not text, or is no string at all.
func (s *scanner) str() (content []byte, plain bool) {
	if !s.take('"') {
		return nil, false
	}
	from := s.at
	ascii := true
	for ; s.at < len(s.b); s.at++ {
		switch c := s.b[s.at]; {
		case c == '"':
			content = s.b[from:s.at]
			s.at++
			return content, ascii || utf8.Valid(content)
		case c == '\\' || c < 0x20:
			return nil, false
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return nil, false
}

// text appends a string, or nothing for null.
func (s *scanner) text(to *string) bool {
	if s.null() {
		return true
	}
	from := s.at
	if content, plain := s.str(); plain {
		*to += string(content)
		return true
	}
	s.at = from
	raw, ok := s.skip() // a string with escapes
	if !ok {
		return false
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return false
	}
	*to += text
	return true
}

func (s *scanner) null() bool {
	s.space()
	if bytes.HasPrefix(s.b[s.at:], []byte("null")) {
		s.at += 4
		return true
	}
	return false
}

// skip steps over a value and returns it. What it cannot be sure of is
// checked by the standard library.
func (s *scanner) skip() ([]byte, bool) {
	s.space()
	from, depth := s.at, 0
	for s.at < len(s.b) {
		switch c := s.b[s.at]; c {
		case '"':
			if !s.quoted() {
				return nil, false
			}
			if depth == 0 {
				return s.valid(from)
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return s.valid(from)
			}
			if depth--; depth == 0 {
				s.at++
				return s.valid(from)
			}
		case ',':
			if depth == 0 {
				return s.valid(from)
			}
		}
		s.at++
	}
	return nil, false
}

// quoted steps over a string that may have escapes.
func (s *scanner) quoted() bool {
	for s.at++; s.at < len(s.b); s.at++ {
		switch s.b[s.at] {
		case '\\':
			s.at++
		case '"':
			s.at++
			return true
		}
	}
	return false
}

func (s *scanner) valid(from int) ([]byte, bool) {
	raw := bytes.TrimRight(s.b[from:s.at], " \t\r\n")
	if len(raw) == 0 {
		return nil, false
	}
	if c := raw[0]; c >= '0' && c <= '9' && len(raw) < 18 && !bytes.ContainsFunc(raw, func(r rune) bool { return r < '0' || r > '9' }) {
		return raw, c != '0' || len(raw) == 1
	}
	if c := raw[0]; c == '"' && !bytes.ContainsFunc(raw[1:len(raw)-1], func(r rune) bool { return r < 0x20 || r == '\\' || r == '"' || r == utf8.RuneError }) {
		return raw, true
	}
	if string(raw) == "null" {
		return raw, true
	}
	return raw, json.Valid(raw)
}
