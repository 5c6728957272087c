package share

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Whatever the delays on the way, the true offset is within the bound, and the
// gatherer's instants come back as ours.
func TestTheOffsetIsWithinItsBound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newClock()
		truth := time.Duration(rapid.Int64Range(-1e12, 1e12).Draw(t, "offset"))
		at := c.anchor
		for range rapid.IntRange(1, 20).Draw(t, "probes") {
			there := time.Duration(rapid.Int64Range(0, 1e8).Draw(t, "there"))
			back := time.Duration(rapid.Int64Range(0, 1e8).Draw(t, "back"))
			now := at.Add(there)
			c.probe(at, now.Add(back), c.at(now)+int64(truth))
			at = now.Add(back)
		}
		require.LessOrEqual(t, (c.offset - truth).Abs(), c.bound())
		shown := c.at(at) + int64(truth)
		require.LessOrEqual(t, c.time(shown).Sub(at).Abs(), c.bound())
	})
}
