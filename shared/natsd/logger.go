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

	mu   sync.Mutex
	last string
}

// lastError is the last line that the server wrote as an error: the reason
// why it did not start.
func (l *logger) lastError() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

func (l *logger) keep(format string, v []any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = fmt.Sprintf(format, v...)
}

// Noticef implements server.Logger.
func (l *logger) Noticef(format string, v ...any) { l.log.Debug().Msgf(format, v...) }

// Warnf implements server.Logger.
func (l *logger) Warnf(format string, v ...any) { l.log.Warn().Msgf(format, v...) }

// Errorf implements server.Logger.
func (l *logger) Errorf(format string, v ...any) {
	l.keep(format, v)
	l.log.Error().Msgf(format, v...)
}

// Fatalf implements server.Logger. It does not exit: Start notices.
func (l *logger) Fatalf(format string, v ...any) {
	l.keep(format, v)
	l.log.Error().Msgf(format, v...)
}

// Debugf implements server.Logger.
func (l *logger) Debugf(format string, v ...any) { l.log.Debug().Msgf(format, v...) }

// Tracef implements server.Logger.
func (l *logger) Tracef(format string, v ...any) { l.log.Trace().Msgf(format, v...) }
