package bus_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/fleetune/fleetune/proto/wire"
	"github.com/fleetune/fleetune/shared/bus"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func fetcher(t testing.TB, b *bus.Bus) *bus.Fetcher {
	t.Helper()
	f, err := bus.NewFetcher(b)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	return f
}

func offer(t testing.TB, m *bus.Bus, queue string, count int) {
	t.Helper()
	for range count {
		_, err := m.JetStream().Publish(t.Context(), wire.WorkSubject(queue, "normal", uuid.New()), []byte("offer"))
		require.NoError(t, err)
	}
}

// noticed waits until the consumer has noticed that offers wait: it learns of
// them a moment after they are stored.
func noticed(t *testing.T, m *bus.Bus, name string, count uint64) {
	t.Helper()
	consumer, err := m.JetStream().Consumer(t.Context(), wire.StreamWork, name)
	require.NoError(t, err)
	for pending := uint64(0); pending < count; {
		info, err := consumer.Info(t.Context())
		require.NoError(t, err)
		pending = info.NumPending
	}
}

// awaitPull waits until a pull waits at the consumer.
func awaitPull(t *testing.T, m *bus.Bus, name string) {
	t.Helper()
	consumer, err := m.JetStream().Consumer(t.Context(), wire.StreamWork, name)
	require.NoError(t, err)
	for waiting := 0; waiting == 0; {
		info, err := consumer.Info(t.Context())
		require.NoError(t, err)
		waiting = info.NumWaiting
	}
}

func TestFetch(t *testing.T) {
	_, m, w := house(t)
	require.NoError(t, bus.EnsureQueue(t.Context(), m.JetStream(), "q", "normal", bus.AckWait))
	f := fetcher(t, w)

	msgs, err := f.Fetch(t.Context(), "q_normal", 1, 0)
	require.NoError(t, err)
	require.Empty(t, msgs, "an empty queue is no error")

	offer(t, m, "q", 3)
	noticed(t, m, "q_normal", 3)
	msgs, err = f.Fetch(t.Context(), "q_normal", 2, 0)
	require.NoError(t, err)
	require.Len(t, msgs, 2)
	rest, err := f.Fetch(t.Context(), "q_normal", 2, 0)
	require.NoError(t, err)
	require.Len(t, rest, 1, "fewer than a batch come at once")
	for _, msg := range append(msgs, rest...) {
		require.NoError(t, msg.AckSync())
	}
}

func TestFetchWaits(t *testing.T) {
	_, m, w := house(t)
	require.NoError(t, bus.EnsureQueue(t.Context(), m.JetStream(), "q", "normal", bus.AckWait))
	f := fetcher(t, w)
	var wg sync.WaitGroup
	wg.Go(func() {
		msgs, err := f.Fetch(t.Context(), "q_normal", 5, 30*time.Second)
		require.NoError(t, err)
		require.Len(t, msgs, 1, "the first offer ends the wait")
		require.NoError(t, msgs[0].AckSync())
	})
	awaitPull(t, m, "q_normal")
	offer(t, m, "q", 1)
	wg.Wait()

	msgs, err := f.Fetch(t.Context(), "q_normal", 1, time.Millisecond)
	require.NoError(t, err)
	require.Empty(t, msgs, "a wait that ends is no error")
}

func TestFetchesTakeTurns(t *testing.T) {
	_, m, w := house(t)
	f := fetcher(t, w)
	const each, fetchers = 40, 4
	for _, queue := range []string{"a", "b"} {
		require.NoError(t, bus.EnsureQueue(t.Context(), m.JetStream(), queue, "normal", bus.AckWait))
		offer(t, m, queue, each*fetchers/2)
	}
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		seen = map[string]int{}
	)
	for i := range fetchers {
		wg.Go(func() {
			queue := string("ab"[i%2])
			for range each {
				msgs, err := f.Fetch(t.Context(), queue+"_normal", 1, time.Second)
				require.NoError(t, err)
				require.Len(t, msgs, 1)
				require.Contains(t, msgs[0].Subject, ".work."+queue+".", "an offer of the queue that was asked")
				mu.Lock()
				seen[msgs[0].Subject]++
				mu.Unlock()
				require.NoError(t, msgs[0].AckSync())
			}
		})
	}
	wg.Wait()
	require.Len(t, seen, each*fetchers, "each offer once")
}

func TestLateOffersGoBack(t *testing.T) {
	_, m, w := house(t)
	require.NoError(t, bus.EnsureQueue(t.Context(), m.JetStream(), "q", "normal", bus.AckWait))
	late := fetcher(t, w)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := late.Fetch(ctx, "q_normal", 1, time.Minute)
		require.ErrorIs(t, err, context.Canceled)
	})
	awaitPull(t, m, "q_normal")
	cancel()
	wg.Wait()
	// The server still holds the pull: this offer goes to a fetcher that no
	// longer waits. It must come to the other one long before AckWait.
	offer(t, m, "q", 1)
	other := fetcher(t, w)
	msgs, err := other.Fetch(t.Context(), "q_normal", 1, bus.AckWait/2)
	require.NoError(t, err)
	require.Len(t, msgs, 1)
	meta, err := msgs[0].Metadata()
	require.NoError(t, err)
	require.EqualValues(t, 2, meta.NumDelivered, "it was delivered to the first fetcher before")
	require.NoError(t, msgs[0].AckSync())
}

