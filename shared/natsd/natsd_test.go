package natsd_test

import (
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/fleetune/fleetune/proto/wire"
	"github.com/fleetune/fleetune/shared/bus"
	"github.com/fleetune/fleetune/shared/natsd"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
)

var secret = []byte("0123456789abcdef0123456789abcdef")

func start(t *testing.T, o natsd.Options) *natsd.Server {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	o.Secret = secret
	s, err := natsd.Start(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(s.Shutdown)
	return s
}

func connect(t *testing.T, s *natsd.Server, user, password string) *bus.Bus {
	t.Helper()
	b, err := bus.Connect(t.Context(), bus.Options{URL: s.URL(), Name: user, User: user, Password: password})
	require.NoError(t, err)
	t.Cleanup(b.Close)
	return b
}

func manager(t *testing.T, s *natsd.Server) *bus.Bus {
	t.Helper()
	b := connect(t, s, natsd.ManagerUser, bus.ManagerPassword(secret))
	require.NoError(t, bus.Ensure(t.Context(), b.JetStream(), bus.Limits{}))
	return b
}

// violation publishes or subscribes by do, and returns what the server
// refused, or "" when it refused nothing.
func violation(t *testing.T, s *natsd.Server, worker string, do func(*nats.Conn) error) string {
	t.Helper()
	refused := make(chan string, 8)
	conn, err := nats.Connect(s.URL(),
		nats.UserInfo(worker, bus.WorkerPassword(secret, worker)),
		nats.CustomInboxPrefix(bus.InboxPrefix(worker)),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) {
				refused <- err.Error()
			}
		}),
		// Callbacks come in order, so this one is the last.
		nats.ClosedHandler(func(*nats.Conn) { close(refused) }))
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, do(conn))
	// The server answers in order: after the pong, a refusal has arrived.
	require.NoError(t, conn.FlushTimeout(5*time.Second))
	conn.Close()
	return <-refused
}

func publish(subject string) func(*nats.Conn) error {
	return func(c *nats.Conn) error { return c.Publish(subject, []byte("{}")) }
}

func subscribe(subject string) func(*nats.Conn) error {
	return func(c *nats.Conn) error {
		_, err := c.Subscribe(subject, func(*nats.Msg) {})
		return err
	}
}

