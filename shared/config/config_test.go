package config_test

import (
	"testing"
	"time"

	"github.com/fleetune/fleetune/shared/config"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

func environment(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := vars[name]
		return value, ok
	}
}

func TestFlagOverVariableOverDefault(t *testing.T) {
	flags := pflag.NewFlagSet("t", pflag.ContinueOnError)
	given := flags.String("given", "default", "")
	absent := flags.Duration("log-every", time.Second, "")
	empty := flags.String("empty", "default", "")
	none := flags.Int("none", 3, "")
	require.NoError(t, flags.Parse([]string{"--given", "flag"}))
	require.NoError(t, config.FromEnvironment(flags, environment(map[string]string{
		"FLEETUNE_GIVEN": "variable", "FLEETUNE_LOG_EVERY": "5s", "FLEETUNE_EMPTY": "",
	})))
	require.Equal(t, "flag", *given)
	require.Equal(t, 5*time.Second, *absent)
	require.Equal(t, "default", *empty)
	require.Equal(t, 3, *none)
}

func TestBadVariablesAreAllTold(t *testing.T) {
	flags := pflag.NewFlagSet("t", pflag.ContinueOnError)
	flags.Int("a", 1, "")
	flags.Duration("b", 1, "")
	err := config.FromEnvironment(flags, environment(map[string]string{"FLEETUNE_A": "x", "FLEETUNE_B": "y"}))
	require.ErrorContains(t, err, "FLEETUNE_A")
	require.ErrorContains(t, err, "FLEETUNE_B")
}
