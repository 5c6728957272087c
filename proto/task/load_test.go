package task

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/stretchr/testify/require"
)

func TestALoadIsOneExperimentAShare(t *testing.T) {
	got, err := NewLoad("bench-1", Load{Shares: 3, Arguments: []string{"--concurrency=9"}, APIKey: "KEY"}, time.Minute, node.Requirements{Pool: "edge"})
	require.NoError(t, err)
	require.Equal(t, KindLoad, got.Kind())
	need := got.Needs()
	require.Equal(t, []string{"KEY"}, need.Secrets)
	require.Equal(t, "edge", need.Pool)
	require.Equal(t, KindLoad, need.Kind)
	require.Equal(t, 3, got.Optimization.MaxParallel, "all shares run at once")
	compiled, err := space.Compile(got.Space)
	require.NoError(t, err)
	require.Equal(t, 3.0, compiled.Domain(0).Size())
	text, err := json.Marshal(got)
	require.NoError(t, err)
	var again Task
	require.NoError(t, json.Unmarshal(text, &again))
	require.Equal(t, got.Load, again.Load)
}

func TestALoadThatCannotBeIsRefused(t *testing.T) {
	good := Load{Shares: 1}
	for want, c := range map[string]struct {
		name  string
		load  Load
		limit time.Duration
	}{
		"task's name": {"Bench", good, time.Minute},
		"shares":      {"b", Load{}, time.Minute},
		"not 1001":    {"b", Load{Shares: 1001}, time.Minute},
		"secret":      {"b", Load{Shares: 1, APIKey: "a b"}, time.Minute},
		"takes up to": {"b", good, 0},
		"--name":      {"b", Load{Shares: 1, Arguments: []string{"rm"}}, time.Minute},
		"arguments":   {"b", Load{Shares: 1, Arguments: strings.Split(strings.Repeat("--x ", 501), " ")}, time.Minute},
	} {
		_, err := NewLoad(c.name, c.load, c.limit, node.Requirements{})
		require.ErrorContains(t, err, want)
	}
}
