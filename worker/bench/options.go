package bench

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/worker/load"
	"github.com/fleetune/fleetune/worker/load/input"
	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/fleetune/fleetune/worker/load/transport"
)

// options are the command's flags. As JSON they are the configuration that a
// report carries; secrets are not among them, only their names.
type options struct {
	URLs          []string      `json:"url"`
	Models        []string      `json:"model"`
	Endpoint      string        `json:"endpoint_type"`
	Path          string        `json:"endpoint_path,omitempty"`
	Streaming     bool          `json:"streaming"`
	APIKeyEnv     string        `json:"api_key_env,omitempty"`
	Headers       []string      `json:"-"` // may carry secrets
	Extra         []string      `json:"extra_inputs,omitempty"`
	Timeout       time.Duration `json:"request_timeout_ns"`
	IdleTimeout   time.Duration `json:"idle_timeout_ns,omitempty"`
	Reuse         string        `json:"connection_reuse"`
	KeepAlive     time.Duration `json:"keep_alive_ns,omitempty"`
	ConnTimeout   time.Duration `json:"connect_timeout_ns,omitempty"`
	CAFile        string        `json:"ca_file,omitempty"`
	CertFile      string        `json:"cert_file,omitempty"`
	KeyFile       string        `json:"key_file,omitempty"`
	InsecureTLS   bool          `json:"insecure_tls,omitempty"`
	LegacyTokens  bool          `json:"legacy_max_tokens"`
	IgnoreEOS     bool          `json:"ignore_eos"`
	ServerCounts  bool          `json:"use_server_token_count"`
	SessionHeader string        `json:"session_header,omitempty"`
	ServerMetrics string        `json:"server_metrics,omitempty"`

	Scenario     string  `json:"scenario,omitempty"`
	InputFile    string  `json:"input_file,omitempty"`
	Format       string  `json:"format,omitempty"`
	Order        string  `json:"sampling,omitempty"`
	Limit        int     `json:"limit,omitempty"`
	MaxInput     int     `json:"max_input,omitempty"`
	BlockSize    int     `json:"block_size,omitempty"`
	MaxTokens    int     `json:"max_tokens,omitempty"`
	TurnsMean    float64 `json:"turns_mean,omitempty"`
	TurnsStd     float64 `json:"turns_stddev,omitempty"`
	DelayMean    float64 `json:"turn_delay_mean_s,omitempty"`
	DelayStd     float64 `json:"turn_delay_stddev_s,omitempty"`
	SharedSystem int     `json:"shared_system_prompt_length,omitempty"`
	UserContext  int     `json:"user_context_prompt_length,omitempty"`
	Prefixes     int     `json:"num_prefix_prompts,omitempty"`
	PrefixLength int     `json:"prefix_prompt_length,omitempty"`
	Documents    int     `json:"documents,omitempty"`
	Seed         int64   `json:"random_seed"`

	Concurrency  int           `json:"concurrency,omitempty"`
	Prefill      int           `json:"prefill_concurrency,omitempty"`
	Rate         float64       `json:"request_rate,omitempty"`
	Arrival      string        `json:"arrival_pattern,omitempty"`
	Smoothness   float64       `json:"arrival_smoothness,omitempty"`
	UserRate     float64       `json:"user_centric_rate,omitempty"`
	Users        int           `json:"num_users,omitempty"`
	Schedule     bool          `json:"fixed_schedule,omitempty"`
	AutoOffset   bool          `json:"fixed_schedule_auto_offset,omitempty"`
	From         time.Duration `json:"fixed_schedule_start_ns,omitempty"`
	To           time.Duration `json:"fixed_schedule_end_ns,omitempty"`
	SpeedUp      float64       `json:"speed_up,omitempty"`
	ConcRamp     time.Duration `json:"concurrency_ramp_ns,omitempty"`
	PrefillRamp  time.Duration `json:"prefill_ramp_ns,omitempty"`
	RateRamp     time.Duration `json:"rate_ramp_ns,omitempty"`
	Requests     int           `json:"request_count,omitempty"`
	Sessions     int           `json:"num_sessions,omitempty"`
	Duration     time.Duration `json:"benchmark_duration_ns,omitempty"`
	Grace        time.Duration `json:"grace_period_ns"`
	WarmRequests int           `json:"warmup_request_count,omitempty"`
	WarmDuration time.Duration `json:"warmup_duration_ns,omitempty"`
	CancelRate   float64       `json:"request_cancellation_rate,omitempty"`
	CancelDelay  time.Duration `json:"request_cancellation_delay_ns,omitempty"`
	FailureLimit float64       `json:"failed_request_threshold,omitempty"`
	Goodput      string        `json:"goodput,omitempty"`

	StartMin     float64       `json:"trajectory_start_min_ratio"`
	StartMax     float64       `json:"trajectory_start_max_ratio"`
	CacheBust    string        `json:"cache_bust,omitempty"`
	IdleGap      float64       `json:"trace_idle_gap_cap_s,omitempty"`
	SystemIdle   time.Duration `json:"system_idle_gap_cap_ns,omitempty"`
	LaneCap      time.Duration `json:"lane_start_cap_ns,omitempty"`
	DelayCap     float64       `json:"inter_turn_delay_cap_s,omitempty"`
	IgnoreDelays bool          `json:"ignore_trace_delays,omitempty"`
	ThinkTime    bool          `json:"use_think_time_only,omitempty"`
	Burst        bool          `json:"burst_phase_starts,omitempty"`
	Wrap         bool          `json:"allow_dataset_wrap,omitempty"`
	AgentWarmup  bool          `json:"agentic_warmup,omitempty"`
	WarmCap      time.Duration `json:"agentic_warmup_cap_ns,omitempty"`

	Sweep      string        `json:"sweep,omitempty"`
	Search     string        `json:"search,omitempty"`
	Good       float64       `json:"slo_attainment,omitempty"`
	Runs       int           `json:"num_profile_runs"`
	Confidence float64       `json:"confidence_level"`
	Slice      time.Duration `json:"slice_duration_ns,omitempty"`

	JSON    string `json:"-"`
	CSV     string `json:"-"`
	Lines   string `json:"-"`
	HTML    string `json:"-"`
	AIPerf  string `json:"-"`
	UI      string `json:"-"`
	DryRun  bool   `json:"-"`
	Preview int    `json:"-"`

	dataOptions

	GPUTelemetry string `json:"gpu_telemetry,omitempty"`

	agenticOptions
	broken []string // the rules of a scenario that the flags break
	fleetOptions
	fleet Fleet
}

