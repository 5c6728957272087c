package metrics

import "math"

// A Definition names one figure.
type Definition struct {
	Tag    string
	Header string // for people
	Unit   string
	// Larger is set where more is better; SLOs then ask for at least.
	Larger bool
	// Of computes the figure of one valid request; NaN when it has none.
	// It is nil for figures of the whole run.
	Of func(r *Record) float64
}

const (
	nsPerMs = 1e6
	nsPerS  = 1e9
)

// The tags that other packages name.
const (
	TagTTFT              = "time_to_first_token"
	TagITL               = "inter_token_latency"
	TagICL               = "inter_chunk_latency"
	TagLatency           = "request_latency"
	TagSendLag           = "send_lag"
	TagEffectiveLatency  = "effective_latency"
	TagISL               = "input_sequence_length"
	TagOSL               = "output_sequence_length"
	TagRequestCount      = "request_count"
	TagErrorCount        = "error_request_count"
	TagErrorRate         = "error_rate"
	TagDuration          = "benchmark_duration"
	TagRequestThroughput = "request_throughput"
	TagOutputThroughput  = "output_token_throughput"
	TagTotalThroughput   = "total_token_throughput"
	TagGoodCount         = "good_request_count"
	TagGoodput           = "goodput"
	TagUnfinished        = "unfinished_request_count"
	TagCacheRead         = "overall_usage_prompt_cache_read_pct"
	TagIdealHit          = "theoretical_prefix_cache_hit"
	TagConcurrency       = "effective_concurrency"
	TagTokensInFlight    = "tokens_in_flight"
	TagUserThroughput    = "output_token_throughput_per_user"
)

