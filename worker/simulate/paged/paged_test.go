package paged

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Whatever sequences come and go, blocks are neither lost nor made.
func TestBlocksAreNeitherLostNorMade(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const block = 4
		p := New(rapid.IntRange(1, 40).Draw(t, "blocks"), rapid.Bool().Draw(t, "keep"))
		type sequence struct{ blocks []*Block }
		var running []sequence
		t.Repeat(map[string]func(*rapid.T){
			"start": func(t *rapid.T) {
				// Few tokens, so that beginnings are often the same.
				tokens := rapid.SliceOfN(rapid.Uint32Range(0, 1), 1, 40).Draw(t, "tokens")
				hashes := Hashes(tokens, block)
				taken := p.Take(hashes)
				rest, ok := p.Allocate((len(tokens)+block-1)/block - len(taken))
				if !ok {
					p.Free(taken)
					return
				}
				all := slices.Concat(taken, rest)
				for i, h := range hashes {
					p.Fill(all[i], h)
				}
				running = append(running, sequence{all})
			},
			"end": func(t *rapid.T) {
				if len(running) == 0 {
					t.Skip()
				}
				i := rapid.IntRange(0, len(running)-1).Draw(t, "which")
				p.Free(running[i].blocks)
				running = append(running[:i], running[i+1:]...)
			},
			"flush": func(t *rapid.T) {
				require.Equal(t, len(running) == 0, p.Flush())
			},
			"": func(t *rapid.T) {
				held := map[*Block]bool{}
				for _, s := range running {
					for _, b := range s.blocks {
						held[b] = true
					}
				}
				require.Equal(t, len(held), p.Used())
				require.GreaterOrEqual(t, p.Available(), 0)
			},
		})
	})
}

func TestTheSameBeginningIsFoundAgain(t *testing.T) {
	p := New(8, true)
	first := []uint32{1, 2, 3, 4, 5, 6, 7, 8}
	blocks, ok := p.Allocate(2)
	require.True(t, ok)
	for i, h := range Hashes(first, 4) {
		p.Fill(blocks[i], h)
	}
	p.Free(blocks)
	require.Equal(t, 2, p.Match(Hashes(append(first, 9, 9, 9, 9), 4)))
	require.Equal(t, 1, p.Match(Hashes([]uint32{1, 2, 3, 4, 9, 9, 9, 9}, 4)))
	require.Equal(t, 0, p.Match(Hashes([]uint32{9, 2, 3, 4, 5, 6, 7, 8}, 4)), "a block counts only after what came before it")
	other, ok := p.Allocate(1)
	require.True(t, ok)
	p.Fill(other[0], Hashes([]uint32{9, 9, 9, 9}, 4)[0])
	require.Equal(t, 1, p.Match(Hashes([]uint32{9, 9, 9, 9, 5, 6, 7, 8}, 4)), "nor after anything else")
	p.Free(other)
	require.True(t, p.Flush())
	require.Equal(t, 0, p.Match(Hashes(first, 4)))
}

func TestTheEndOfABeginningGoesFirst(t *testing.T) {
	p := New(2, true)
	blocks, _ := p.Allocate(2)
	hashes := Hashes([]uint32{1, 2}, 1)
	for i, h := range hashes {
		p.Fill(blocks[i], h)
	}
	p.Free(blocks)
	_, ok := p.Allocate(1)
	require.True(t, ok)
	require.Equal(t, 1, p.Match(hashes))
}

func TestNothingIsKeptWithoutPrefixCaching(t *testing.T) {
	p := New(4, false)
	blocks, _ := p.Allocate(1)
	p.Fill(blocks[0], 7)
	p.Free(blocks)
	require.Empty(t, p.Take([]Hash{7}))
	require.Equal(t, 4, p.Available())
	require.False(t, func() bool { _, ok := p.Allocate(5); return ok }())
}
