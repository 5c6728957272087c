package transcript

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/fleetune/fleetune/worker/load/token"
)

var reader = Reader{Counter: token.Bytes{}, Text: 10}

// raw is the line of a request of a session at an instant.
func raw(session string, at int, payload, replies string) string {
	return fmt.Sprintf(`{"metadata":{"x_correlation_id":%q,"conversation_id":"c","turn_index":%d,"request_start_ns":%d,"benchmark_phase":"profiling"},"payload":%s,"status":200,"responses":%s,"error":null}`,
		session, at, at, payload, replies)
}

func chat(texts ...string) string {
	list := []map[string]string{}
	for i, text := range texts {
		list = append(list, map[string]string{"role": []string{"user", "assistant"}[i%2], "content": text})
	}
	out, err := json.Marshal(map[string]any{"messages": list})
	if err != nil {
		panic(err)
	}
	return string(out)
}

// A prompt keeps what it begins with as the one before, and no more; what it
// keeps and what is new are all of it.
func TestTurnsAreComparedWithTheOneBefore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "aa", "aaa", "aaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaab"}), 1, 5)
		prompts := rapid.SliceOfN(words, 1, 5).Draw(t, "prompts")
		var lines []string
		for i, p := range prompts {
			lines = append(lines, raw("s", i+1, chat(p...), "[]"))
		}
		order := rapid.Permutation(lines).Draw(t, "order of ends")
		got, err := reader.Read(strings.NewReader(strings.Join(order, "\n")))
		require.NoError(t, err)
		require.Len(t, got, 1)
		for i := range got[0].Turns {
			x := &got[0].Turns[i]
			kept := 0
			if i > 0 {
				for kept < min(len(prompts[i]), len(prompts[i-1])) && prompts[i][kept] == prompts[i-1][kept] {
					kept++
				}
				require.Equal(t, len(prompts[i-1])-kept, x.Dropped)
			}
			require.Equal(t, kept, x.Kept)
			require.Len(t, x.New, len(prompts[i])-kept)
			tokens := x.KeptTokens
			for _, m := range x.New {
				tokens += m.Tokens
			}
			require.Equal(t, x.Tokens, tokens)
		}
	})
}

func TestBodiesOfEveryEndpoint(t *testing.T) {
	stream := func(data ...string) string {
		var out []string
		for _, d := range data {
			out = append(out, fmt.Sprintf(`{"perf_ns":1,"packets":[{"name":"data","value":%q}]}`, d))
		}
		return "[" + strings.Join(out, ",") + "]"
	}
	for _, c := range []struct {
		payload, replies string
		roles            []string
		text, reply      string
	}{
		{chat("hello"), stream(`{"choices":[{"delta":{"content":"good "}}]}`, `{"choices":[{"delta":{"content":"day"}}]}`, "[DONE]", "no JSON"), []string{"user"}, "hello", "good day"},
		{`{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"u"}}]}],"tools":[{"name":"x"}]}`, "[]", []string{"tools", "user"}, `[{"name":"`, ""},
		{`{"messages":[{"role":"assistant","content":null,"tool_calls":[1]}]}`, `[{"perf_ns":1,"text":"{\"choices\":[{\"message\":{\"content\":\"yes\"}}]}"}]`, []string{"assistant"}, "[1]", "yes"},
		{`{"prompt":"once"}`, stream(`{"choices":[{"text":"upon"}]}`), []string{"prompt"}, "once", "upon"},
		{`{"input":"once","instructions":"be brief"}`, "[]", []string{"instructions", "input"}, "be brief", ""},
		{`{"input":[{"role":"user","content":"a"}]}`, "[]", []string{"user"}, "a", ""},
		{`{"query":"q","documents":["d","e"]}`, "[]", []string{"query", "document", "document"}, "q", ""},
		{`{}`, "[]", nil, "", ""},
	} {
		got, err := reader.Read(strings.NewReader(raw("s", 1, c.payload, c.replies)))
		require.NoError(t, err, c.payload)
		turn := got[0].Turns[0]
		var roles []string
		for _, m := range turn.New {
			roles = append(roles, m.Role)
		}
		require.Equal(t, c.roles, roles, c.payload)
		if c.roles != nil {
			require.Equal(t, c.text, turn.New[0].Text, c.payload)
		}
		if c.reply == "" {
			require.Nil(t, turn.Reply, c.payload)
		} else {
			require.Equal(t, c.reply, turn.Reply.Text, c.payload)
		}
	}
}

func TestSessionsAreInTheOrderTheyBegan(t *testing.T) {
	text := strings.Join([]string{raw("late", 9, chat("x"), "[]"), raw("early", 5, chat("x"), "[]"), "", raw("early", 2, chat("ééééééééééé"), "[]")}, "\n")
	got, err := reader.Read(strings.NewReader(text))
	require.NoError(t, err)
	require.Equal(t, []string{"early", "late"}, []string{got[0].Session, got[1].Session})
	require.Equal(t, []int{2, 5}, []int{got[0].Turns[0].Index, got[0].Turns[1].Index})
	require.Equal(t, Message{Role: "user", Tokens: 6, Text: strings.Repeat("é", 10), Cut: 1}, got[0].Turns[0].New[0], "cut between characters")
}

func TestInputsBeforeAnythingWasSent(t *testing.T) {
	got, err := reader.Read(strings.NewReader(`{"data": [{"session_id":"s","payloads":[` + chat("a") + `,` + chat("a", "b", "c") + `]},{"session_id":"none","payloads":[]}]}`))
	require.NoError(t, err)
	require.Len(t, got, 1)
	require.Equal(t, 1, got[0].Turns[1].Kept)
	require.Len(t, got[0].Turns[1].New, 2)
}

func TestWhatIsNoTranscript(t *testing.T) {
	for text, says := range map[string]string{
		"":                                   "no request in it",
		`{"data": []}`:                       "no request in it",
		`{"data": [{"payloads":[5]}]}`:       "payloads[0]",
		"{}":                                 "--export-level raw",
		raw("s", 1, chat("a"), "[]") + "\n{": "line 2",
		raw("s", 1, "5", "[]"):               "line 1: reading a request's body",
	} {
		_, err := reader.Read(strings.NewReader(text))
		require.ErrorContains(t, err, says, text)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(raw("s", 1, chat("a", "b"), "[]") + "\n" + raw("s", 2, chat("a", "c"), "[]")))
	f.Add([]byte(`{"data": [{"session_id":"s","payloads":[` + chat("a") + `]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := reader.Read(strings.NewReader(string(data)))
		if err != nil {
			return
		}
		require.NotEmpty(t, all)
		for _, c := range all {
			require.NotEmpty(t, c.Turns)
			require.True(t, slices.IsSortedFunc(c.Turns, func(a, b Turn) int { return int(min(1, max(-1, a.start-b.start))) }))
		}
	})
}
