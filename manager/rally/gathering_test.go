package rally

import (
	"fmt"
	"testing"
	"time"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var began = time.Unix(1_700_000_000, 0)

func call(share int, step string, probes int) wire.LoadCall {
	return wire.LoadCall{Worker: fmt.Sprint("w", share), Session: fmt.Sprint("s", share), Share: share, Step: step, Clock: wire.LoadClock{Probes: probes}}
}

func TestAllSharesAreGivenTheSameStart(t *testing.T) {
	g := newGathering(2)
	reply, _ := g.take(began, call(0, wire.LoadWaiting, enoughProbes))
	require.Zero(t, reply.Start, "one share is missing")
	reply, _ = g.take(began, call(1, wire.LoadWaiting, enoughProbes-1))
	require.Zero(t, reply.Start, "a share does not know the clock yet")
	reply, _ = g.take(began.Add(time.Second), call(1, wire.LoadWaiting, enoughProbes))
	require.Equal(t, began.Add(time.Second+Lead).UnixNano(), reply.Start)
	again, _ := g.take(began.Add(time.Minute), call(0, wire.LoadWaiting, enoughProbes))
	require.Equal(t, reply.Start, again.Start)
}

// started is a gathering of n shares that run.
func started(n int) *gathering {
	g := newGathering(n)
	for i := range n {
		g.take(began, call(i, wire.LoadWaiting, enoughProbes))
	}
	for i := range n {
		g.take(began, call(i, wire.LoadRunning, enoughProbes))
	}
	return g
}

func TestAShareThatFallsSilentIsLost(t *testing.T) {
	g := started(2)
	g.take(began.Add(Silence), call(0, wire.LoadRunning, enoughProbes))
	require.False(t, g.look(began.Add(Silence)))
	require.True(t, g.look(began.Add(Silence+1)))
	require.Equal(t, v1.ShareLost, g.state().Shares[1].State)
	require.Equal(t, v1.ShareRunning, g.state().Shares[0].State)
	reply, _ := g.take(began.Add(Silence+2), call(1, wire.LoadRunning, enoughProbes))
	require.NotEmpty(t, reply.Over, "it must not go on unseen")
	require.False(t, g.over())
	part := call(0, wire.LoadSending, enoughProbes)
	part.Part = &wire.LoadPart{Size: 1, Data: []byte{1}}
	g.take(began.Add(Silence+2), part)
	require.True(t, g.over(), "the others' results are kept")
}

// Before the start another worker may take a silent share over, after it none.
func TestASecondAttemptJoinsBeforeTheStartOnly(t *testing.T) {
	g := newGathering(2)
	g.take(began, call(0, wire.LoadWaiting, enoughProbes))
	require.True(t, g.look(began.Add(Silence+1)))
	require.Equal(t, v1.ShareMissing, g.state().Shares[0].State)
	other := call(0, wire.LoadWaiting, enoughProbes)
	other.Session, other.Worker = "another", "w9"
	reply, _ := g.take(began.Add(Silence+1), other)
	require.Empty(t, reply.Over)
	require.Equal(t, "w9", g.state().Shares[0].Worker)
	g.take(began.Add(Silence+1), call(1, wire.LoadWaiting, enoughProbes))
	late := call(1, wire.LoadWaiting, enoughProbes)
	late.Session = "late"
	reply, _ = g.take(began.Add(Silence+2), late)
	require.NotEmpty(t, reply.Over)
}

func TestAFailureBeforeTheStartEndsTheRally(t *testing.T) {
	g := newGathering(2)
	bad := call(0, wire.LoadFailed, 0)
	bad.Reason = "no such model"
	g.take(began, bad)
	require.True(t, g.over())
	require.Equal(t, "no such model", g.state().Shares[0].Reason)
	reply, _ := g.take(began, call(7, wire.LoadWaiting, 0))
	require.NotEmpty(t, reply.Over, "there is no such share")
}

// However calls are repeated, the reader gets each byte of each result once
// and in order.
func TestResultsArriveWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 3).Draw(t, "shares")
		g := started(n)
		results, sent, got := make([][]byte, n), make([]int, n), make([][]byte, n)
		for i := range results {
			results[i] = rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "result")
		}
		for !g.over() {
			i := rapid.IntRange(0, n-1).Draw(t, "which")
			from := sent[i]
			if from == len(results[i]) || rapid.Bool().Draw(t, "again") {
				from = rapid.IntRange(0, from).Draw(t, "from")
			}
			from = min(from, len(results[i])-1)
			c := call(i, wire.LoadSending, enoughProbes)
			to := min(from+7, len(results[i]))
			c.Part = &wire.LoadPart{Offset: int64(from), Size: int64(len(results[i])), Data: results[i][from:to]}
			reply, part := g.take(began, c)
			require.Empty(t, reply.Over)
			if part != nil {
				require.Len(t, got[i], int(part.Offset))
				got[i] = append(got[i], part.Data...)
			}
			sent[i] = max(sent[i], len(got[i]))
		}
		require.Equal(t, results, got)
	})
}

func TestADamagedResultIsRefused(t *testing.T) {
	for _, p := range []*wire.LoadPart{nil, {Size: 1}, {Offset: -1, Size: 1, Data: []byte{1}}, {Size: maxResult + 1, Data: []byte{1}}, {Size: 1, Data: []byte{1, 2}}} {
		g := started(1)
		c := call(0, wire.LoadSending, enoughProbes)
		c.Part = p
		reply, part := g.take(began, c)
		require.NotEmpty(t, reply.Over)
		require.Nil(t, part)
		require.Equal(t, v1.ShareFailed, g.state().Shares[0].State)
	}
	g := started(1)
	c := call(0, wire.LoadSending, enoughProbes)
	c.Part = &wire.LoadPart{Offset: 5, Size: 10, Data: []byte{1}}
	reply, _ := g.take(began, c)
	require.NotEmpty(t, reply.Over, "what came before it is missing")
}
