package client

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMessagesAreRead(t *testing.T) {
	var seen []message
	lines := 0
	err := readMessages(strings.NewReader(": beat\n\nid: 7\nevent: task\ndata: {\"a\":\ndata: 1}\n\ndata\n\nevent: nothing\n\nid: 8\r\ndata: cut off"),
		func() { lines++ }, func(m message) error { seen = append(seen, m); return nil })
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Equal(t, []message{{id: "7", name: "task", data: []byte("{\"a\":\n1}")}, {data: []byte{}}}, seen)
	require.Equal(t, 13, lines, "comments show that the stream is alive")
	stop := errors.New("stop")
	require.ErrorIs(t, readMessages(strings.NewReader("data: x\n\n"), func() {}, func(message) error { return stop }), stop)
	require.ErrorContains(t, readMessages(strings.NewReader(strings.Repeat("x", maxLine+1)), func() {}, func(message) error { return nil }), "too long")
}

func FuzzMessages(f *testing.F) {
	f.Add("id: 1\nevent: task\ndata: {}\n\n")
	f.Add(": comment\n\ndata\ndata:\n\n")
	f.Add("id:\ndata: \x00\r\n\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		err := readMessages(strings.NewReader(text), func() {}, func(m message) error {
			if m.data == nil || strings.Contains(m.id+m.name, "\n") {
				t.Fatalf("a message without data, or with a line end: %+v", m)
			}
			return nil
		})
		if err == nil {
			t.Fatal("a stream that ends is always an error")
		}
	})
}