func (o *options) flags(f *pflag.FlagSet) {
	f.StringSliceVarP(&o.URLs, "url", "u", []string{"http://localhost:8000"}, "server to load; several take sessions in turn")
	f.StringSliceVarP(&o.Models, "model", "m", nil, "model to ask for")
	f.StringVar(&o.Endpoint, "endpoint-type", "chat", "chat, completions, embeddings, rerank or responses")
	f.StringVar(&o.Path, "endpoint", "", "path of the endpoint, instead of its usual one")
	f.BoolVar(&o.Streaming, "streaming", true, "stream replies")
	f.StringVar(&o.APIKeyEnv, "api-key-env", "", "environment variable that holds the API key")
	f.StringArrayVarP(&o.Headers, "header", "H", nil, "header as 'Name: value'")
	f.StringArrayVar(&o.Extra, "extra-inputs", nil, "member of every request body as name:value; the value is JSON, or else text")
	f.DurationVar(&o.Timeout, "request-timeout", 6*time.Hour, "limit of one request")
	f.DurationVar(&o.IdleTimeout, "idle-timeout", 0, "limit of silence inside a reply")
	f.StringVar(&o.Reuse, "connection-reuse-strategy", "pooled", "pooled, never or sticky-user-sessions")
	f.DurationVar(&o.KeepAlive, "keep-alive", 0, "how long an idle connection stays open (default 4s, below common servers' 5s)")
	f.DurationVar(&o.ConnTimeout, "connect-timeout", transport.DefaultConnectTimeout, "limit of opening a connection")
	f.StringVar(&o.CAFile, "ca-file", "", "certificates to trust besides the system's")
	f.StringVar(&o.CertFile, "cert-file", "", "client certificate for servers that ask for one, as PEM")
	f.StringVar(&o.KeyFile, "key-file", "", "its private key, if that is not in the certificate's file")
	f.BoolVar(&o.InsecureTLS, "insecure", false, "accept any certificate")
	f.BoolVar(&o.LegacyTokens, "use-legacy-max-tokens", true, "write max_tokens rather than max_completion_tokens")
	f.BoolVar(&o.ServerCounts, "use-server-token-count", true, "take the server's token counts where it gives any; false takes the --tokenizer's")
	f.BoolVar(&o.IgnoreEOS, "ignore-eos", true, "ask the server to reach the output length, for workloads that set one")
	f.StringVar(&o.SessionHeader, "session-header", "", "header that carries the session's id for routers")
	f.StringVar(&o.ServerMetrics, "server-metrics", load.AutoMetrics, "Prometheus endpoint of the engine; auto tries /metrics beside the URL, empty reads none")

	f.StringVar(&o.GPUTelemetry, "gpu-telemetry", load.AutoGPUs, "local, or the URL of a DCGM exporter; auto reads this machine's GPUs if the server is here, empty none")

	f.StringVar(&o.Scenario, "traffic-scenario", "D(100,100)", "D(in,out), N(μ,σ)/(μ,σ), U(a,b)/(c,d), E(tokens), R(document,query) or dataset")
	f.StringVarP(&o.InputFile, "input-file", "f", "", "file, directory or URL to play, instead of synthetic prompts")
	o.dataOptions.flags(f)
	f.StringVar(&o.Format, "custom-dataset-type", "", "format of the input: "+formatNames()+", dataset for rows with fields (default: detected)")
	f.StringVar(&o.Order, "dataset-sampling-strategy", "", "sequential, random or shuffle")
	f.IntVar(&o.Limit, "num-dataset-entries", 0, "play only so many entries, the first unless --dataset-sample says otherwise")
	f.IntVar(&o.MaxInput, "max-context-length", 0, "leave out requests with longer prompts, in tokens")
	f.IntVar(&o.BlockSize, "isl-block-size", 0, "tokens of a hashed block, instead of the format's own")
	f.IntVar(&o.MaxTokens, "max-tokens", 0, "output length of every request, instead of the workload's")
	f.Float64Var(&o.TurnsMean, "session-turns-mean", 0, "turns of a synthetic session")
	f.Float64Var(&o.TurnsStd, "session-turns-stddev", 0, "their deviation")
	f.Float64Var(&o.DelayMean, "session-turn-delay-mean", 0, "pause between turns, s")
	f.Float64Var(&o.DelayStd, "session-turn-delay-stddev", 0, "its deviation, s")
	f.IntVar(&o.SharedSystem, "shared-system-prompt-length", 0, "tokens of a system prompt that all sessions share")
	f.IntVar(&o.UserContext, "user-context-prompt-length", 0, "tokens of a system prompt of each session's own")
	f.IntVar(&o.Prefixes, "num-prefix-prompts", 0, "size of a pool of prefixes")
	f.IntVar(&o.PrefixLength, "prefix-prompt-length", 0, "tokens of a prefix")
	f.IntVar(&o.Documents, "rerank-documents", 0, "documents of a rerank request")
	f.Int64Var(&o.Seed, "random-seed", 1, "seed of everything random")

	f.IntVarP(&o.Concurrency, "concurrency", "c", 0, "live sessions (default 1 in a closed loop, no limit otherwise)")
	f.IntVar(&o.Prefill, "prefill-concurrency", 0, "requests waiting for their first token; needs streaming")
	f.Float64VarP(&o.Rate, "request-rate", "r", 0, "requests per second of an open loop")
	f.StringVar(&o.Arrival, "arrival-pattern", "", "constant, poisson, gamma or burst (default poisson)")
	f.Float64Var(&o.Smoothness, "arrival-smoothness", 1, "shape of gamma arrivals: 1 is Poisson, less is burstier")
	f.Float64Var(&o.UserRate, "user-centric-rate", 0, "requests per second of users with a steady gap between turns")
	f.IntVar(&o.Users, "num-users", 0, "users of that load")
	f.BoolVar(&o.Schedule, "fixed-schedule", false, "send at the input's timestamps")
	f.BoolVar(&o.AutoOffset, "fixed-schedule-auto-offset", true, "count timestamps from the first")
	f.DurationVar(&o.From, "fixed-schedule-start-offset", 0, "first timestamp to send")
	f.DurationVar(&o.To, "fixed-schedule-end-offset", 0, "last timestamp to send")
	f.Float64Var(&o.SpeedUp, "fixed-schedule-speedup", 1, "how much faster than recorded")
	f.DurationVar(&o.ConcRamp, "concurrency-ramp-duration", 0, "time to full concurrency")
	f.DurationVar(&o.PrefillRamp, "prefill-concurrency-ramp-duration", 0, "time to full prefill concurrency")
	f.DurationVar(&o.RateRamp, "request-rate-ramp-duration", 0, "time to full rate")
	f.IntVarP(&o.Requests, "request-count", "n", 0, "requests to send (default the larger of 10 and twice the concurrency)")
	f.IntVar(&o.Sessions, "num-sessions", 0, "sessions to start")
	f.DurationVarP(&o.Duration, "benchmark-duration", "d", 0, "time to send for")
	f.DurationVar(&o.Grace, "benchmark-grace-period", 0, "time for requests in flight at the end; negative waits for all (default 30s after a --benchmark-duration, else all)")
	f.IntVar(&o.WarmRequests, "warmup-request-count", 0, "requests before measuring")
	f.DurationVar(&o.WarmDuration, "warmup-duration", 0, "time before measuring")
	f.Float64Var(&o.CancelRate, "request-cancellation-rate", 0, "per cent of requests to hang up on")
	f.DurationVar(&o.CancelDelay, "request-cancellation-delay", 0, "time from sending to hanging up")
	f.Float64Var(&o.FailureLimit, "failed-request-threshold", 0, "share of requests, such as 0.1, that may fail before the run is ended with an error; 0 for no limit")
	f.StringVar(&o.Goodput, "goodput", "", "SLOs of every request, such as 'time_to_first_token:200 inter_token_latency:20'")

	o.agenticOptions.flags(f)
	o.fleetOptions.flags(f)

	f.Float64Var(&o.StartMin, "trajectory-start-min-ratio", 0.25, "earliest start inside an agentic trace, as a share of it")
	f.Float64Var(&o.StartMax, "trajectory-start-max-ratio", 0.75, "latest start inside an agentic trace")
	f.StringVar(&o.CacheBust, "cache-bust", "", "none, system_prefix, system_suffix, first_turn_prefix or first_turn_suffix; with warmup_isolation_ before it, of the warm-up alone")
	f.Float64Var(&o.IdleGap, "trace-idle-gap-cap-seconds", 0, "longest gap between requests of a trace")
	f.DurationVar(&o.SystemIdle, "system-idle-gap-cap", 0, "longest time in which nothing at all happens")
	f.DurationVar(&o.LaneCap, "lane-start-cap", 0, "longest wait for a lane's first request")
	f.Float64Var(&o.DelayCap, "inter-turn-delay-cap-seconds", 0, "longest pause between turns")
	f.BoolVar(&o.IgnoreDelays, "ignore-trace-delays", false, "send turns right after the reply before")
	f.BoolVar(&o.ThinkTime, "use-think-time-only", false, "pause for the recorded think time alone")
	f.BoolVar(&o.Burst, "burst-phase-starts", false, "start every lane at once")
	f.BoolVar(&o.Wrap, "allow-dataset-wrap", false, "let lanes share traces")
	f.BoolVar(&o.AgentWarmup, "agentic-warmup", true, "fill the server's caches before an agentic replay")
	f.DurationVar(&o.WarmCap, "agentic-warmup-cap", time.Minute, "longest time over which that is spread; 0 for as long as was recorded")

	f.StringVar(&o.Sweep, "sweep", "", "run several loads: concurrency=1,2,4 or rate=1,2.5,5")
	f.StringVar(&o.Search, "search", "", "find the highest load that meets the SLOs: concurrency=1:256 or rate=1:50")
	f.Float64Var(&o.Good, "slo-attainment", 0.95, "share of requests that must keep the SLOs")
	f.IntVar(&o.Runs, "num-profile-runs", 1, "runs to repeat, 1 to 10")
	f.Float64Var(&o.Confidence, "confidence-level", 0.95, "of the interval over runs")
	f.DurationVar(&o.Slice, "slice-duration", 0, "length of time slices")

	f.StringVar(&o.JSON, "json", "", "write the report, or what --dry-run and --preview show, as JSON to a file, - for standard output")
	f.StringVar(&o.CSV, "csv", "", "write the figures as CSV to a file")
	f.StringVar(&o.Lines, "requests", "", "write every request as a line of JSON to a file")
	f.StringVar(&o.HTML, "html", "", "write a page with charts to a file")
	f.StringVar(&o.AIPerf, "aiperf-dir", "", "write AIPerf's files to a directory")
	f.StringVar(&o.UI, "ui", "auto", "progress: auto, live, plain or none")
	f.BoolVar(&o.DryRun, "dry-run", false, "show what would be sent, and send nothing")
	f.IntVar(&o.Preview, "dry-run-requests", 1, "request bodies to show")
}

func formatNames() string {
	var out []string
	for _, f := range input.Formats() {
		out = append(out, string(f))
	}
	return strings.Join(out, ", ")
}

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
	bad(!o.ServerCounts && o.Tokenizer == "", "--use-server-token-count=false needs --tokenizer")
	bad(o.Scenario == "dataset" && o.InputFile == "", "the scenario dataset needs --input-file")
	if err := o.check(o.InputFile); err != nil {
		errs = append(errs, err)
	}
	bad(!slices.Contains([]string{"auto", "live", "plain", "none"}, o.UI), "--ui must be auto, live, plain or none")
	// What is checked again where it is used is checked here for all of it to
	// be told at once.
	if _, err := o.target(); err != nil {
		errs = append(errs, err)
	}
	if _, err := metrics.ParseSLOs(o.Goodput); err != nil {
		errs = append(errs, fmt.Errorf("--goodput: %w", err))
	}
	if o.InputFile == "" {
		if _, err := input.ParseScenario(o.Scenario); err != nil {
			errs = append(errs, fmt.Errorf("--traffic-scenario: %w", err))
		}
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
