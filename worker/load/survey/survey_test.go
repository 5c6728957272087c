package survey

import (
	"bytes"
	"compress/gzip"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetune/fleetune/worker/load/conversation"
	"github.com/fleetune/fleetune/worker/load/input"
	"github.com/fleetune/fleetune/worker/load/tree"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func at(seconds float64) *time.Duration {
	d := time.Duration(seconds * float64(time.Second))
	return &d
}

func TestArrivalsAndPrefixes(t *testing.T) {
	one := func(seconds float64, in, out, blocks, hits int) *conversation.Conversation {
		return &conversation.Conversation{Turns: []conversation.Turn{{At: at(seconds), InputTokens: in, MaxTokens: out, CacheBlocks: blocks, CacheHits: hits}}}
	}
	s := Of(&input.Workload{Format: input.Mooncake, Conversations: []*conversation.Conversation{
		one(10, 100, 5, 4, 0), one(0, 300, 0, 4, 2), one(10.5, 200, 15, 8, 6), one(10.9, 200, 15, 0, 0), one(11, 200, 15, 0, 0)}})
	require.Equal(t, 5, s.Requests)
	require.Equal(t, 1, s.OpenEnded)
	require.Equal(t, 200.0, s.Input.Avg)
	require.Equal(t, 12.5, s.Output.Avg)
	require.Equal(t, &Prefix{Blocks: 16, Hits: 8, Share: 0.5}, s.Prefix)
	require.Equal(t, 11.0, s.Arrivals.Span)
	require.InDelta(t, 4/11.0, s.Arrivals.Rate, 1e-12)
	require.Equal(t, 3, s.Arrivals.Peak, "a second from 10 to 11 holds three, its end left out")
	require.Nil(t, s.Delay)
	require.Nil(t, s.Agents)
}

func TestTreesAreSurveyed(t *testing.T) {
	secs := func(x ...float64) (out []time.Duration) {
		for _, s := range x {
			out = append(out, *at(s))
		}
		return out
	}
	tr := &tree.Tree{Timed: true, Branches: []tree.Branch{{Join: tree.NoJoin, Children: []int{1}}}, Streams: []tree.Stream{
		{Conv: &conversation.Conversation{Turns: make([]conversation.Turn, 2)}, Starts: secs(0, 10), Ends: secs(6, 12)},
		{Conv: &conversation.Conversation{Turns: make([]conversation.Turn, 1)}, Depth: 1, Starts: secs(5), Ends: secs(10)},
	}}
	s := Of(&input.Workload{Trees: []*tree.Tree{tr}})
	require.Equal(t, 3, s.Requests)
	require.Nil(t, s.Arrivals)
	require.Equal(t, 1, s.Agents.Background)
	require.Equal(t, 1, s.Agents.Depth)
	require.Equal(t, 5.0, s.Agents.Gap.Avg)
	require.Equal(t, 10.0, s.Agents.Span.Max)
	require.Equal(t, 2.0, s.Agents.InFlight.Max, "what ends as another starts is not in flight with it")
}

func TestTheTableOfATrace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "trace.jsonl.gz")
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte(`{"timestamp":0,"input_length":1030,"output_length":5,"hash_ids":[1,2,3]}
{"timestamp":400,"input_length":1024,"output_length":20,"hash_ids":[1,2]}
{"timestamp":2000,"input_length":1500,"output_length":7,"hash_ids":[1,4,5]}
`))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o600))
	w, err := input.Load(path, input.Options{})
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, Of(w).Write(&out))
	golden := filepath.Join("testdata", "table.txt")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(golden, out.Bytes(), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), out.String())
}
