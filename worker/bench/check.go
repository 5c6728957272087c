package bench

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/worker/load/dataset"
	"github.com/fleetune/fleetune/worker/load/input"
	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/fleetune/fleetune/worker/load/pace"
)

// validate tells everything that is wrong with the flags at once.
func (o *options) validate() error {
	var errs []error
	bad := func(when bool, message string) {
		if when {
			errs = append(errs, errors.New(message))
		}
	}
	modes := 0
	for _, on := range []bool{o.Schedule, o.UserRate > 0, o.Rate > 0} {
		if on {
			modes++
		}
	}
	bad(modes > 1, "--fixed-schedule, --user-centric-rate and --request-rate exclude each other")
	bad(o.Schedule && o.InputFile == "", "--fixed-schedule needs --input-file")
	bad(o.UserRate > 0 && o.Users < 1, "--user-centric-rate needs --num-users")
	bad(o.Prefill > 0 && !o.Streaming, "--prefill-concurrency needs --streaming")
	bad(o.Sweep != "" && o.Search != "", "--sweep and --search exclude each other")
	bad((o.Sweep != "" || o.Search != "") && (o.Schedule || o.UserRate > 0), "--sweep and --search vary a concurrency or a rate, not a schedule or users")
	bad((o.Sweep != "" || o.Search != "") && o.Runs > 1, "--num-profile-runs does not go with --sweep or --search")
	bad(o.Workers < 0 || o.Workers > task.MaxShares, fmt.Sprintf("--workers must be between 0 and %d", task.MaxShares))
	bad(o.Runs < 1 || o.Runs > 10, "--num-profile-runs must be between 1 and 10")
	bad(!(o.FailureLimit >= 0 && o.FailureLimit < 1), "--failed-request-threshold must be a share, at least 0 and below 1")
	bad(!(o.Confidence > 0 && o.Confidence < 1), "--confidence-level must be between 0 and 1")
	bad(o.Concurrency < 0 || o.Requests < 0 || o.Sessions < 0 || o.Rate < 0, "counts and rates must not be negative")
	bad(o.APIKey != "", "--api-key: a key that is typed can be read by everybody on this machine; put it into an environment variable and name that: --api-key-env NAME")
	bad(!o.ServerCounts && o.Tokenizer == "", "--use-server-token-count=false needs --tokenizer")
	errs = append(errs, o.checkInput(), o.lengthOptions.validate(o.InputFile), o.warmupOptions.validate(), o.exportOptions.validate(), o.needs())
	bad(!slices.Contains([]string{"auto", "live", "plain", "none"}, o.UI), "--ui must be auto, live, plain or none")
	// What is checked again where it is used is checked here for all of it to
	// be told at once.
	if _, err := o.target(); err != nil {
		errs = append(errs, err)
	}
	if _, err := metrics.ParseSLOs(o.Goodput); err != nil {
		errs = append(errs, fmt.Errorf("--goodput: %w", err))
	}
	if err := o.checkReplay(); err != nil {
		errs = append(errs, err)
	}
	if o.Sweep != "" {
		if _, _, err := parseSweep(o.Sweep); err != nil {
			errs = append(errs, err)
		}
	}
	if o.Search != "" {
		if _, _, _, err := parseSearch(o.Search); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// checkInput tells what is wrong with the flags that an input is read by.
func (o *options) checkInput() error {
	errs := []error{o.check(o.InputFile), o.synthesisOptions.validate(o.InputFile)}
	if o.Format != "" && o.Format != string(dataset.Rows) {
		if err := input.Format(o.Format).Check(); err != nil {
			errs = append(errs, fmt.Errorf("--custom-dataset-type: %w", err))
		}
	}
	return errors.Join(errs...)
}

// need is a flag that says nothing without another.
type need struct {
	given bool
	flag  string
	has   bool
	other string
}

// needs refuses flags that would be passed over in silence.
func (o *options) needs() error {
	open := o.Rate > 0 || strings.HasPrefix(o.Sweep, "rate=") || strings.HasPrefix(o.Search, "rate=")
	return unmet([]need{
		{o.Arrival != "" && o.Arrival != string(pace.Burst), "--arrival-pattern", open, "--request-rate"},
		{o.Smoothness != 1, "--arrival-smoothness", o.Arrival == string(pace.Gamma), "--arrival-pattern gamma"},
		{o.RateRamp > 0, "--request-rate-ramp-duration", open, "--request-rate"},
		{o.ConcRamp > 0, "--concurrency-ramp-duration", o.Concurrency > 0 || o.Sweep != "" || o.Search != "", "--concurrency"},
		{o.PrefillRamp > 0, "--prefill-concurrency-ramp-duration", o.Prefill > 0, "--prefill-concurrency"},
		{o.Users > 0, "--num-users", o.UserRate > 0, "--user-centric-rate"},
		{o.SpeedUp != 1, "--fixed-schedule-speedup", o.Schedule, "--fixed-schedule"},
		{o.From != 0, "--fixed-schedule-start-offset", o.Schedule, "--fixed-schedule"},
		{o.To != 0, "--fixed-schedule-end-offset", o.Schedule, "--fixed-schedule"},
		{o.CancelDelay > 0, "--request-cancellation-delay", o.CancelRate > 0, "--request-cancellation-rate"},
	})
}

func unmet(all []need) error {
	var errs []error
	for _, n := range all {
		if n.given && !n.has {
			errs = append(errs, fmt.Errorf("%s needs %s", n.flag, n.other))
		}
	}
	return errors.Join(errs...)
}

// fits refuses flags that mean nothing to what the input turned out to hold.
func (o *options) fits(w *workload) error {
	agents, others := w.trees(), "conversations; the input holds agentic traces, whose lanes --concurrency sets"
	const only = "agentic traces as --input-file"
	hashed := w.file != nil && slices.Contains([]input.Format{input.Mooncake, input.Bailian}, w.file.Format)
	lengths := hashed || w.file != nil && slices.Contains([]input.Format{input.Azure, input.BurstGPT}, w.file.Format)
	return unmet([]need{
		{o.Rate > 0 || strings.HasPrefix(o.Sweep, "rate=") || strings.HasPrefix(o.Search, "rate="), "--request-rate", !agents, others},
		{o.Arrival != "", "--arrival-pattern", !agents, others},
		{o.UserRate > 0, "--user-centric-rate", !agents, others},
		{o.Schedule, "--fixed-schedule", !agents, others},
		{o.Prefill > 0, "--prefill-concurrency", !agents, others},
		{o.ConcRamp > 0, "--concurrency-ramp-duration", !agents, others},
		{o.BlockSize > 0, "--isl-block-size", !agents, "hashed prompts of another format; agentic traces say theirs"},
		{o.PrefixFactor != 1, "--synthesis-prefix-len-multiplier", hashed, "prompts of recorded blocks: a mooncake_trace or bailian_trace"},
		{o.PrefixRoots != 1, "--synthesis-prefix-root-multiplier", hashed, "prompts of recorded blocks: a mooncake_trace or bailian_trace"},
		{o.PromptFactor != 1, "--synthesis-prompt-len-multiplier", lengths, "prompts of recorded lengths: a mooncake_trace, bailian_trace, burst_gpt or azure_csv"},
		{o.ends(), "--warmup-request-count", !agents, others + " and which have --agentic-warmup"},
		{o.Seamless, "--warmup-seamless", !agents, others},
		{o.Barriers, "--replay-barriers", agents, only},
		{o.Flattened, "--split-flattened-agents", agents, only},
		{o.FailFast, "--dag-fail-fast", agents, only},
		{o.Pressure > 0, "--agentic-cache-warmup-duration", agents, only},
		{o.Quota > 0, "--warmup-requests-per-lane", agents, only},
		{o.IdleGap > 0, "--trace-idle-gap-cut-seconds", agents, only},
		{o.TreeIdle > 0, "--trace-idle-gap-cap-seconds", agents, only},
		{o.LaneCap > 0, "--lane-start-cap", agents, only},
		{o.ThinkTime, "--use-think-time-only", agents, only},
		{o.Burst, "--burst-phase-starts", agents, only},
		{o.Wrap, "--allow-dataset-wrap", agents, only},
		{o.SystemIdle > 0 && o.Locked == "", "--system-idle-gap-cap", agents, only},
	})
}

// parseSweep reads a variable and its values.
func parseSweep(text string) (name string, values []float64, err error) {
	name, list, _ := strings.Cut(text, "=")
	if name != "concurrency" && name != "rate" {
		return "", nil, fmt.Errorf("--sweep %q: want concurrency=… or rate=…", text)
	}
	for _, field := range strings.Split(list, ",") {
		x, err := parseLoad(name, field)
		if err != nil {
			return "", nil, fmt.Errorf("--sweep %q: %w", text, err)
		}
		values = append(values, x)
	}
	return name, values, nil
}

// parseSearch reads a variable and its bounds.
func parseSearch(text string) (name string, least, most float64, err error) {
	name, bounds, _ := strings.Cut(text, "=")
	low, high, ok := strings.Cut(bounds, ":")
	if name != "concurrency" && name != "rate" || !ok {
		return "", 0, 0, fmt.Errorf("--search %q: want concurrency=least:most or rate=least:most", text)
	}
	if least, err = parseLoad(name, low); err == nil {
		most, err = parseLoad(name, high)
	}
	if err == nil && most < least {
		err = errors.New("the bounds are in the wrong order")
	}
	if err != nil {
		return "", 0, 0, fmt.Errorf("--search %q: %w", text, err)
	}
	return name, least, most, nil
}

func parseLoad(name, field string) (float64, error) {
	x, err := strconv.ParseFloat(strings.TrimSpace(field), 64)
	if err != nil || !(x > 0) || x > 1e9 {
		return 0, fmt.Errorf("%q is no number above 0", field)
	}
	if name == "concurrency" && x != float64(int(x)) {
		return 0, fmt.Errorf("a concurrency of %v is not whole", x)
	}
	return x, nil
}
