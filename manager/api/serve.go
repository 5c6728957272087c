package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/rs/zerolog"
)

// shutdownTime is how long requests may take to end once the server is asked
// to stop; streams end at once.
const shutdownTime = 5 * time.Second

// Serve answers on a listener until ctx ends, then lets requests finish and
// returns nil. Streams notice the end of ctx by themselves.
func Serve(ctx context.Context, listener net.Listener, handler http.Handler, log zerolog.Logger) error {
	// Streams end with ctx, so that none holds the shutdown up; requests go on.
	base := context.WithValue(context.WithoutCancel(ctx), stopping{}, ctx.Done())
	server := &http.Server{
		Handler:           handler,
		BaseContext:       func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serving the API: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		log.Warn().Err(err).Msg("requests were cut off")
		_ = server.Close() // what is left is cut off; there is nothing more to do
	}
	if err := <-ended; err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving the API: %w", err)
	}
	return nil
}

// stopping is the key under which a request's context carries the channel that
// is closed when the server stops.
type stopping struct{}

// streaming is the context of a stream: it ends with the request's and when
// the server stops.
func streaming(ctx context.Context) (context.Context, context.CancelFunc) {
	stop, ok := ctx.Value(stopping{}).(<-chan struct{})
	if !ok {
		return context.WithCancel(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}
