package bench

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/pflag"
)

// durationValue is a duration such as 90s, or a bare number of units as other
// load generators take it.
type durationValue struct {
	to   *time.Duration
	unit time.Duration
}

func durationVar(f *pflag.FlagSet, to *time.Duration, name string, usual, unit time.Duration, usage string) {
	durationVarP(f, to, name, "", usual, unit, usage)
}

func durationVarP(f *pflag.FlagSet, to *time.Duration, name, short string, usual, unit time.Duration, usage string) {
	*to = usual
	f.VarP(durationValue{to, unit}, name, short, usage)
}

func (d durationValue) String() string {
	if d.to == nil || *d.to == 0 {
		return "0" // by which the help knows that there is no default to show
	}
	return d.to.String()
}

func (d durationValue) Type() string { return "duration" }

func (d durationValue) Set(text string) error {
	if x, err := strconv.ParseFloat(text, 64); err == nil {
		*d.to = time.Duration(x * float64(d.unit))
		return nil
	}
	x, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("%q is no duration such as 90s, 5m or 250ms, nor a number of %v", text, units[d.unit])
	}
	*d.to = x
	return nil
}

var units = map[time.Duration]string{time.Second: "seconds", time.Millisecond: "milliseconds"}

// aliases are names that other load generators have for our flags.
var aliases = map[string]string{ //nolint:gosec // names of flags
	"model-names": "model", "num-conversations": "num-sessions", "conversation-num": "num-sessions", "num-requests": "request-count",
	"num-warmup-requests": "warmup-request-count", "num-warmup-conversations": "num-warmup-sessions",
	"request-timeout-seconds": "request-timeout", "endpoint-path": "endpoint",
	"synthetic-input-tokens-mean": "isl", "synthetic-input-tokens-stddev": "isl-stddev", "output-tokens-mean": "osl", "output-tokens-stddev": "osl-stddev",
	"input-tokens-block-size": "isl-block-size", "sequence-distribution": "seq-dist", "conversation-turn-mean": "session-turns-mean",
	"conversation-turn-stddev": "session-turns-stddev", "conversation-turn-delay-mean": "session-turn-delay-mean",
	"conversation-turn-delay-stddev": "session-turn-delay-stddev", "conversation-turn-delay-ratio": "session-turn-delay-ratio",
	"synthesis-speedup-ratio": "fixed-schedule-speedup", "synthesis-max-isl": "max-context-length", "benchmark-grace": "benchmark-grace-period",
	"arrival-mode": "arrival-pattern", "prefix-prompt-pool-size": "num-prefix-prompts", "system-idle-gap-cap-seconds": "system-idle-gap-cap", "trace-idle-gap-cap": "trace-idle-gap-cap-seconds",
	"artifact-dir": "aiperf-dir", "output-artifact-dir": "aiperf-dir",
	"profile-runs": "num-profile-runs", "seed": "random-seed",
}

func ours(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	if known, ok := aliases[name]; ok {
		name = known
	}
	return pflag.NormalizedName(name)
}
