package bench

import (
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/fleetune/fleetune/worker/load"
	"github.com/fleetune/fleetune/worker/load/input"
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
	APIKey        string        `json:"-"` // refused, see validate
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

	lengthOptions
	InputFile    string `json:"input_file,omitempty"`
	Format       string `json:"format,omitempty"`
	Order        string `json:"sampling,omitempty"`
	Limit        int    `json:"limit,omitempty"`
	MaxInput     int    `json:"max_input,omitempty"`
	BlockSize    int    `json:"block_size,omitempty"`
	WholePrompts bool   `json:"whole_prompts,omitempty"`
	MaxTokens    int    `json:"max_tokens,omitempty"`
	Seed         int64  `json:"random_seed"`

	Concurrency int           `json:"concurrency,omitempty"`
	Prefill     int           `json:"prefill_concurrency,omitempty"`
	Rate        float64       `json:"request_rate,omitempty"`
	Arrival     string        `json:"arrival_pattern,omitempty"`
	Smoothness  float64       `json:"arrival_smoothness,omitempty"`
	UserRate    float64       `json:"user_centric_rate,omitempty"`
	Users       int           `json:"num_users,omitempty"`
	Schedule    bool          `json:"fixed_schedule,omitempty"`
	AutoOffset  bool          `json:"fixed_schedule_auto_offset,omitempty"`
	From        time.Duration `json:"fixed_schedule_start_ns,omitempty"`
	To          time.Duration `json:"fixed_schedule_end_ns,omitempty"`
	SpeedUp     float64       `json:"speed_up,omitempty"`
	ConcRamp    time.Duration `json:"concurrency_ramp_ns,omitempty"`
	PrefillRamp time.Duration `json:"prefill_ramp_ns,omitempty"`
	RateRamp    time.Duration `json:"rate_ramp_ns,omitempty"`
	Requests    int           `json:"request_count,omitempty"`
	Sessions    int           `json:"num_sessions,omitempty"`
	Duration    time.Duration `json:"benchmark_duration_ns,omitempty"`
	Grace       time.Duration `json:"grace_period_ns"`
	warmupOptions
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
	UI      string `json:"-"`
	DryRun  bool   `json:"-"`
	Preview int    `json:"-"`

	dataOptions

	GPUTelemetry string `json:"gpu_telemetry,omitempty"`

	exportOptions
	agenticOptions
	broken []string // the rules of a scenario that the flags break
	fleetOptions
	fleet Fleet
}