func TestWorkerMayUseItsOwnSubjectsOnly(t *testing.T) {
	s := start(t, natsd.Options{})
	manager(t, s)
	id := uuid.New()
	allowed := map[string]func(*nats.Conn) error{
		"claim":        publish(wire.ClaimSubject("w1")),
		"beat":         publish(wire.BeatSubject("w1")),
		"fetch":        publish(wire.FetchSubject("w1")),
		"report":       publish(wire.ReportSubject("w1")),
		"log":          publish(wire.LogSubject("w1", id)),
		"pull":         publish("$JS.API.CONSUMER.MSG.NEXT.WORK.q_normal"),
		"ack":          publish("$JS.ACK.WORK.q_normal.1.1.1.1.1"),
		"ack, long":    publish("$JS.ACK._.hash.WORK.q_normal.1.1.1.1.1"),
		"own progress": publish(wire.ProgressSubject("w1")),
		"own load":     publish(wire.LoadSubject(uuid.New(), "w1")),
		"own control":  subscribe(wire.ControlSubject("w1")),
		"hints":        subscribe(wire.HintSubject("q")),
		"its inbox":    subscribe(bus.InboxPrefix("w1") + ".x.*"),
		"queue's info": publish("$JS.API.CONSUMER.INFO.WORK.q_normal"),
	}
	refused := map[string]func(*nats.Conn) error{
		"claim as another":      publish(wire.ClaimSubject("w2")),
		"beat as another":       publish(wire.BeatSubject("w2")),
		"progress as another":   publish(wire.ProgressSubject("w2")),
		"a load as another":     publish(wire.LoadSubject(uuid.New(), "w2")),
		"gather a load":         subscribe(wire.GatherSubject(uuid.New())),
		"report as another":     publish(wire.ReportSubject("w2")),
		"log as another":        publish(wire.LogSubject("w2", id)),
		"offer":                 publish(wire.WorkSubject("q", "normal", id)),
		"control another":       publish(wire.ControlSubject("w2")),
		"control itself":        publish(wire.ControlSubject("w1")),
		"hint":                  publish(wire.HintSubject("q")),
		"answer into an inbox":  publish(bus.InboxPrefix("w2") + ".x.y"),
		"delete a stream":       publish("$JS.API.STREAM.DELETE.WORK"),
		"purge a stream":        publish("$JS.API.STREAM.PURGE.WORK"),
		"make a consumer":       publish("$JS.API.CONSUMER.CREATE.WORK.mine"),
		"delete a consumer":     publish("$JS.API.CONSUMER.DELETE.WORK.q_normal"),
		"pull reports":          publish("$JS.API.CONSUMER.MSG.NEXT.REPORTS.manager"),
		"acknowledge reports":   publish("$JS.ACK.REPORTS.manager.1.1.1.1.1"),
		"read messages":         publish("$JS.API.DIRECT.GET.LOGS"),
		"hear reports":          subscribe(wire.ReportSubjects),
		"hear another's claims": subscribe(wire.ClaimSubject("w2")),
		"hear others' control":  subscribe("fleetune.control.*"),
		"hear another's inbox":  subscribe(bus.InboxPrefix("w2") + ".>"),
		"hear offers":           subscribe(wire.WorkSubjects),
		"hear everything":       subscribe(">"),
		"hear the system":       subscribe("$SYS.>"),
	}
	for name, do := range allowed {
		t.Run("may: "+name, func(t *testing.T) { require.Empty(t, violation(t, s, "w1", do)) })
	}
	for name, do := range refused {
		t.Run("may not: "+name, func(t *testing.T) { require.NotEmpty(t, violation(t, s, "w1", do)) })
	}
}

func TestWorkerReportsAndPulls(t *testing.T) {
	s := start(t, natsd.Options{})
	m := manager(t, s)
	require.NoError(t, bus.EnsureQueue(t.Context(), m.JetStream(), "q", "normal", bus.AckWait))
	_, err := m.JetStream().Publish(t.Context(), wire.WorkSubject("q", "normal", uuid.New()), []byte("offer"))
	require.NoError(t, err)

	w := connect(t, s, "w1", bus.WorkerPassword(secret, "w1"))
	_, err = w.JetStream().Publish(t.Context(), wire.ReportSubject("w1"), []byte("{}"))
	require.NoError(t, err, "the acknowledgement of a report must reach the worker")

	f, err := bus.NewFetcher(w)
	require.NoError(t, err)
	msgs, err := f.Fetch(t.Context(), wire.ConsumerName("q", "normal"), 1, 0)
	require.NoError(t, err)
	require.Len(t, msgs, 1)
	require.NoError(t, msgs[0].AckSync())
	stream, err := m.JetStream().Stream(t.Context(), wire.StreamWork)
	require.NoError(t, err)
	require.Zero(t, stream.CachedInfo().State.Msgs, "the acknowledged offer is gone")
}

func TestWrongCredentialsAreRefused(t *testing.T) {
	s := start(t, natsd.Options{})
	cases := map[string][2]string{
		"nobody":                      {"", ""},
		"no password":                 {"w1", ""},
		"another's password":          {"w1", bus.WorkerPassword(secret, "w2")},
		"worker's as manager":         {natsd.ManagerUser, bus.WorkerPassword(secret, natsd.ManagerUser)},
		"manager's as worker":         {"w1", bus.ManagerPassword(secret)},
		"another house's secret":      {"w1", bus.WorkerPassword([]byte("another secret of 32 bytes......"), "w1")},
		"a name that is a wildcard":   {"*", bus.WorkerPassword(secret, "*")},
		"a name of everything":        {">", bus.WorkerPassword(secret, ">")},
		"a name of several tokens":    {"w1.w2", bus.WorkerPassword(secret, "w1.w2")},
		"the secret itself":           {"w1", string(secret)},
		"the secret itself, manager:": {natsd.ManagerUser, string(secret)},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := bus.Connect(t.Context(), bus.Options{URL: s.URL(), User: c[0], Password: c[1]})
			require.ErrorIs(t, err, nats.ErrAuthorization)
		})
	}
}

