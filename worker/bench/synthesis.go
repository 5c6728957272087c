package bench

import (
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/fleetune/fleetune/worker/load/input"
)

// synthesisOptions make another workload of a recorded one.
type synthesisOptions struct {
	PrefixFactor float64 `json:"synthesis_prefix_len_multiplier"`
	PrefixRoots  int     `json:"synthesis_prefix_root_multiplier"`
	PromptFactor float64 `json:"synthesis_prompt_len_multiplier"`
	OutputFactor float64 `json:"synthesis_output_len_multiplier"`
	MaxOutput    int     `json:"synthesis_max_osl,omitempty"`
}

func (s *synthesisOptions) flags(f *pflag.FlagSet) {
	f.Float64Var(&s.PrefixFactor, "synthesis-prefix-len-multiplier", 1, "lengthen what recorded prompts begin with in common")
	f.IntVar(&s.PrefixRoots, "synthesis-prefix-root-multiplier", 1, "deal recorded conversations out to so many trees of prefixes that have nothing in common")
	f.Float64Var(&s.PromptFactor, "synthesis-prompt-len-multiplier", 1, "lengthen what recorded prompts have of their own")
	f.Float64Var(&s.OutputFactor, "synthesis-output-len-multiplier", 1, "lengthen replies whose length the input says")
	f.IntVar(&s.MaxOutput, "synthesis-max-osl", 0, "bound them, in tokens; --max-context-length bounds prompts")
}

// recipe is what the flags ask of the input.
func (s *synthesisOptions) recipe() input.Synthesis {
	given := func(x *float64) *float64 {
		if *x == 1 {
			return nil
		}
		return x
	}
	out := input.Synthesis{PrefixLength: given(&s.PrefixFactor), PromptLength: given(&s.PromptFactor), OutputLength: given(&s.OutputFactor), MaxOutput: s.MaxOutput}
	if s.PrefixRoots != 1 {
		out.Roots = s.PrefixRoots
	}
	return out
}

func (s *synthesisOptions) validate(file string) error {
	var errs []error
	r := s.recipe()
	if file == "" && r != (input.Synthesis{}) {
		errs = append(errs, errors.New("--synthesis-… multipliers need --input-file; --isl, --osl and --num-prefix-prompts make synthetic prompts"))
	}
	if s.PrefixRoots < 1 {
		errs = append(errs, errors.New("--synthesis-prefix-root-multiplier must be at least 1"))
		r.Roots = 0
	}
	if err := r.Check(); err != nil {
		errs = append(errs, fmt.Errorf("--synthesis: %w", err))
	}
	return errors.Join(errs...)
}
