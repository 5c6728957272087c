package input

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/fleetune/fleetune/worker/load/conversation"
)

// prompt is one of a drawn trace.
type prompt struct {
	ids    []int64
	tokens int
}

const drawnSize = 8

// trace draws prompts as a tree of blocks makes them: an id is the same block
// after the same blocks only, as recorders of traces hash them.
func trace(t *rapid.T) []prompt {
	known := map[string]int64{}
	out := make([]prompt, rapid.IntRange(1, 12).Draw(t, "prompts"))
	for i := range out {
		path := ""
		for range rapid.IntRange(0, 9).Draw(t, "blocks") {
			path += fmt.Sprint(rapid.IntRange(0, 1).Draw(t, "child"), "/")
			if known[path] == 0 {
				known[path] = int64(len(known) + 1)
			}
			out[i].ids = append(out[i].ids, known[path])
		}
		// Some end in a partial block, some go on beyond the last.
		least, most := max(1, (len(out[i].ids)-1)*drawnSize+1), len(out[i].ids)*drawnSize+rapid.SampledFrom([]int{0, 0, 5}).Draw(t, "tail")
		out[i].tokens = rapid.IntRange(least, max(least, most)).Draw(t, "tokens")
	}
	return out
}

func workloadOf(prompts []prompt) *Workload {
	w := &Workload{Format: Mooncake}
	for i, p := range prompts {
		c := &conversation.Conversation{ID: fmt.Sprint("c", i), Turns: make([]conversation.Turn, 1)}
		w.Conversations = append(w.Conversations, c)
		w.hashes = append(w.hashes, hashed{conv: c, ids: slices.Clone(p.ids), size: drawnSize, tokens: p.tokens, seed: 1, own: conversation.Number(2, int64(i))})
	}
	return w
}

// sharedBlocks is how many blocks a prompt has in common with any other.
func sharedBlocks(all []prompt, i int) (n int) {
	for k := range all {
		if k != i {
			n = max(n, common(all[i].ids, all[k].ids))
		}
	}
	return n
}

func TestMultipliedPrompts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before := trace(t)
		prefix := rapid.SampledFrom([]float64{0, 0.3, 0.5, 1, 1.15, 1.5, 2, 3}).Draw(t, "prefix")
		own := rapid.SampledFrom([]float64{0, 0.4, 1, 2.5}).Draw(t, "own")
		w := workloadOf(before)
		s := Synthesis{PrefixLength: &prefix, PromptLength: &own}
		if !slices.ContainsFunc(before, func(p prompt) bool { return len(p.ids) > 0 }) {
			require.ErrorIs(t, w.synthesize(&s, 1), ErrNoPrefixes)
			return
		}
		require.NoError(t, w.synthesize(&s, 1))
		longer := func(blocks int) int { return int(prefix*float64(blocks) + 1e-9) }
		for i := range before {
			h := &w.hashes[i]
			require.NoError(t, h.check(), "what comes out is a prompt like any other")
			h.fill()
			require.Equal(t, h.tokens, promptTokens(&h.conv.Turns[0]))
			// What two prompts shared grows by the rule; nothing else is shared.
			for k := range i {
				require.Equal(t, longer(common(before[i].ids, before[k].ids)), common(h.ids, w.hashes[k].ids))
			}
			// The length is that of both parts.
			n := sharedBlocks(before, i)
			in := min(n*drawnSize, before[i].tokens)
			want := max(0, longer(n)*drawnSize-(n*drawnSize-in)) + int(math.Round(own*float64(before[i].tokens-in)))
			require.Equal(t, max(1, want), h.tokens)
		}
	})
}

func TestMultipliersOfOneChangeNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before := trace(t)
		before = append(before, prompt{[]int64{1 << 40}, 3}) // there is something with blocks
		one := 1.0
		w := workloadOf(before)
		require.NoError(t, w.synthesize(&Synthesis{PrefixLength: &one, PromptLength: &one, Roots: 1}, 1))
		for i, p := range before {
			require.Equal(t, p.tokens, w.hashes[i].tokens)
			require.True(t, slices.Equal(p.ids, w.hashes[i].ids))
		}
	})
}

