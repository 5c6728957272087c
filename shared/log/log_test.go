package log_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/fleetune/fleetune/shared/log"
	"github.com/stretchr/testify/require"
)

func TestJSONByDefaultOffATerminal(t *testing.T) {
	var out bytes.Buffer
	l, err := log.New(&out, log.Options{Role: "worker"})
	require.NoError(t, err)
	l.Debug().Msg("not this")
	l.Info().Int("n", 1).Msg("this")
	var line struct {
		Level, Role, Message string
		Time                 time.Time
		N                    int
	}
	require.NoError(t, json.Unmarshal(out.Bytes(), &line), out.String())
	require.Equal(t, "info", line.Level)
	require.Equal(t, "worker", line.Role)
	require.Equal(t, "this", line.Message)
	require.Equal(t, 1, line.N)
	require.False(t, line.Time.IsZero())
}

func TestConsoleWithoutColourOffATerminal(t *testing.T) {
	var out bytes.Buffer
	l, err := log.New(&out, log.Options{Format: log.Console, Level: "warn"})
	require.NoError(t, err)
	l.Info().Msg("not this")
	l.Warn().Str("k", "v").Msg("this")
	require.Regexp(t, `^\d\d:\d\d:\d\d\.\d{3} WRN this k=v\n$`, out.String())
}

func TestUnknownOptionsAreRefused(t *testing.T) {
	var out bytes.Buffer
	_, err := log.New(&out, log.Options{Level: "loud"})
	require.ErrorContains(t, err, `"loud"`)
	_, err = log.New(&out, log.Options{Format: "xml"})
	require.ErrorContains(t, err, `"xml"`)
}
