package bench

import (
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/fleetune/fleetune/worker/load/input"
)

// usualScenario is what is sent where nothing else is asked for.
const usualScenario = "D(100,100)"

// lengthOptions say how long synthetic prompts and replies are, and what
// sessions are made of.
type lengthOptions struct {
	Scenario   string  `json:"scenario,omitempty"`
	ISL        float64 `json:"isl,omitempty"`
	ISLStd     float64 `json:"isl_stddev,omitempty"`
	OSL        float64 `json:"osl,omitempty"`
	OSLStd     float64 `json:"osl_stddev,omitempty"`
	SeqDist    string  `json:"seq_dist,omitempty"`
	TurnsMean  float64 `json:"turns_mean,omitempty"`
	TurnsStd   float64 `json:"turns_stddev,omitempty"`
	DelayMean  float64 `json:"turn_delay_mean_s,omitempty"`
	DelayStd   float64 `json:"turn_delay_stddev_s,omitempty"`
	DelayRatio float64 `json:"turn_delay_ratio,omitempty"`

	SharedSystem int `json:"shared_system_prompt_length,omitempty"`
	UserContext  int `json:"user_context_prompt_length,omitempty"`
	Prefixes     int `json:"num_prefix_prompts,omitempty"`
	PrefixLength int `json:"prefix_prompt_length,omitempty"`
	Documents    int `json:"documents,omitempty"`
}

func (l *lengthOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&l.Scenario, "traffic-scenario", usualScenario, "D(in,out), N(μ,σ)/(μ,σ), U(a,b)/(c,d), E(tokens), R(document,query) or dataset")
	f.Float64Var(&l.ISL, "isl", 0, "tokens of a prompt, on average, instead of a scenario")
	f.Float64Var(&l.ISLStd, "isl-stddev", 0, "their deviation")
	f.Float64Var(&l.OSL, "osl", 0, "tokens of a reply, on average; 0 leaves it to the server")
	f.Float64Var(&l.OSLStd, "osl-stddev", 0, "their deviation")
	f.StringVar(&l.SeqDist, "seq-dist", "", "mix of lengths with their shares, such as '256,128:60;1024|100,256|50:40' (length, or length|deviation)")
	f.Float64Var(&l.TurnsMean, "session-turns-mean", 0, "turns of a synthetic session")
	f.Float64Var(&l.TurnsStd, "session-turns-stddev", 0, "their deviation")
	f.Float64Var(&l.DelayMean, "session-turn-delay-mean", 0, "pause between turns, s")
	f.Float64Var(&l.DelayStd, "session-turn-delay-stddev", 0, "its deviation, s")
	f.Float64Var(&l.DelayRatio, "session-turn-delay-ratio", 1, "factor of all pauses between turns, recorded ones too")
	f.IntVar(&l.SharedSystem, "shared-system-prompt-length", 0, "tokens of a system prompt that all sessions share")
	f.IntVar(&l.UserContext, "user-context-prompt-length", 0, "tokens of a system prompt of each session's own")
	f.IntVar(&l.Prefixes, "num-prefix-prompts", 0, "size of a pool of prefixes")
	f.IntVar(&l.PrefixLength, "prefix-prompt-length", 0, "tokens of a prefix")
	f.IntVar(&l.Documents, "rerank-documents", 0, "documents of a rerank request")
}

// scenario is the law of lengths that the flags name, in one of three ways.
func (l *lengthOptions) scenario() (input.Scenario, error) {
	switch {
	case l.SeqDist != "":
		s, err := input.ParseMix(l.SeqDist)
		if err != nil {
			return s, fmt.Errorf("--seq-dist: %w", err)
		}
		return s, nil
	case l.ISL > 0:
		return input.Around(l.ISL, l.ISLStd, l.OSL, l.OSLStd), nil
	}
	s, err := input.ParseScenario(l.Scenario)
	if err != nil {
		return s, fmt.Errorf("--traffic-scenario: %w", err)
	}
	return s, nil
}

func (l *lengthOptions) validate(file string) error {
	var errs []error
	bad := func(when bool, message string) {
		if when {
			errs = append(errs, errors.New(message))
		}
	}
	ways := 0
	for _, on := range []bool{l.Scenario != usualScenario, l.SeqDist != "", l.ISL+l.OSL > 0} {
		if on {
			ways++
		}
	}
	bad(ways > 1, "--traffic-scenario, --isl with --osl, and --seq-dist exclude each other")
	bad(l.ISL == 0 && (l.ISLStd > 0 || l.OSL > 0), "--osl and --isl-stddev need --isl")
	bad(l.OSL == 0 && l.OSLStd > 0, "--osl-stddev needs --osl")
	for _, x := range []float64{l.ISL, l.ISLStd, l.OSL, l.OSLStd, l.TurnsMean, l.TurnsStd, l.DelayMean, l.DelayStd, l.DelayRatio} {
		if !(x >= 0 && x <= 1<<24) {
			bad(true, "lengths, turns and pauses must be numbers, not below 0 nor too large")
			break
		}
	}
	bad(l.DelayRatio == 0, "--session-turn-delay-ratio must be above 0; --ignore-trace-delays leaves pauses out")
	bad(l.Prefixes > 0 != (l.PrefixLength > 0), "--num-prefix-prompts and --prefix-prompt-length need each other")
	bad(l.Scenario == "dataset" && file == "", "the scenario dataset needs --input-file")
	if _, err := l.scenario(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
