package bus_test

import (
	"bytes"
	"context"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fleetune/fleetune/proto/wire"
	"github.com/fleetune/fleetune/shared/bus"
	"github.com/fleetune/fleetune/shared/natsd"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
)

var secret = []byte("0123456789abcdef0123456789abcdef")

func startServer(t testing.TB, dir string, port int) *natsd.Server {
	t.Helper()
	s, err := natsd.Start(t.Context(), natsd.Options{Dir: dir, Port: port, Secret: secret})
	require.NoError(t, err)
	t.Cleanup(s.Shutdown)
	return s
}

func port(t *testing.T, s *natsd.Server) int {
	t.Helper()
	u, err := url.Parse(s.URL())
	require.NoError(t, err)
	number, err := strconv.Atoi(u.Port())
	require.NoError(t, err)
	return number
}

func asManager(s *natsd.Server) bus.Options {
	return bus.Options{URL: s.URL(), Name: wire.ManagerName, User: wire.ManagerName, Password: bus.ManagerPassword(secret)}
}

func asWorker(s *natsd.Server, name string) bus.Options {
	return bus.Options{URL: s.URL(), Name: name, User: name, Password: bus.WorkerPassword(secret, name)}
}

func connect(t testing.TB, o bus.Options) *bus.Bus {
	t.Helper()
	b, err := bus.Connect(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(b.Close)
	return b
}

// house is a server with its streams, and a manager and a worker on it.
func house(t testing.TB) (*natsd.Server, *bus.Bus, *bus.Bus) {
	t.Helper()
	s := startServer(t, t.TempDir(), 0)
	m := connect(t, asManager(s))
	require.NoError(t, bus.Ensure(t.Context(), m.JetStream(), bus.Limits{}))
	return s, m, connect(t, asWorker(s, "w1"))
}

// await waits until the connection stands (again).
func await(t *testing.T, b *bus.Bus) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	changes := b.Conn().StatusChanged(nats.CONNECTED)
	defer b.Conn().RemoveStatusListener(changes)
	for !b.Connected() {
		select {
		case <-changes:
		case <-ctx.Done():
			t.Fatal("the connection did not come back")
		}
	}
}

func awaitDown(t *testing.T, b *bus.Bus) {
	t.Helper()
	changes := b.Conn().StatusChanged(nats.RECONNECTING, nats.DISCONNECTED)
	defer b.Conn().RemoveStatusListener(changes)
	for b.Connected() {
		<-changes
	}
}

func TestEnsureIsHarmlessToRepeat(t *testing.T) {
	_, m, _ := house(t)
	for range 2 {
		require.NoError(t, bus.Ensure(t.Context(), m.JetStream(), bus.Limits{LogBytes: 64 << 20}))
	}
	stream, err := m.JetStream().Stream(t.Context(), wire.StreamLogs)
	require.NoError(t, err)
	require.EqualValues(t, 64<<20, stream.CachedInfo().Config.MaxBytes, "a repeat updates")
}

func TestOfferWaitsOncePerExperiment(t *testing.T) {
	_, m, w := house(t)
	require.NoError(t, bus.EnsureQueue(t.Context(), m.JetStream(), "q", "normal", bus.AckWait))
	subject := wire.WorkSubject("q", "normal", uuid.New())
	_, err := m.JetStream().Publish(t.Context(), subject, []byte("1"))
	require.NoError(t, err)
	_, err = m.JetStream().Publish(t.Context(), subject, []byte("2"))
	var api *jetstream.APIError
	require.ErrorAs(t, err, &api)
	require.Equal(t, bus.OfferWaits, api.ErrorCode)

	f := fetcher(t, w)
	noticed(t, m, "q_normal", 1)
	msgs, err := f.Fetch(t.Context(), "q_normal", 10, 0)
	require.NoError(t, err)
	require.Len(t, msgs, 1)
	require.Equal(t, "1", string(msgs[0].Data))
	require.NoError(t, msgs[0].AckSync())
	_, err = m.JetStream().Publish(t.Context(), subject, []byte("3"))
	require.NoError(t, err, "once acknowledged, it may be offered again")
}

func TestQueuesAreMadeOnce(t *testing.T) {
	_, m, _ := house(t)
	js := m.JetStream()
	for range 2 {
		require.NoError(t, bus.EnsureQueue(t.Context(), js, "q", "high", bus.AckWait))
	}
	require.NoError(t, bus.EnsureQueue(t.Context(), js, "q", "low", bus.AckWait), "priorities of a queue stand side by side")
}

