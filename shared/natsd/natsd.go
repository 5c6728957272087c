// Package natsd is the NATS server that Fleetune starts itself: JetStream on
// disk, loopback unless asked otherwise, and accounts that are derived from
// one secret. It is the same server whether it runs inside the manager or as
// a process of its own. Workers do not link it.
package natsd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"
)

// readyTime bounds a start, which takes milliseconds with an empty store and
// seconds with a large one.
const readyTime = 60 * time.Second

// Options say where a server keeps its data and where it listens.
type Options struct {
	// Dir holds the JetStream store. Required.
	Dir string
	// Host to listen on; 127.0.0.1 by default.
	Host string
	// Port to listen on; 0 picks a free one.
	Port int
	// InProcess opens no socket at all: only bus.Options.InProcess reaches it.
	InProcess bool
	// Secret from which every password is derived. Required, 16 bytes at least.
	Secret []byte
	// MaxStore bounds the JetStream store in bytes; 16 GiB by default.
	MaxStore int64
	// TLS, when set, is required of every connection.
	TLS *tls.Config
	Log zerolog.Logger
}

// A Server is a running NATS server.
type Server struct {
	nats *server.Server
	url  string
}

// Start starts a server and returns when it is ready for connections.
func Start(ctx context.Context, o Options) (*Server, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	nats, err := server.NewServer(o.server())
	if err != nil {
		return nil, fmt.Errorf("configuring the NATS server: %w", err)
	}
	record := &logger{log: o.Log}
	nats.SetLoggerV2(record, o.Log.GetLevel() <= zerolog.DebugLevel, false, false)
	s := &Server{nats: nats}
	nats.Start()
	if err := s.awaitReady(ctx, record); err != nil {
		s.Shutdown()
		return nil, fmt.Errorf("starting the NATS server: %w", err)
	}
	if !o.InProcess {
		s.url = nats.ClientURL()
	}
	return s, nil
}

// Run runs a server as long as ctx lasts, and waits for its end. Ready is
// called once it takes connections.
func Run(ctx context.Context, o Options, ready func(*Server)) error {
	s, err := Start(ctx, o)
	if err != nil {
		return err
	}
	defer s.Shutdown()
	if ready != nil {
		ready(s)
	}
	ended := make(chan struct{})
	go func() {
		s.nats.WaitForShutdown()
		close(ended)
	}()
	select {
	case <-ctx.Done():
		s.Shutdown()
		<-ended
		return nil
	case <-ended:
		return errors.New("the NATS server ended by itself")
	}
}

// URL to connect to, or empty when the server listens nowhere.
func (s *Server) URL() string { return s.url }

// InProcessConn opens a connection without a socket; it makes a Server fit
// for bus.Options.InProcess.
func (s *Server) InProcessConn() (net.Conn, error) { return s.nats.InProcessConn() }

// Shutdown closes every connection, writes the store out and waits for it.
// Repeating it is harmless.
func (s *Server) Shutdown() {
	s.nats.Shutdown()
	s.nats.WaitForShutdown()
}

func (s *Server) awaitReady(ctx context.Context, record *logger) error {
	deadline := time.Now().Add(readyTime)
	for {
		// Asking in short turns lets the context end a long recovery.
		ready := s.nats.ReadyForConnections(50 * time.Millisecond)
		if cause := record.died(); cause != "" {
			return errors.New(cause)
		}
		if ready {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not ready after %v", readyTime)
		}
	}
}

func (o Options) validate() error {
	if o.Dir == "" {
		return errors.New("the NATS server needs a folder for its store")
	}
	if len(o.Secret) < 16 {
		return errors.New("the bus secret must have at least 16 bytes")
	}
	return nil
}

func (o Options) server() *server.Options {
	host := o.Host
	if host == "" {
		host = "127.0.0.1"
	}
	port := o.Port
	if port == 0 {
		port = server.RANDOM_PORT
	}
	maxStore := o.MaxStore
	if maxStore <= 0 {
		// A bound of our own, as the server's (three quarters of the free
		// disk) may be less than the logs stream reserves.
		maxStore = 16 << 30
	}
	return &server.Options{
		ServerName:                 "fleetune",
		Host:                       host,
		Port:                       port,
		DontListen:                 o.InProcess,
		NoSigs:                     true,
		JetStream:                  true,
		StoreDir:                   o.Dir,
		JetStreamMaxStore:          maxStore,
		JetStreamMaxMemory:         256 << 20,
		MaxPayload:                 4 << 20,
		CustomClientAuthentication: authenticator{secret: o.Secret},
		TLSConfig:                  o.TLS,
		TLS:                        o.TLS != nil,
		TLSTimeout:                 5,
	}
}
