package natsd

import (
	"fmt"
	"sync"

	"github.com/rs/zerolog"
)

// A logger hands the server's lines to zerolog. Notices become debug lines: a
// server that is doing well says nothing.
type logger struct {
	log zerolog.Logger

	mu    sync.Mutex
	fatal string
}

// died is what the server wrote when it could not go on, or "". The server
// leaves it to its logger to end the process, and goes on half-started.
func (l *logger) died() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal
}

// Noticef implements server.Logger.
func (l *logger) Noticef(format string, v ...any) { l.log.Debug().Msgf(format, v...) }

// Warnf implements server.Logger.
func (l *logger) Warnf(format string, v ...any) { l.log.Warn().Msgf(format, v...) }

// Errorf implements server.Logger.
func (l *logger) Errorf(format string, v ...any) { l.log.Error().Msgf(format, v...) }

// Fatalf implements server.Logger. It does not end the process: Start notices.
func (l *logger) Fatalf(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fatal = fmt.Sprintf(format, v...)
}

// Debugf implements server.Logger.
func (l *logger) Debugf(format string, v ...any) { l.log.Debug().Msgf(format, v...) }

// Tracef implements server.Logger.
func (l *logger) Tracef(format string, v ...any) { l.log.Trace().Msgf(format, v...) }
