package bench

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/fleetune/fleetune/worker/load/play"
	"github.com/fleetune/fleetune/worker/load/report"
)

// agenticOptions say how agentic traces are replayed.
type agenticOptions struct {
	StartMin     float64       `json:"trajectory_start_min_ratio"`
	StartMax     float64       `json:"trajectory_start_max_ratio"`
	CacheBust    string        `json:"cache_bust,omitempty"`
	IdleGap      float64       `json:"trace_idle_gap_cut_s,omitempty"`
	TreeIdle     time.Duration `json:"trace_idle_gap_cap_ns,omitempty"`
	SystemIdle   time.Duration `json:"system_idle_gap_cap_ns,omitempty"`
	LaneCap      time.Duration `json:"lane_start_cap_ns,omitempty"`
	DelayCap     float64       `json:"inter_turn_delay_cap_s,omitempty"`
	IgnoreDelays bool          `json:"ignore_trace_delays,omitempty"`
	ThinkTime    bool          `json:"use_think_time_only,omitempty"`
	Burst        bool          `json:"burst_phase_starts,omitempty"`
	Wrap         bool          `json:"allow_dataset_wrap,omitempty"`
	AgentWarmup  bool          `json:"agentic_warmup,omitempty"`
	WarmCap      time.Duration `json:"agentic_warmup_cap_ns,omitempty"`
	Pressure     time.Duration `json:"agentic_cache_warmup_duration_ns,omitempty"`
	Quota        int           `json:"warmup_requests_per_lane,omitempty"`
	Barriers     bool          `json:"replay_barriers,omitempty"`
	Flattened    bool          `json:"split_flattened_agents,omitempty"`
	FailFast     bool          `json:"dag_fail_fast,omitempty"`
	Locked       string        `json:"scenario_name,omitempty"`
	Unsafe       bool          `json:"unsafe_override,omitempty"`
}

// Where lanes take recorded traces up, where nothing else is asked for.
const usualStartMin, usualStartMax = 0.25, 0.75

func (o *agenticOptions) flags(f *pflag.FlagSet) {
	f.Float64Var(&o.StartMin, "trajectory-start-min-ratio", usualStartMin, "earliest start inside an agentic trace, as a share of it")
	f.Float64Var(&o.StartMax, "trajectory-start-max-ratio", usualStartMax, "latest start inside an agentic trace")
	f.StringVar(&o.CacheBust, "cache-bust", "", "none, system_prefix, system_suffix, first_turn_prefix or first_turn_suffix; with warmup_isolation_ before it, of the warm-up alone")
	durationVar(f, &o.TreeIdle, "trace-idle-gap-cap-seconds", 0, time.Second, "longest time in which nothing of a trace is in flight")
	f.Float64Var(&o.IdleGap, "trace-idle-gap-cut-seconds", 0, "cut what recorded gaps between requests of a trace are longer, s, before lanes take it up")
	durationVar(f, &o.SystemIdle, "system-idle-gap-cap", 0, time.Second, "longest time in which nothing at all happens")
	durationVar(f, &o.LaneCap, "lane-start-cap", 0, time.Second, "longest wait for a lane's first request")
	f.Float64Var(&o.DelayCap, "inter-turn-delay-cap-seconds", 0, "longest pause between turns, s")
	f.BoolVar(&o.IgnoreDelays, "ignore-trace-delays", false, "send turns right after the reply before")
	f.BoolVar(&o.ThinkTime, "use-think-time-only", false, "pause for the recorded think time alone")
	f.BoolVar(&o.Burst, "burst-phase-starts", false, "start every lane at once")
	f.BoolVar(&o.Wrap, "allow-dataset-wrap", false, "let lanes share traces")
	f.BoolVar(&o.AgentWarmup, "agentic-warmup", true, "fill the server's caches before an agentic replay")
	durationVar(f, &o.WarmCap, "agentic-warmup-cap", time.Minute, time.Second, "longest time over which that is spread; 0 for as long as was recorded")
	durationVar(f, &o.Pressure, "agentic-cache-warmup-duration", 0, time.Second, "play agentic traces on without delays for so long before measuring")
	f.IntVar(&o.Quota, "warmup-requests-per-lane", 0, "end that stage of a lane after so many requests")
	f.BoolVar(&o.Barriers, "replay-barriers", false, "keep the recorded order of requests between the agents of a trace")
	f.BoolVar(&o.Flattened, "split-flattened-agents", false, "tell agents apart that were recorded in one list, by their prompts")
	f.BoolVar(&o.FailFast, "dag-fail-fast", false, "end the replay when a child fails")
	f.StringVar(&o.Locked, "scenario", "", "locked settings whose results compare: "+agentX)
	f.BoolVar(&o.Unsafe, "unsafe-override", false, "let flags differ from the scenario's; the report then says that it does not count")
}