// Each tree of prefixes holds what was shared among its prompts, and two have
// nothing in common.
func TestPrefixRoots(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before := append(trace(t), prompt{[]int64{1 << 40}, 3})
		roots := rapid.IntRange(2, 4).Draw(t, "roots")
		w := workloadOf(before)
		require.NoError(t, w.synthesize(&Synthesis{Roots: roots}, 7))
		tree := func(i int) uint64 {
			return conversation.Seed(7, "prefix roots", w.hashes[i].conv.ID) % uint64(roots)
		}
		for i := range before {
			require.Equal(t, before[i].tokens, w.hashes[i].tokens)
			for k := range i {
				want := 0
				if tree(i) == tree(k) {
					want = common(before[i].ids, before[k].ids)
				}
				require.Equal(t, want, common(w.hashes[i].ids, w.hashes[k].ids))
			}
		}
	})
}

// The turns of a session stay in one tree, and each tree has its share.
func TestPrefixRootsOfATrace(t *testing.T) {
	var b strings.Builder
	for i := range 400 {
		fmt.Fprintf(&b, `{"session_id":"s%d","input_length":20,"output_length":9,"hash_ids":[1,2],"timestamp":%d}`+"\n", i/2, i)
	}
	one, err := Decode([]File{{"in", []byte(b.String())}}, Options{BlockSize: 10, WholePrompts: true})
	require.NoError(t, err)
	four, err := Decode([]File{{"in", []byte(b.String())}}, Options{BlockSize: 10, WholePrompts: true, Synthesis: Synthesis{Roots: 4}})
	require.NoError(t, err)
	misses := func(w *Workload) (n int) {
		for _, c := range w.Conversations {
			for _, x := range c.Turns {
				n += x.CacheBlocks - x.CacheHits
			}
		}
		return n
	}
	require.Equal(t, 2, misses(one))
	require.Equal(t, 8, misses(four), "every tree is met once")
	seen := map[uint64]int{}
	for _, c := range four.Conversations {
		first := c.Turns[0].Messages[0].Fill[0].Seed
		require.Equal(t, first, c.Turns[1].Messages[0].Fill[0].Seed)
		seen[first]++
	}
	require.Len(t, seen, 4)
	for _, n := range seen {
		require.InDelta(t, 50, n, 25)
	}
	require.Contains(t, four.Notes[0], "4 trees of prefixes")
}

// Replies are multiplied, then bounded, and turns that add to what was said
// count them at their new length.
func TestMultipliedReplies(t *testing.T) {
	double := 2.0
	for _, c := range []struct {
		text string
		want []int // replies, then the length of the last prompt
	}{
		{`{"session_id":"s","input_length":10,"output_length":6}` + "\n" + `{"session_id":"s","input_length":10,"output_length":1}`, []int{9, 2, 29}},
		{`{"session_id":"s","turns":[{"text":"aaaa","max_tokens":4},{"text":"bbbb","max_tokens":5}]}`, []int{8, 9, 10}},
		{`{"session_id":"s","turns":[{"messages":[{"role":"user","content":"aaaa"}],"max_tokens":4},{"messages":[{"role":"user","content":"bbbb"}]}]}`, []int{8, 0, 10}},
		{`{"request_body":{"prompt":"aaaa","max_tokens":4}}`, []int{4, 1}},
	} {
		w, err := Decode([]File{{"in", []byte(c.text)}}, Options{Synthesis: Synthesis{OutputLength: &double, MaxOutput: 9}})
		require.NoError(t, err)
		turns := w.All()[0].Turns
		var got []int
		for _, x := range turns {
			got = append(got, x.MaxTokens)
		}
		require.Equal(t, c.want, append(got, turns[len(turns)-1].InputTokens), c.text)
	}
}

func TestMultipliersThatAreRefused(t *testing.T) {
	bad, fine := math.NaN(), 2.0
	err := (&Synthesis{PrefixLength: &bad, PromptLength: &fine, Roots: -1, MaxOutput: -1}).Check()
	require.ErrorContains(t, err, "prefix-len")
	require.ErrorContains(t, err, "prefix-root")
	require.ErrorContains(t, err, "longest output")
	require.NotContains(t, err.Error(), "prompt-len")

	_, err = Decode([]File{{"in", []byte(`{"text_input":"a"}`)}}, Options{Synthesis: Synthesis{Roots: 2}})
	require.ErrorIs(t, err, ErrNoPrefixes)
	huge := 1e4
	_, err = Decode([]File{{"in", []byte(`{"session_id":"s","input_length":16000000}`)}}, Options{Synthesis: Synthesis{PromptLength: &huge}})
	require.ErrorContains(t, err, "s: turn 0: a prompt of")
}