func TestLateOffersServeNoOtherQueue(t *testing.T) {
	_, m, w := house(t)
	for _, queue := range []string{"a", "b"} {
		require.NoError(t, bus.EnsureQueue(t.Context(), m.JetStream(), queue, "normal", bus.AckWait))
	}
	f := fetcher(t, w)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := f.Fetch(ctx, "a_normal", 1, time.Minute)
		require.ErrorIs(t, err, context.Canceled)
	})
	awaitPull(t, m, "a_normal")
	cancel()
	wg.Wait()
	wg.Go(func() {
		msgs, err := f.Fetch(t.Context(), "b_normal", 1, time.Minute)
		require.NoError(t, err)
		require.Len(t, msgs, 1)
		require.Contains(t, msgs[0].Subject, ".work.b.")
		require.NoError(t, msgs[0].AckSync())
	})
	awaitPull(t, m, "b_normal")
	offer(t, m, "a", 1)
	msgs, err := fetcher(t, w).Fetch(t.Context(), "a_normal", 1, bus.AckWait/2)
	require.NoError(t, err)
	require.Len(t, msgs, 1, "the late offer went back")
	require.NoError(t, msgs[0].AckSync())
	offer(t, m, "b", 1)
	wg.Wait()
}

func TestFetchWithoutConsumer(t *testing.T) {
	_, m, w := house(t)
	f := fetcher(t, w)
	_, err := f.Fetch(t.Context(), "q_normal", 1, 0)
	require.ErrorIs(t, err, bus.ErrNoConsumer)

	require.NoError(t, bus.EnsureQueue(t.Context(), m.JetStream(), "q", "normal", bus.AckWait))
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := f.Fetch(t.Context(), "q_normal", 1, time.Minute)
		require.ErrorIs(t, err, bus.ErrNoConsumer, "removed while waiting")
	})
	awaitPull(t, m, "q_normal")
	require.NoError(t, m.JetStream().DeleteConsumer(t.Context(), wire.StreamWork, wire.ConsumerName("q", "normal")))
	wg.Wait()
}

func TestFetchAcrossARestart(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, dir, 0)
	m, w := connect(t, asManager(s)), connect(t, asWorker(s, "w1"))
	require.NoError(t, bus.Ensure(t.Context(), m.JetStream(), bus.Limits{}))
	require.NoError(t, bus.EnsureQueue(t.Context(), m.JetStream(), "q", "normal", bus.AckWait))
	offer(t, m, "q", 1)
	f := fetcher(t, w)

	s.Shutdown()
	awaitDown(t, w)
	_, err := f.Fetch(t.Context(), "q_normal", 1, 0)
	require.ErrorIs(t, err, bus.ErrOffline)

	s2 := startServer(t, dir, port(t, s))
	await(t, w)
	msgs, err := f.Fetch(t.Context(), "q_normal", 1, time.Second)
	require.NoError(t, err)
	require.Len(t, msgs, 1, "the store and the fetcher survive")
	require.NoError(t, msgs[0].AckSync())

	s2.Shutdown()
	awaitDown(t, w)
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "jetstream")))
	startServer(t, dir, port(t, s))
	await(t, w)
	_, err = f.Fetch(t.Context(), "q_normal", 1, 0)
	require.ErrorIs(t, err, bus.ErrNoConsumer, "the store was wiped")

	await(t, m)
	require.NoError(t, bus.Ensure(t.Context(), m.JetStream(), bus.Limits{}))
	require.NoError(t, bus.EnsureQueue(t.Context(), m.JetStream(), "q", "normal", bus.AckWait))
	offer(t, m, "q", 1)
	noticed(t, m, "q_normal", 1)
	msgs, err = f.Fetch(t.Context(), "q_normal", 1, 0)
	require.NoError(t, err)
	require.Len(t, msgs, 1, "mended")
	require.NoError(t, msgs[0].AckSync())
}

func TestFetchInterruptedByAShutdown(t *testing.T) {
	s, m, w := house(t)
	require.NoError(t, bus.EnsureQueue(t.Context(), m.JetStream(), "q", "normal", bus.AckWait))
	f := fetcher(t, w)
	ended := make(chan error, 1)
	go func() {
		_, err := f.Fetch(t.Context(), "q_normal", 1, time.Minute)
		ended <- err
	}()
	awaitPull(t, m, "q_normal")
	s.Shutdown()
	require.ErrorIs(t, <-ended, bus.ErrOffline)
}

func TestFetchInterruptedByALostConnection(t *testing.T) {
	_, m, w := house(t)
	require.NoError(t, bus.EnsureQueue(t.Context(), m.JetStream(), "q", "normal", bus.AckWait))
	f := fetcher(t, w)
	ended := make(chan error, 1)
	go func() {
		_, err := f.Fetch(t.Context(), "q_normal", 1, time.Hour)
		ended <- err
	}()
	awaitPull(t, m, "q_normal")
	require.NoError(t, w.Conn().ForceReconnect())
	require.ErrorIs(t, <-ended, bus.ErrOffline)
}

func BenchmarkFetchOne(b *testing.B) {
	for _, workers := range []int{1, 8} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) { benchmarkFetch(b, workers) })
	}
}

func benchmarkFetch(b *testing.B, workers int) {
	s, m, _ := house(b)
	require.NoError(b, bus.EnsureQueue(b.Context(), m.JetStream(), "q", "normal", bus.AckWait))
	for range b.N {
		_, err := m.JetStream().PublishAsync(wire.WorkSubject("q", "normal", uuid.New()), []byte("offer"))
		require.NoError(b, err)
	}
	<-m.JetStream().PublishAsyncComplete()
	var wg sync.WaitGroup
	b.ResetTimer()
	for i := range workers {
		f := fetcher(b, connect(b, asWorker(s, fmt.Sprintf("w%d", i))))
		wg.Go(func() {
			for {
				msgs, err := f.Fetch(b.Context(), "q_normal", 1, 0)
				if err != nil || len(msgs) == 0 {
					return
				}
				_ = msgs[0].Ack()
			}
		})
	}
	wg.Wait()
}
