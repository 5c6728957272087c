package bench

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/fleetune/fleetune/proto/task"
)

func parsed(t require.TestingT, args ...string) *options {
	o := &options{}
	set := pflag.NewFlagSet("bench", pflag.ContinueOnError)
	o.flags(set)
	require.NoError(t, set.Parse(args))
	return o
}

// The shares of a load add up to it.
func TestSharesAddUpToTheLoad(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 9).Draw(t, "workers")
		o := parsed(t)
		o.Concurrency, o.Requests, o.Sessions = rapid.IntRange(n, 100).Draw(t, "c"), rapid.IntRange(n, 1000).Draw(t, "n"), rapid.IntRange(n, 100).Draw(t, "s")
		o.Users, o.UserRate, o.Rate = rapid.IntRange(n, 50).Draw(t, "users"), 7, rapid.Float64Range(0.1, 1000).Draw(t, "rate")
		var sum options
		seeds := map[int64]bool{}
		for i := range n {
			p, err := o.share(i, n)
			require.NoError(t, err)
			sum.Concurrency += p.Concurrency
			sum.Requests += p.Requests
			sum.Sessions += p.Sessions
			sum.Users += p.Users
			sum.Rate += p.Rate
			sum.UserRate += p.UserRate
			seeds[p.Seed] = true
		}
		require.Equal(t, []int{o.Concurrency, o.Requests, o.Sessions, o.Users}, []int{sum.Concurrency, sum.Requests, sum.Sessions, sum.Users})
		require.InEpsilon(t, o.Rate, sum.Rate, 1e-9)
		require.InEpsilon(t, o.UserRate, sum.UserRate, 1e-9)
		require.Len(t, seeds, n, "no two shares send the same prompts")
	})
}

func TestALoadTooSmallForItsWorkersIsRefused(t *testing.T) {
	o := parsed(t, "--concurrency=2", "--workers=3")
	_, err := o.order(0)
	require.ErrorContains(t, err, "--concurrency 2 cannot be shared out to 3 workers")
	_, err = parsed(t, "--workers=2", "--header=Authorization: x").order(0)
	require.ErrorContains(t, err, "secrets")
	_, err = parsed(t, "--workers=2", "--warmup-seamless", "--warmup-duration=1").order(0)
	require.ErrorContains(t, err, "wait for each other")
	_, err = parsed(t, "--workers=2", "--aiperf-dir=x", "--export-level=raw").order(0)
	require.ErrorContains(t, err, "--export-level raw does not go with --workers")
}

// Shares hand requests over where a file wants them.
func TestSharesKeepRequestsForFiles(t *testing.T) {
	for args, keeps := range map[string]bool{"--requests=x": true, "--aiperf-dir=x": true, "--aiperf-dir=x --export-level=summary": false, "": false} {
		order, err := parsed(t, append([]string{"--workers=2", "-c=2"}, strings.Fields(args)...)...).order(0)
		require.NoError(t, err)
		require.Equal(t, keeps, slices.Contains(order.Load.Arguments, "--keep-requests=100000"), args)
		plan, err := SharePlan(t.Context(), order.Load, 0, "", "")
		require.NoError(t, err)
		require.Equal(t, keeps, plan.KeepRequests > 0)
	}
}

// What travels as arguments is read as the same options, and nothing of it is
// a secret or the command's own.
func TestArgumentsSayWhatTheFlagsDid(t *testing.T) {
	args := []string{"--url=http://a:1", "--url=http://b:2", "--model=m", "--extra-inputs=a:1", "--extra-inputs=b:x,y", "--concurrency=8",
		"--streaming=false", "--benchmark-duration=1m0s", "--traffic-scenario=N(10,2)/(3,1)"}
	o := parsed(t, append(args, "--workers=2", "--json=-", "--api-key-env=KEY", "--sweep=rate=1,2")...)
	got := o.arguments()
	require.ElementsMatch(t, args, got)
	again := parsed(t, got...)
	require.Equal(t, o.URLs, again.URLs)
	require.Equal(t, o.Extra, again.Extra)
	require.Equal(t, got, again.arguments())
	order, err := o.order(3)
	require.NoError(t, err)
	require.Equal(t, "KEY", order.Load.APIKey)
	require.Contains(t, order.Load.Arguments, "--random-seed=4", "the fourth run has prompts of its own")
}

// An input is dealt out entry by entry; every share plays its own, on the same
// schedule.
func TestAnInputIsDealtOut(t *testing.T) {
	dir := t.TempDir()
	text := ""
	for _, at := range []string{"1000", "1100", "1200", "1300", "1400"} {
		text += `{"timestamp":` + at + `,"input_length":5,"output_length":2}` + "\n"
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "trace.jsonl"), []byte(text), 0o600))
	o := parsed(t, "--model=m", "--fixed-schedule", "--input-file="+filepath.Join(dir, "trace.jsonl"), "--custom-dataset-type=mooncake_trace", "--workers=2")
	order, err := o.order(0)
	require.NoError(t, err)
	require.Equal(t, []string{"trace.jsonl"}, order.Load.Files)
	require.NotEmpty(t, order.Bundle)
	starts := map[time.Duration]int{}
	for share := range 2 {
		p, err := SharePlan(t.Context(), order.Load, share, dir, "secret")
		require.NoError(t, err)
		require.Equal(t, "secret", p.Target.APIKey)
		require.Equal(t, time.Second, p.Profile.Shape.From, "both count from the first entry of all")
		require.False(t, p.Profile.Shape.AutoOffset)
		require.Equal(t, share > 0, p.ServerMetrics == "")
		for _, c := range p.List {
			starts[*c.Turns[0].At]++
		}
	}
	require.Len(t, starts, 5)
	_, err = SharePlan(t.Context(), task.Load{Shares: 1, Arguments: []string{"--api-key-env=PATH"}}, 0, "", "")
	require.Error(t, err, "a worker's own environment is not the load's to read")
}
