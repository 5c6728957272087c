package play

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestHangupsAreDrawnByTheirShare(t *testing.T) {
	drawn := func(percent float64) (n int) {
		h := NewHangups(percent, time.Second, 7)
		for range 10_000 {
			if d := h.Draw(); d != nil {
				require.Equal(t, time.Second, *d)
				n++
			}
		}
		return n
	}
	require.Zero(t, drawn(0))
	require.InDelta(t, 2500, drawn(25), 200)
	first, second := drawn(25), drawn(25)
	require.Equal(t, first, second, "the same seed draws the same")
	require.Equal(t, 10_000, drawn(100))
}