func TestRequestAndReply(t *testing.T) {
	_, m, w := house(t)
	sub, err := m.Conn().Subscribe(wire.FetchSubjects, func(msg *nats.Msg) {
		require.Equal(t, "w1", bus.Sender(msg.Subject))
		require.NoError(t, bus.Reply(msg, wire.FetchReply{Size: 7}))
	})
	require.NoError(t, err)
	require.NoError(t, m.Conn().Flush())
	rep, err := bus.Request[wire.FetchReply](t.Context(), w, wire.FetchSubject("w1"), wire.Fetch{Digest: "d"})
	require.NoError(t, err)
	require.EqualValues(t, 7, rep.Size)

	require.NoError(t, sub.Unsubscribe())
	require.NoError(t, m.Conn().Flush())
	_, err = bus.Request[wire.FetchReply](t.Context(), w, wire.FetchSubject("w1"), wire.Fetch{})
	require.ErrorIs(t, err, nats.ErrNoResponders)
}

func TestReplyGoesToTheSenderOnly(t *testing.T) {
	_, m, w := house(t)
	answered := make(chan error, 1)
	_, err := m.Conn().Subscribe(wire.BeatSubjects, func(msg *nats.Msg) { answered <- bus.Reply(msg, wire.BeatReply{}) })
	require.NoError(t, err)
	require.NoError(t, m.Conn().Flush())
	for _, reply := range []string{wire.ControlSubject("w2"), bus.InboxPrefix("w2") + ".x", bus.InboxPrefix("w11") + ".x"} {
		require.NoError(t, w.Conn().PublishRequest(wire.BeatSubject("w1"), reply, []byte("{}")))
		require.ErrorIs(t, <-answered, bus.ErrForeignReply)
	}
	require.NoError(t, w.Conn().Publish(wire.BeatSubject("w1"), []byte("{}")))
	require.ErrorIs(t, <-answered, bus.ErrForeignReply, "no reply subject at all")
	require.NoError(t, w.Conn().PublishRequest(wire.BeatSubject("w1"), w.Conn().NewInbox(), []byte("{}")))
	require.NoError(t, <-answered)
}

func TestReconnectsAfterARestart(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, dir, 0)
	m := connect(t, asManager(s))
	s.Shutdown()
	awaitDown(t, m)
	require.False(t, m.Connected())
	startServer(t, dir, port(t, s))
	await(t, m)
	require.NoError(t, bus.Ensure(t.Context(), m.JetStream(), bus.Limits{}))
}

func TestRefusalsDoNotEndTheConnection(t *testing.T) {
	s := startServer(t, t.TempDir(), 0)
	lines := make(chan string, 64)
	o := asManager(s)
	o.Log = zerolog.New(writer(lines))
	m := connect(t, o)
	s.Shutdown()
	awaitDown(t, m)
	stranger, err := natsd.Start(t.Context(), natsd.Options{Dir: t.TempDir(), Port: port(t, s), Secret: []byte("a secret of another house")})
	require.NoError(t, err)
	for refusals := 0; refusals < 3; {
		if strings.Contains(<-lines, `"refused":true`) {
			refusals++
		}
	}
	stranger.Shutdown()
	startServer(t, t.TempDir(), port(t, s))
	await(t, m)
}

func TestRetryFirst(t *testing.T) {
	s := startServer(t, t.TempDir(), 0)
	o := asManager(s)
	s.Shutdown()
	_, err := bus.Connect(t.Context(), o)
	require.ErrorIs(t, err, nats.ErrNoServers)
	o.RetryFirst = true
	m := connect(t, o)
	require.False(t, m.Connected())
	startServer(t, t.TempDir(), port(t, s))
	await(t, m)
}

func TestRefusalIsLogged(t *testing.T) {
	s, _, _ := house(t)
	lines := make(chan string, 16)
	o := asWorker(s, "w3")
	o.Log = zerolog.New(writer(lines))
	w := connect(t, o)
	require.NoError(t, w.Conn().Publish(wire.ReportSubject("w1"), nil))
	line := <-lines
	require.Contains(t, line, `"level":"error"`)
	require.Contains(t, line, `"refused":true`)
	require.Contains(t, strings.ToLower(line), "publish to")
	require.Contains(t, line, wire.ReportSubject("w1"))
}

type writer chan string

func (w writer) Write(p []byte) (int, error) {
	w <- string(bytes.Clone(p))
	return len(p), nil
}
