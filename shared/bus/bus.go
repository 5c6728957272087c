// Package bus is the house's road: the connection to NATS, the streams and
// consumers that Fleetune needs there, and a pull that is cheap enough to ask
// for one offer at a time. Workers and managers link it; it never starts a
// server.
package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
)

// ErrOffline says that the connection is down at the moment; it comes back by
// itself.
var ErrOffline = errors.New("the bus is not connected")

// Options say where the bus is and who connects.
type Options struct {
	// URL of one server or several, separated by commas.
	URL string
	// Name of the connection, as the server shows it: the worker's name, or
	// "manager".
	Name string
	// User and Password, or Token, or CredsFile: at most one of the three.
	User, Password string
	Token          string
	CredsFile      string
	// InboxPrefix is where replies arrive; InboxPrefix(Name) by default.
	InboxPrefix string
	TLS         TLS
	// RetryFirst keeps trying when the first attempt fails, instead of
	// returning an error.
	RetryFirst bool
	// Timeout of one attempt to connect; 5 s by default.
	Timeout time.Duration
	// InProcess connects to an embedded server without a socket.
	InProcess nats.InProcessConnProvider
	Log       zerolog.Logger
}

// TLS names the files of a connection's certificates; all are optional.
type TLS struct {
	CA, Cert, Key string
	// HandshakeFirst sends nothing in clear, not even the greeting.
	HandshakeFirst bool
}

// A Bus is a connection that reconnects for ever. It is safe for concurrent
// use.
type Bus struct {
	conn *nats.Conn
	js   jetstream.JetStream
}

// InboxPrefix is where the replies for a worker (or the manager) arrive. Its
// permissions cover nobody else's.
func InboxPrefix(name string) string { return "_INBOX_" + name }

// Connect opens a connection. It fails when the server cannot be reached or
// refuses, unless o.RetryFirst; once made, the connection reconnects for ever,
// through refusals as well.
func Connect(ctx context.Context, o Options) (*Bus, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	conn, err := nats.Connect(o.URL, o.options(ctx)...)
	if err != nil {
		return nil, fmt.Errorf("connecting to the bus at %s: %w", o.URL, err)
	}
	js, err := jetstream.New(conn)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("opening JetStream: %w", err)
	}
	return &Bus{conn: conn, js: js}, nil
}

// Conn is the connection itself.
func (b *Bus) Conn() *nats.Conn { return b.conn }

// JetStream is the connection's JetStream context.
func (b *Bus) JetStream() jetstream.JetStream { return b.js }

// Connected tells whether the connection stands at the moment.
func (b *Bus) Connected() bool { return b.conn.Status() == nats.CONNECTED }

// Close sends what is buffered and closes the connection. Subscriptions end
// at once; drain the ones that matter before.
func (b *Bus) Close() {
	if b.Connected() {
		// An error here means that the connection broke meanwhile, and
		// closing is all that is left to do either way.
		_ = b.conn.FlushTimeout(time.Second)
	}
	b.conn.Close()
}

func (o Options) options(ctx context.Context) []nats.Option {
	timeout := o.Timeout
	if timeout <= 0 {
		timeout = 5 * time.Second
	}
	if deadline, ok := ctx.Deadline(); ok {
		timeout = max(min(timeout, time.Until(deadline)), time.Millisecond)
	}
	prefix := o.InboxPrefix
	if prefix == "" && o.Name != "" {
		prefix = InboxPrefix(o.Name)
	}
	opts := []nats.Option{
		nats.Name(o.Name),
		nats.Timeout(timeout),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(250*time.Millisecond, time.Second),
		// A server that restarts with a damaged or late configuration may
		// refuse us twice; giving up for ever would need a hand to mend.
		nats.IgnoreAuthErrorAbort(),
		nats.RetryOnFailedConnect(o.RetryFirst),
		nats.PermissionErrOnSubscribe(true),
		// Half-open connections are noticed within two pings.
		nats.PingInterval(10 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.ErrorHandler(o.onError),
		nats.DisconnectErrHandler(o.onDisconnect),
		nats.ReconnectHandler(o.onReconnect),
	}
	if prefix != "" {
		opts = append(opts, nats.CustomInboxPrefix(prefix))
	}
	if o.InProcess != nil {
		opts = append(opts, nats.InProcessServer(o.InProcess))
	}
	return append(opts, o.security()...)
}

func (o Options) security() []nats.Option {
	var opts []nats.Option
	switch {
	case o.CredsFile != "":
		opts = append(opts, nats.UserCredentials(o.CredsFile))
	case o.Token != "":
		opts = append(opts, nats.Token(o.Token))
	case o.User != "":
		opts = append(opts, nats.UserInfo(o.User, o.Password))
	}
	if o.TLS.CA != "" {
		opts = append(opts, nats.RootCAs(o.TLS.CA))
	}
	if o.TLS.Cert != "" {
		opts = append(opts, nats.ClientCert(o.TLS.Cert, o.TLS.Key))
	}
	if o.TLS.HandshakeFirst {
		opts = append(opts, nats.TLSHandshakeFirst())
	}
	return opts
}

// onError logs what arrives out of turn. A refused publish shows up nowhere
// else: to its sender it looks like a timeout.
func (o Options) onError(_ *nats.Conn, sub *nats.Subscription, err error) {
	level, refused := zerolog.WarnLevel, errors.Is(err, nats.ErrPermissionViolation) || errors.Is(err, nats.ErrAuthorization)
	if refused {
		level = zerolog.ErrorLevel
	}
	o.Log.WithLevel(level).Func(func(event *zerolog.Event) {
		if refused {
			event.Bool("refused", true)
		}
		if sub != nil {
			event.Str("subject", sub.Subject)
		}
	}).Err(err).Str("connection", o.Name).Msg("bus error")
}

func (o Options) onDisconnect(_ *nats.Conn, err error) {
	if err != nil {
		o.Log.Warn().Err(err).Str("connection", o.Name).Msg("bus disconnected, reconnecting")
	}
}

func (o Options) onReconnect(conn *nats.Conn) {
	o.Log.Info().Str("connection", o.Name).Str("server", conn.ConnectedUrlRedacted()).Msg("bus reconnected")
}