func (o *options) flags(f *pflag.FlagSet) {
	f.SetNormalizeFunc(ours)
	f.StringSliceVarP(&o.URLs, "url", "u", []string{"http://localhost:8000"}, "server to load; several take sessions in turn")
	f.StringSliceVarP(&o.Models, "model", "m", nil, "model to ask for")
	f.StringVar(&o.Endpoint, "endpoint-type", "chat", "chat, completions, embeddings, rerank or responses")
	f.StringVar(&o.Path, "endpoint", "", "path of the endpoint, instead of its usual one")
	f.BoolVar(&o.Streaming, "streaming", true, "stream replies")
	f.StringVar(&o.APIKeyEnv, "api-key-env", "", "environment variable that holds the API key")
	f.StringVar(&o.APIKey, "api-key", "", "")
	_ = f.MarkHidden("api-key") // it is there, one line above
	f.StringArrayVarP(&o.Headers, "header", "H", nil, "header as 'Name: value'")
	f.StringArrayVar(&o.Extra, "extra-inputs", nil, "member of every request body as name:value; the value is JSON, or else text")
	durationVar(f, &o.Timeout, "request-timeout", 6*time.Hour, time.Second, "limit of one request")
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

	o.lengthOptions.flags(f)
	f.StringVarP(&o.InputFile, "input-file", "f", "", "file, directory or URL to play, instead of synthetic prompts")
	o.dataOptions.flags(f)
	f.StringVar(&o.Format, "custom-dataset-type", "", "format of the input: "+formatNames()+", dataset for rows with fields (default: detected)")
	f.StringVar(&o.Order, "dataset-sampling-strategy", "", "sequential, random or shuffle")
	f.IntVar(&o.Limit, "num-dataset-entries", 0, "play only so many entries, the first unless --dataset-sample says otherwise; of synthetic prompts, make so many and play them again and again")
	f.IntVar(&o.MaxInput, "max-context-length", 0, "leave out requests with longer prompts, in tokens, and what follows them")
	f.IntVar(&o.BlockSize, "isl-block-size", 0, "tokens of a hashed block, instead of the format's own")
	f.BoolVar(&o.WholePrompts, "whole-prompts", false, "rows of a mooncake_trace's session are whole prompts, not what each turn adds")
	f.IntVar(&o.MaxTokens, "max-tokens", 0, "output length of every request, instead of the workload's")
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
	durationVar(f, &o.From, "fixed-schedule-start-offset", 0, time.Millisecond, "first timestamp to send")
	durationVar(f, &o.To, "fixed-schedule-end-offset", 0, time.Millisecond, "last timestamp to send")
	f.Float64Var(&o.SpeedUp, "fixed-schedule-speedup", 1, "how much faster than recorded")
	durationVar(f, &o.ConcRamp, "concurrency-ramp-duration", 0, time.Second, "time to full concurrency")
	durationVar(f, &o.PrefillRamp, "prefill-concurrency-ramp-duration", 0, time.Second, "time to full prefill concurrency")
	durationVar(f, &o.RateRamp, "request-rate-ramp-duration", 0, time.Second, "time to full rate")
	f.IntVarP(&o.Requests, "request-count", "n", 0, "requests to send (default the larger of 10 and twice the concurrency)")
	f.IntVar(&o.Sessions, "num-sessions", 0, "sessions to start")
	durationVarP(f, &o.Duration, "benchmark-duration", "d", 0, time.Second, "time to send for")
	durationVar(f, &o.Grace, "benchmark-grace-period", 0, time.Second, "time for requests in flight at the end; negative waits for all (default 30s after a --benchmark-duration, else all)")
	o.warmupOptions.flags(f)
	f.Float64Var(&o.CancelRate, "request-cancellation-rate", 0, "per cent of requests to hang up on")
	durationVar(f, &o.CancelDelay, "request-cancellation-delay", 0, time.Second, "time from sending to hanging up")
	f.Float64Var(&o.FailureLimit, "failed-request-threshold", 0, "share of requests, such as 0.1, that may fail before the run is ended with an error; 0 for no limit")
	f.StringVar(&o.Goodput, "goodput", "", "SLOs of every request, such as 'time_to_first_token:200 inter_token_latency:20'")

	o.agenticOptions.flags(f)
	o.fleetOptions.flags(f)

	f.Float64Var(&o.StartMin, "trajectory-start-min-ratio", usualStartMin, "earliest start inside an agentic trace, as a share of it")
	f.Float64Var(&o.StartMax, "trajectory-start-max-ratio", usualStartMax, "latest start inside an agentic trace")
	f.StringVar(&o.CacheBust, "cache-bust", "", "none, system_prefix, system_suffix, first_turn_prefix or first_turn_suffix; with warmup_isolation_ before it, of the warm-up alone")
	f.Float64Var(&o.IdleGap, "trace-idle-gap-cap-seconds", 0, "longest gap between requests of a trace, s")
	durationVar(f, &o.SystemIdle, "system-idle-gap-cap", 0, time.Second, "longest time in which nothing at all happens")
	durationVar(f, &o.LaneCap, "lane-start-cap", 0, time.Second, "longest wait for a lane's first request")
	f.Float64Var(&o.DelayCap, "inter-turn-delay-cap-seconds", 0, "longest pause between turns, s")
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
	durationVar(f, &o.Slice, "slice-duration", 0, time.Second, "length of time slices")

	f.StringVar(&o.JSON, "json", "", "write the report, or what --dry-run and --preview show, as JSON to a file, - for standard output")
	f.StringVar(&o.CSV, "csv", "", "write the figures as CSV to a file")
	f.StringVar(&o.Lines, "requests", "", "write every request as a line of JSON to a file")
	f.StringVar(&o.HTML, "html", "", "write a page with charts to a file")
	o.exportOptions.flags(f)
	f.StringVar(&o.UI, "ui", "auto", "progress: auto, live, plain or none")
	f.BoolVar(&o.DryRun, "dry-run", false, "show what would be sent, and send nothing")
	f.IntVar(&o.Preview, "dry-run-requests", 1, "request bodies to show")
}

// Where lanes take recorded traces up, where nothing else is asked for.
const usualStartMin, usualStartMax = 0.25, 0.75

func formatNames() string {
	var out []string
	for _, f := range input.Formats() {
		out = append(out, string(f))
	}
	return strings.Join(out, ", ")
}
