package client

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// maxLine bounds one line of a stream of events, in bytes.
const maxLine = 4 << 20

// errStop ends a stream without an error.
var errStop = errors.New("the stream has ended")

// A message is one server-sent event.
type message struct {
	id, name string
	data     []byte
}

// readMessages calls f for every message until the stream breaks, and alive
// for every line, comments too. It returns f's error, or what broke it; a
// stream that simply ends is io.ErrUnexpectedEOF.
func readMessages(r io.Reader, alive func(), f func(message) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	var m message
	for lines.Scan() {
		alive()
		line := lines.Bytes()
		if len(line) == 0 {
			if m.data != nil {
				if err := f(m); err != nil {
					return err
				}
			}
			m = message{}
			continue
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "id":
			m.id = string(value)
		case "event":
			m.name = string(value)
		case "data":
			if m.data != nil {
				m.data = append(m.data, '\n')
			}
			m.data = append(m.data, value...)
			if m.data == nil {
				m.data = []byte{}
			}
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("reading a stream of events: %w", err)
	}
	return io.ErrUnexpectedEOF
}