func TestStoreSurvivesRestart(t *testing.T) {
	dir := t.TempDir()
	s := start(t, natsd.Options{Dir: dir})
	m := manager(t, s)
	_, err := m.JetStream().Publish(t.Context(), wire.ReportSubject("w1"), []byte("result"))
	require.NoError(t, err)
	s.Shutdown()

	again := start(t, natsd.Options{Dir: dir})
	m = connect(t, again, natsd.ManagerUser, bus.ManagerPassword(secret))
	consumer, err := m.JetStream().Consumer(t.Context(), wire.StreamReports, bus.ReportsConsumer)
	require.NoError(t, err)
	msg, err := consumer.Next(jetstream.FetchMaxWait(5 * time.Second))
	require.NoError(t, err)
	require.Equal(t, "result", string(msg.Data()))
}

func TestInProcessListensNowhere(t *testing.T) {
	s := start(t, natsd.Options{InProcess: true})
	require.Empty(t, s.URL())
	b, err := bus.Connect(t.Context(), bus.Options{InProcess: s, Name: natsd.ManagerUser, User: natsd.ManagerUser, Password: bus.ManagerPassword(secret)})
	require.NoError(t, err)
	defer b.Close()
	require.NoError(t, bus.Ensure(t.Context(), b.JetStream(), bus.Limits{}))
}

func TestListensOnLoopbackByDefault(t *testing.T) {
	s := start(t, natsd.Options{})
	u, err := url.Parse(s.URL())
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1", u.Hostname())
}

func TestStartFailsClearly(t *testing.T) {
	t.Run("port in use", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer l.Close()
		_, port, err := net.SplitHostPort(l.Addr().String())
		require.NoError(t, err)
		number, err := strconv.Atoi(port)
		require.NoError(t, err)
		_, err = natsd.Start(t.Context(), natsd.Options{Dir: t.TempDir(), Secret: secret, Port: number})
		require.ErrorContains(t, err, "address already in use")
	})
	t.Run("folder is a file", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		require.NoError(t, os.WriteFile(file, nil, 0o600))
		_, err := natsd.Start(t.Context(), natsd.Options{Dir: file, Secret: secret})
		require.Error(t, err)
	})
	t.Run("no secret", func(t *testing.T) {
		_, err := natsd.Start(t.Context(), natsd.Options{Dir: t.TempDir()})
		require.ErrorContains(t, err, "secret")
	})
	t.Run("no folder", func(t *testing.T) {
		_, err := natsd.Start(t.Context(), natsd.Options{Secret: secret})
		require.ErrorContains(t, err, "folder")
	})
	t.Run("context ended", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		s, err := natsd.Start(ctx, natsd.Options{Dir: t.TempDir(), Secret: secret})
		if err == nil { // it may have been ready at the first look
			s.Shutdown()
			return
		}
		require.ErrorIs(t, err, context.Canceled)
	})
}

func TestRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	address := make(chan string, 1)
	go func() {
		ended <- natsd.Run(ctx, natsd.Options{Dir: t.TempDir(), Secret: secret}, func(s *natsd.Server) { address <- s.URL() })
	}()
	u, err := url.Parse(<-address)
	require.NoError(t, err)
	cancel()
	require.NoError(t, <-ended)
	_, err = net.Dial("tcp", u.Host)
	require.Error(t, err, "the port is free again")
}
