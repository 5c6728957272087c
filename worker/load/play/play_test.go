package play

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetune/fleetune/worker/load/endpoint"
	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/fleetune/fleetune/worker/load/token"
	"github.com/fleetune/fleetune/worker/load/transport"
)

func TestMarkersGoWhereTheyBelong(t *testing.T) {
	with := []endpoint.Message{endpoint.Text("system", "s"), endpoint.Text("user", "u"), endpoint.Text("user", "later")}
	without := with[1:]
	for target, want := range map[Target][2][]string{
		NoMarker:        {{"s", "u", "later"}, {"u", "later"}},
		SystemPrefix:    {{"[m]\n\ns", "u", "later"}, {"[m]\n\nu", "later"}},
		SystemSuffix:    {{"s\n\n[m]", "u", "later"}, {"u\n\n[m]", "later"}},
		FirstTurnPrefix: {{"s", "[m]\n\nu", "later"}, {"[m]\n\nu", "later"}},
		FirstTurnSuffix: {{"s", "u\n\n[m]", "later"}, {"u\n\n[m]", "later"}},
	} {
		for i, messages := range [][]endpoint.Message{with, without} {
			m := Marker{Text: "[m]", Target: target}
			for range 2 { // the given messages stay as they were, so again is the same
				var got []string
				for _, x := range m.Apply(messages) {
					got = append(got, x.Plain())
				}
				require.Equal(t, want[i], got, "%s", target)
			}
		}
		_, err := ParseTarget(string(target))
		require.NoError(t, err)
	}
	_, err := ParseTarget("middle")
	require.ErrorContains(t, err, "middle")
}

func TestMarkersJoinListsOfParts(t *testing.T) {
	in := []endpoint.Message{{Role: "user", Content: json.RawMessage(`[{"type":"image_url","image_url":{"url":"x"}}]`)}}
	out := Marker{Text: "[m]", Target: FirstTurnPrefix}.Apply(in)
	require.JSONEq(t, `[{"type":"text","text":"[m]\n\n"},{"type":"image_url","image_url":{"url":"x"}}]`, string(out[0].Content))
	out = Marker{Text: "[m]", Target: FirstTurnSuffix}.Apply(in)
	require.JSONEq(t, `[{"type":"image_url","image_url":{"url":"x"}},{"type":"text","text":"\n\n[m]"}]`, string(out[0].Content))
	assistant := []endpoint.Message{endpoint.Text("assistant", "a")}
	require.Equal(t, assistant, Marker{Text: "[m]", Target: SystemPrefix}.Apply(assistant))
}

// The server's counts win; the counter stands in where there are none.
func TestCounts(t *testing.T) {
	text := transport.Text{Content: strings.Repeat("four", 6), Reasoning: strings.Repeat("four", 2)}
	fresh := func() *metrics.Record {
		return &metrics.Record{Usage: metrics.NoUsage(), InputTokens: -1, ContentTokens: -1, ReasoningTokens: -1, PlannedTokens: 9}
	}
	r := fresh()
	Count(r, text, token.Bytes{}, false)
	require.Equal(t, [3]int{9, 6, 2}, [3]int{r.InputTokens, r.ContentTokens, r.ReasoningTokens})

	r = fresh()
	r.Usage.Prompt, r.Usage.Completion, r.Usage.Reasoning = 11, 20, 5
	Count(r, text, token.Bytes{}, false)
	require.Equal(t, [3]int{11, 15, 5}, [3]int{r.InputTokens, r.ContentTokens, r.ReasoningTokens})

	r = fresh()
	r.Usage.Completion = 20 // reasoning was seen, but not counted apart
	Count(r, text, token.Bytes{}, false)
	require.Equal(t, [2]int{18, 2}, [2]int{r.ContentTokens, r.ReasoningTokens})

	r = fresh()
	r.Usage.Prompt, r.Usage.Completion = 11, 20
	Count(r, text, token.Bytes{}, true)
	require.Equal(t, [4]int{9, 6, 2, 8}, [4]int{r.InputTokens, r.ContentTokens, r.ReasoningTokens, r.CountedTokens}, "the client's own, as asked")

	r = fresh()
	r.PlannedTokens = 0
	Count(r, transport.Text{}, token.Bytes{}, false)
	require.Equal(t, [2]int{-1, -1}, [2]int{r.InputTokens, r.OutputTokens()})
}

func TestIDsAreUUIDs(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		id := NewID()
		require.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, id)
		require.False(t, seen[id])
		seen[id] = true
	}
}