// perRequest lists the figures that every request has one of. Definitions
// follow specs of the field: latency ends at the last content chunk, and the
// time per output token is (latency − TTFT) / (tokens − 1).
var perRequest = []Definition{
	{Tag: TagTTFT, Header: "Time to First Token", Unit: "ms", Of: ttft},
	{Tag: "time_to_second_token", Header: "Time to Second Token", Unit: "ms", Of: func(r *Record) float64 {
		if len(r.Chunks) < 2 || !r.Streamed {
			return math.NaN()
		}
		return ms(r.Chunks[1].At - r.Chunks[0].At)
	}},
	{Tag: "time_to_first_output_token", Header: "Time to First Output Token", Unit: "ms", Of: firstOutput},
	{Tag: TagLatency, Header: "Request Latency", Unit: "ms", Of: func(r *Record) float64 { return ms(r.LastChunk() - r.Start) }},
	{Tag: TagITL, Header: "Inter Token Latency", Unit: "ms", Of: itl},
	{Tag: TagUserThroughput, Header: "Output Token Throughput Per User", Unit: "tokens/sec/user", Larger: true, Of: func(r *Record) float64 {
		return ratio(1, itl(r)/1e3)
	}},
	{Tag: "e2e_output_token_throughput", Header: "E2E Output Token Throughput", Unit: "tokens/sec", Larger: true, Of: func(r *Record) float64 {
		return ratio(count(r.OutputTokens()), float64(r.LastChunk()-r.Start)/nsPerS)
	}},
	{Tag: "prefill_throughput_per_user", Header: "Prefill Throughput Per User", Unit: "tokens/sec/user", Larger: true, Of: func(r *Record) float64 {
		return ratio(count(r.InputTokens), ttft(r)/1e3)
	}},
	{Tag: "output_token_count", Header: "Output Token Count", Unit: "tokens", Larger: true, Of: func(r *Record) float64 { return count(r.ContentTokens) }},
	{Tag: "reasoning_token_count", Header: "Reasoning Token Count", Unit: "tokens", Larger: true, Of: func(r *Record) float64 {
		if r.ReasoningTokens == 0 {
			return math.NaN()
		}
		return count(r.ReasoningTokens)
	}},
	{Tag: TagOSL, Header: "Output Sequence Length", Unit: "tokens", Larger: true, Of: func(r *Record) float64 { return count(r.OutputTokens()) }},
	{Tag: TagISL, Header: "Input Sequence Length", Unit: "tokens", Larger: true, Of: func(r *Record) float64 { return count(r.InputTokens) }},
	{Tag: TagEffectiveLatency, Header: "Effective Latency", Unit: "ms", Of: func(r *Record) float64 { return ms(r.LastChunk() - r.scheduled()) }},
	{Tag: TagSendLag, Header: "Send Lag", Unit: "ms", Of: func(r *Record) float64 { return ms(r.Start - r.scheduled()) }},
	{Tag: "usage_prompt_tokens", Header: "Usage Prompt Tokens", Unit: "tokens", Larger: true, Of: func(r *Record) float64 { return count(r.Usage.Prompt) }},
	{Tag: "usage_completion_tokens", Header: "Usage Completion Tokens", Unit: "tokens", Larger: true, Of: func(r *Record) float64 { return count(r.Usage.Completion) }},
	{Tag: "usage_total_tokens", Header: "Usage Total Tokens", Unit: "tokens", Larger: true, Of: func(r *Record) float64 { return count(r.Usage.Total) }},
	{Tag: "usage_reasoning_tokens", Header: "Usage Reasoning Tokens", Unit: "tokens", Larger: true, Of: func(r *Record) float64 { return count(r.Usage.Reasoning) }},
	{Tag: "usage_prompt_cache_read_tokens", Header: "Usage Prompt Cache Read Tokens", Unit: "tokens", Larger: true, Of: func(r *Record) float64 { return count(r.Usage.CacheRead) }},
	{Tag: "usage_prompt_cache_write_tokens", Header: "Usage Prompt Cache Write Tokens", Unit: "tokens", Larger: true, Of: func(r *Record) float64 { return count(r.Usage.CacheWrite) }},
	{Tag: "usage_prompt_cache_miss_tokens", Header: "Usage Prompt Cache Miss Tokens", Unit: "tokens", Of: func(r *Record) float64 { return count(r.Usage.CacheMiss) }},
	{Tag: "usage_prompt_tokens_diff_pct", Header: "Usage Prompt Tokens Difference", Unit: "%", Of: promptDiff},
	{Tag: "usage_completion_tokens_diff_pct", Header: "Usage Completion Tokens Difference", Unit: "%", Of: completionDiff},
	{Tag: "osl_mismatch_diff_pct", Header: "Output Length Mismatch", Unit: "%", Of: func(r *Record) float64 {
		if r.WantedTokens == 0 || r.OutputTokens() < 0 {
			return math.NaN()
		}
		return 100 * float64(r.OutputTokens()-r.WantedTokens) / float64(r.WantedTokens)
	}},
	{Tag: "http_req_blocked", Header: "HTTP Blocked", Unit: "ms", Of: func(r *Record) float64 { return span(r.HTTP.Blocked) }},
	{Tag: "http_req_dns_lookup", Header: "HTTP DNS Lookup", Unit: "ms", Of: func(r *Record) float64 { return span(r.HTTP.DNS) }},
	{Tag: "http_req_connecting", Header: "HTTP Connecting", Unit: "ms", Of: func(r *Record) float64 { return span(r.HTTP.Connecting) }},
	{Tag: "http_req_connection_overhead", Header: "HTTP Connection Overhead", Unit: "ms", Of: func(r *Record) float64 {
		return span(max(r.HTTP.Blocked, 0) + max(r.HTTP.DNS, 0) + max(r.HTTP.Connecting, 0) + max(r.HTTP.TLS, 0))
	}},
	{Tag: "http_req_tls_handshake", Header: "HTTP TLS Handshake", Unit: "ms", Of: func(r *Record) float64 { return span(r.HTTP.TLS) }},
	{Tag: "http_req_sending", Header: "HTTP Sending", Unit: "ms", Of: func(r *Record) float64 { return span(r.HTTP.Sending) }},
	{Tag: "http_req_waiting", Header: "HTTP Waiting", Unit: "ms", Of: func(r *Record) float64 { return span(r.HTTP.Waiting) }},
	{Tag: "http_req_receiving", Header: "HTTP Receiving", Unit: "ms", Of: func(r *Record) float64 { return span(r.HTTP.Receiving) }},
	{Tag: "http_req_duration", Header: "HTTP Duration", Unit: "ms", Of: func(r *Record) float64 {
		if r.HTTP.Sending < 0 || r.HTTP.Waiting < 0 || r.HTTP.Receiving < 0 {
			return math.NaN()
		}
		return span(r.HTTP.Sending + r.HTTP.Waiting + r.HTTP.Receiving)
	}},
	{Tag: "http_req_total", Header: "HTTP Total", Unit: "ms", Of: func(r *Record) float64 { return span(r.HTTP.Total) }},
	{Tag: "http_req_data_sent", Header: "HTTP Data Sent", Unit: "bytes", Of: func(r *Record) float64 { return float64(r.HTTP.BytesSent) }},
	{Tag: "http_req_data_received", Header: "HTTP Data Received", Unit: "bytes", Of: func(r *Record) float64 { return float64(r.HTTP.BytesReceived) }},
	{Tag: "http_req_connection_reused", Header: "HTTP Connection Reused", Unit: "ratio", Larger: true, Of: func(r *Record) float64 {
		if r.HTTP.Reused {
			return 1
		}
		return 0
	}},
	{Tag: "http_req_chunks", Header: "HTTP Chunks", Unit: "chunks", Of: func(r *Record) float64 { return float64(r.HTTP.Reads) }},
}

