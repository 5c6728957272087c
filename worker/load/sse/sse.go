// Package sse keeps a server-sent event stream with the instants at which its
// bytes arrived. Stamping and parsing are apart: the reader of the socket only
// notes when bytes came, and events are cut out of them when nobody waits.
// The grammar is that of the HTML standard's event streams.
package sse

import (
	"bytes"
	"sort"
)

// An Event is one event of a stream.
type Event struct {
	Name string
	Data []byte
	// At is the stamp of the byte that completed the event.
	At int64
}

// A Stream holds bytes that arrived and yields the events in them. Its zero
// value is ready for use. It is not safe for concurrent use.
type Stream struct {
	buf   []byte
	marks []mark
	pos   int // bytes before pos have been parsed
	base  int // stream offset of buf[0]

	name     string
	data     []byte
	hasData  bool
	begun    bool // the first line's byte-order mark has been looked for
	lastCR   bool // the last line ended in CR, so a LF directly after belongs to it
	dataFree bool // data is our own buffer, not a slice of buf
}

// A mark says that the bytes before end had arrived at an instant.
type mark struct {
	end int
	at  int64
}

// Write appends bytes that arrived at an instant; instants never decrease.
func (s *Stream) Write(p []byte, at int64) {
	if len(p) == 0 {
		return
	}
	s.buf = append(s.buf, p...)
	end := s.base + len(s.buf)
	if n := len(s.marks); n > 0 && s.marks[n-1].at == at {
		s.marks[n-1].end = end
		return
	}
	s.marks = append(s.marks, mark{end: end, at: at})
}

// Pending is the number of bytes not parsed yet.
func (s *Stream) Pending() int { return len(s.buf) - s.pos }

// Next returns the next complete event. Its data is good until the next Write
// or Compact. Comments and events without data are passed over.
func (s *Stream) Next() (Event, bool) {
	for {
		line, ok := s.line()
		if !ok {
			return Event{}, false
		}
		if len(line) > 0 {
			s.field(line)
			continue
		}
		if !s.hasData {
			s.name = ""
			continue
		}
		e := Event{Name: s.name, Data: s.data, At: s.stamp(s.base + s.pos)}
		s.name, s.data, s.hasData, s.dataFree = "", nil, false, false
		return e, true
	}
}

// Open reports whether the stream stopped inside an event: bytes are there
// that no blank line has closed.
func (s *Stream) Open() bool { return s.hasData || s.name != "" || s.Pending() > 0 }

// Compact frees the bytes that have been parsed.
func (s *Stream) Compact() {
	if s.hasData && !s.dataFree {
		s.data = bytes.Clone(s.data)
		s.dataFree = true
	}
	done := s.base + s.pos
	drop := sort.Search(len(s.marks), func(i int) bool { return s.marks[i].end > done })
	s.marks = append(s.marks[:0], s.marks[drop:]...)
	s.buf = append(s.buf[:0], s.buf[s.pos:]...)
	s.base, s.pos = done, 0
}

// line cuts off the next line, which ends in LF, CR or CRLF.
func (s *Stream) line() ([]byte, bool) {
	if s.lastCR && s.pos < len(s.buf) {
		if s.buf[s.pos] == '\n' {
			s.pos++
		}
		s.lastCR = false
	}
	rest := s.buf[s.pos:]
	end := bytes.IndexByte(rest, '\n')
	if cr := bytes.IndexByte(rest[:max(end, 0)], '\r'); end >= 0 && cr >= 0 {
		end = cr
	} else if end < 0 {
		end = bytes.IndexByte(rest, '\r')
	}
	if end < 0 {
		return nil, false
	}
	line := rest[:end]
	s.pos += end + 1
	if rest[end] == '\r' {
		s.lastCR = true
		if s.pos < len(s.buf) {
			if s.buf[s.pos] == '\n' {
				s.pos++
			}
			s.lastCR = false
		}
	}
	if !s.begun {
		s.begun = true
		line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
	}
	return line, true
}

func (s *Stream) field(line []byte) {
	name, value, _ := bytes.Cut(line, []byte{':'})
	value = bytes.TrimPrefix(value, []byte{' '})
	switch string(name) {
	case "data":
		s.addData(value)
	case "event":
		s.name = string(value)
	}
}

func (s *Stream) addData(value []byte) {
	if !s.hasData {
		s.data, s.hasData = value, true
		return
	}
	if !s.dataFree {
		s.data = bytes.Clone(s.data)
		s.dataFree = true
	}
	s.data = append(append(s.data, '\n'), value...)
}

// stamp returns the instant at which the bytes before offset had arrived.
func (s *Stream) stamp(offset int) int64 {
	i := sort.Search(len(s.marks), func(i int) bool { return s.marks[i].end >= offset })
	if i == len(s.marks) {
		return 0
	}
	return s.marks[i].at
}
