package bus

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDeliveredBy(t *testing.T) {
	const consumer = "q_normal"
	for ack, want := range map[string]bool{
		"$JS.ACK.WORK.q_normal.1.2.3.4.5":               true,
		"$JS.ACK.WORK.q_high.1.2.3.4.5":                 false,
		"$JS.ACK._.hash.WORK.q_normal.1.2.3.4.5":        true,
		"$JS.ACK.site.hash.WORK.q_normal.1.2.3.4.5.end": true,
		"$JS.ACK.site.hash.WORK.q_high.1.2.3.4.5.end":   false,
		"$JS.ACK.WORK.q_normal":                         false,
		"_INBOX_w1.WORK.x.q_normal.1.2.3.4.5":           false,
		"":                                              false,
	} {
		require.Equal(t, want, deliveredBy(consumer, ack), ack)
	}
}

func TestStatusError(t *testing.T) {
	for _, end := range [][2]string{{"404", "No Messages"}, {"408", "Request Timeout"}} {
		require.NoError(t, statusError("c", end[0], end[1]))
	}
	require.ErrorIs(t, statusError("c", "503", ""), ErrNoConsumer)
	require.ErrorIs(t, statusError("c", "409", "Consumer Deleted"), ErrNoConsumer)
	require.ErrorIs(t, statusError("c", "409", "Server Shutdown"), ErrOffline)
	require.ErrorIs(t, statusError("c", "409", "Leadership Change"), ErrOffline)
	other := statusError("c", "409", "Exceeded MaxWaiting")
	require.ErrorContains(t, other, "Exceeded MaxWaiting")
	require.NotErrorIs(t, other, ErrOffline)
}