// agentX is the one locked scenario: agentic traffic of public traces.
const agentX = "inferencex-agentx-mvp"

// The scenario's bounds, by its definition.
const (
	agentXLeast   = 900 * time.Second
	agentXUsual   = 1800 * time.Second
	agentXIdleCap = 10 * time.Second
	// tooMany is the share of failed requests above which a run says nothing.
	tooMany = 0.01
)

// lock applies a scenario: what was not asked for otherwise takes its values,
// and what breaks its rules is refused, or told in the report.
func (o *options) lock(given *pflag.FlagSet) error {
	switch o.Locked {
	case "":
		return nil
	case agentX:
	default:
		return fmt.Errorf("--scenario %q: the one scenario is %s", o.Locked, agentX)
	}
	usual := func(flag string, set func()) {
		if !given.Changed(flag) {
			set()
		}
	}
	usual("cache-bust", func() { o.CacheBust = string(play.FirstTurnPrefix) })
	usual("benchmark-duration", func() { o.Duration = agentXUsual })
	usual("trajectory-start-min-ratio", func() { o.StartMin = 0 })
	usual("trajectory-start-max-ratio", func() { o.StartMax = 1 })
	usual("system-idle-gap-cap", func() { o.SystemIdle = agentXIdleCap })
	for _, rule := range []struct {
		broken bool
		reason string
	}{
		{!o.Streaming, "--streaming must be on"},
		{!o.IgnoreEOS, "--ignore-eos must be on"},
		{o.CacheBust != string(play.FirstTurnPrefix), "--cache-bust must be first_turn_prefix"},
		{o.InputFile == "", "--input-file must name agentic traces"},
		{o.Duration < agentXLeast, fmt.Sprintf("--benchmark-duration must be at least %v", agentXLeast)},
		{o.MaxInput > 0, "--max-context-length must not leave out long prompts"},
		{o.IdleGap > 0, "--trace-idle-gap-cut-seconds must not change the recording; --trace-idle-gap-cap-seconds may be set"},
		{!given.Changed("random-seed"), "--random-seed must be given"},
	} {
		if rule.broken {
			o.broken = append(o.broken, rule.reason)
		}
	}
	if len(o.broken) > 0 && !o.Unsafe {
		return fmt.Errorf("--scenario %s: %s (or say --unsafe-override)", o.Locked, strings.Join(o.broken, "; "))
	}
	return nil
}

// submission says whether a report is one of its scenario's.
func (o *options) submission(doc *report.Document) *report.Submission {
	if o.Locked == "" {
		return nil
	}
	s := &report.Submission{Scenario: o.Locked, Reasons: append([]string{}, o.broken...)}
	also := func(when bool, reason string) {
		if when {
			s.Reasons = append(s.Reasons, reason)
		}
	}
	b := doc.Branches
	also(b == nil, "the input held no agentic traces")
	also(doc.Cancelled, "the run was stopped early")
	also(b != nil && float64(b.Overflows) > tooMany*float64(b.RequestsIssued), "more than 1 % of the requests overflowed the model's context")
	also(doc.Metrics[metrics.TagErrorRate].Avg > tooMany, "more than 1 % of the requests failed")
	s.Valid = len(s.Reasons) == 0
	return s
}

// checkReplay tells what is wrong with the settings of a replay.
func (o *options) checkReplay() error {
	if o.Pressure < 0 || o.Quota < 0 {
		return errors.New("the stage before measuring cannot be shorter than nothing")
	}
	if _, err := play.ParseTarget(o.CacheBust); err != nil {
		return fmt.Errorf("--cache-bust: %w", err)
	}
	return nil
}