// chunkGaps is the one figure of which a request has many.
var chunkGaps = Definition{Tag: TagICL, Header: "Inter Chunk Latency", Unit: "ms"}

// Definitions lists the figures of single requests, in their order on a page.
func Definitions() []Definition {
	return append(append([]Definition{}, perRequest...), chunkGaps)
}

// scheduled is when the request should have started; a closed loop has no
// schedule, and there it is when the turn was given out.
func (r *Record) scheduled() int64 {
	if r.Scheduled != 0 {
		return r.Scheduled
	}
	return r.Issued
}

func ms(ns int64) float64 { return float64(ns) / nsPerMs }

func span(ns int64) float64 {
	if ns < 0 {
		return math.NaN()
	}
	return ms(ns)
}

func count(n int) float64 {
	if n < 0 {
		return math.NaN()
	}
	return float64(n)
}

func ratio(a, b float64) float64 {
	if !(b > 0) || math.IsNaN(a) {
		return math.NaN()
	}
	return a / b
}

func itl(r *Record) float64 {
	n := r.OutputTokens()
	if n < 2 || !r.Streamed {
		return math.NaN()
	}
	return ms(r.LastChunk()-r.FirstChunk()) / float64(n-1)
}

func ttft(r *Record) float64 {
	if !r.Streamed {
		return math.NaN()
	}
	return ms(r.FirstChunk() - r.Start)
}

func firstOutput(r *Record) float64 {
	if !r.Streamed {
		return math.NaN()
	}
	for _, c := range r.Chunks {
		if c.Kind != Reasoning {
			return ms(c.At - r.Start)
		}
	}
	return math.NaN()
}

// promptDiff and completionDiff say how far the server's counts are from the
// client's own, in per cent of those.
func promptDiff(r *Record) float64     { return difference(r.Usage.Prompt, r.PlannedTokens) }
func completionDiff(r *Record) float64 { return difference(r.Usage.Completion, r.CountedTokens) }

func difference(server, client int) float64 {
	if client <= 0 || server < 0 {
		return math.NaN()
	}
	return 100 * math.Abs(float64(server-client)) / float64(client)
}
