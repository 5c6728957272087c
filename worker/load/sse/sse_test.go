package sse

import (
	"bytes"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

type flat struct {
	name, data string
	at         int64
}

func read(s *Stream) []flat {
	var out []flat
	for {
		e, ok := s.Next()
		if !ok {
			return out
		}
		out = append(out, flat{e.Name, string(e.Data), e.At})
	}
}

func TestEventsByTheStandard(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want []flat
		open bool
	}{
		"one":              {"data: a\n\n", []flat{{"", "a", 1}}, false},
		"no space":         {"data:a\n\n", []flat{{"", "a", 1}}, false},
		"two spaces":       {"data:  a\n\n", []flat{{"", " a", 1}}, false},
		"crlf":             {"data: a\r\n\r\ndata: b\r\n\r\n", []flat{{"", "a", 1}, {"", "b", 1}}, false},
		"cr":               {"data: a\r\rdata: b\r\r", []flat{{"", "a", 1}, {"", "b", 1}}, false},
		"named":            {"event: x\ndata: a\n\n", []flat{{"x", "a", 1}}, false},
		"joined":           {"data: a\ndata: b\n\n", []flat{{"", "a\nb", 1}}, false},
		"comment":          {": ping\n\ndata: a\n\n", []flat{{"", "a", 1}}, false},
		"name lost":        {"event: x\n\ndata: a\n\n", []flat{{"", "a", 1}}, false},
		"byte-order mark":  {"\xef\xbb\xbfdata: a\n\n", []flat{{"", "a", 1}}, false},
		"no colon":         {"data\n\n", []flat{{"", "", 1}}, false},
		"half an event":    {"data: a\n\ndata: b\n", []flat{{"", "a", 1}}, true},
		"half a line":      {"data: a\n\nda", []flat{{"", "a", 1}}, true},
		"unknown fields":   {"id: 4\nretry: 1\nfoo: 2\ndata: a\n\n", []flat{{"", "a", 1}}, false},
		"empty data lines": {"data:\ndata:\n\n", []flat{{"", "\n", 1}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var s Stream
			s.Write([]byte(c.in), 1)
			require.Equal(t, c.want, read(&s))
			require.Equal(t, c.open, s.Open())
		})
	}
}

func TestStampIsThatOfTheCompletingByte(t *testing.T) {
	var s Stream
	s.Write([]byte("data: a\n"), 10)
	s.Write([]byte("\ndata: b"), 20)
	s.Write([]byte("\n\ndata: c\n\n"), 30)
	require.Equal(t, []flat{{"", "a", 20}, {"", "b", 30}, {"", "c", 30}}, read(&s))
}

// However the bytes are cut and whenever the stream is parsed and compacted,
// the events are the same and their stamps never go back.
func TestCutsDoNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		piece := rapid.SampledFrom([]string{"data: x\n", "data:", "y", "\n", "\r", "\r\n", "event: e\n", ": c\n", "\n\n"})
		whole := bytes.Join(toBytes(rapid.SliceOfN(piece, 0, 30).Draw(t, "pieces")), nil)
		var once Stream
		once.Write(whole, 1)
		want := read(&once)

		var s Stream
		var got []flat
		for at := int64(1); len(whole) > 0; at++ {
			n := rapid.IntRange(1, len(whole)).Draw(t, "cut")
			s.Write(whole[:n], at)
			whole = whole[n:]
			if rapid.Bool().Draw(t, "parse") {
				got = append(got, read(&s)...)
				s.Compact()
			}
		}
		got = append(got, read(&s)...)
		require.True(t, slices.IsSortedFunc(got, func(a, b flat) int { return int(a.at - b.at) }))
		for i := range got {
			got[i].at = 1
		}
		require.Equal(t, want, got)
	})
}

func toBytes(in []string) [][]byte {
	out := make([][]byte, len(in))
	for i, s := range in {
		out[i] = []byte(s)
	}
	return out
}

func FuzzStream(f *testing.F) {
	f.Add([]byte("data: {\"a\":1}\n\ndata: [DONE]\n\n"), 3)
	f.Add([]byte("event: x\r\ndata: a\r\n\r\n"), 1)
	f.Add([]byte("\xef\xbb\xbf:\rdata\r\r"), 2)
	f.Fuzz(func(t *testing.T, in []byte, cut int) {
		var whole, parts Stream
		whole.Write(in, 1)
		want := read(&whole)
		if cut < 1 {
			cut = 1
		}
		var got []flat
		for rest := in; len(rest) > 0; {
			n := min(cut, len(rest))
			parts.Write(rest[:n], 1)
			rest = rest[n:]
			got = append(got, read(&parts)...)
			parts.Compact()
		}
		require.Equal(t, want, got)
	})
}
