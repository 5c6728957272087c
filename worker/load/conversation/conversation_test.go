package conversation

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/fleetune/fleetune/worker/load/endpoint"
)

func plain(messages []endpoint.Message) (out []string) {
	for _, m := range messages {
		out = append(out, m.Role+":"+m.Plain())
	}
	return out
}

func TestModesOfHistory(t *testing.T) {
	turns := []Turn{{Messages: []Message{Text("user", "a")}}, {Messages: []Message{Text("user", "b")}}}
	for mode, want := range map[Mode][]string{
		DeltasWithoutReplies: {"user:a", "assistant:r", "user:b"},
		DeltasWithReplies:    {"user:a", "user:b"},
		Whole:                {"user:b"},
	} {
		h := NewHistory(mode)
		require.Equal(t, []string{"user:a"}, plain(h.Prompt(&turns[0])))
		h.Reply("r")
		require.Equal(t, want, plain(h.Prompt(&turns[1])), "%s", mode)
	}
	h := NewHistory(DeltasWithReplies)
	h.Prompt(&turns[0])
	reset := Turn{Messages: turns[1].Messages, Reset: true}
	require.Equal(t, []string{"user:b"}, plain(h.Prompt(&reset)))
}

// A fork has what was said before it, and nothing of what either says after.
func TestForksGoTheirOwnWay(t *testing.T) {
	say := func(text string) *Turn { return &Turn{Messages: []Message{Text("user", text)}} }
	h := NewHistory(DeltasWithoutReplies)
	h.Prompt(say("a"))
	h.Reply("r")
	f := h.Fork(DeltasWithoutReplies)
	require.Equal(t, []string{"user:a", "assistant:r", "user:mine"}, plain(h.Prompt(say("mine"))))
	require.Equal(t, []string{"user:a", "assistant:r", "user:yours"}, plain(f.Prompt(say("yours"))))
}

func TestOrders(t *testing.T) {
	var all []*Conversation
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		all = append(all, &Conversation{ID: id})
	}
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Int64().Draw(t, "seed")
		for _, order := range []Order{Sequential, Shuffle, Random} {
			one, err := NewDataset(all, order, seed)
			require.NoError(t, err)
			two, err := NewDataset(all, order, seed)
			require.NoError(t, err)
			for pass := range 3 {
				seen := map[string]bool{}
				for i := range all {
					c := one.Next()
					require.Same(t, c, two.Next(), "the same seed gives the same order")
					seen[c.ID] = true
					if order == Sequential {
						require.Same(t, all[i], c, "pass %d", pass)
					}
				}
				if order != Random {
					require.Len(t, seen, len(all), "each once a pass")
				}
			}
		}
	})
	_, err := NewDataset(nil, Sequential, 1)
	require.Error(t, err)
	_, err = ParseOrder("alphabetic")
	require.ErrorContains(t, err, "alphabetic")
}

// Seeds depend on names alone, and names do not run into each other.
func TestSeeds(t *testing.T) {
	require.Equal(t, Seed(1, "a", "b"), Seed(1, "a", "b")) //nolint:testifylint // twice the same
	seen := map[uint64]bool{}
	for _, s := range []uint64{Seed(1, "a", "b"), Seed(1, "ab"), Seed(1, "b", "a"), Seed(2, "a", "b"), Number(5, 1), Number(5, 2), Number(6, 1)} {
		require.False(t, seen[s])
		seen[s] = true
	}
}
