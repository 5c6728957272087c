// Package metrics turns records of requests into the figures of a benchmark.
// A Record holds instants and counts; every figure is defined once, in the
// table of tags, and summed up by a Collector in memory that does not grow
// with the length of a stream.
package metrics

// Phase says which part of a run a request belongs to.
type Phase string

// The phases. Only profiling enters the figures of a run.
const (
	Warmup    Phase = "warmup"
	Profiling Phase = "profiling"
)

// A Record is one request. Instants are nanoseconds on the monotonic clock
// since the start of the run; zero or less means it did not come to that.
type Record struct {
	// Number counts the requests of a phase in the order they were issued.
	Number       int64
	Request      string // unique id, sent as x-request-id
	Session      string // one play of a conversation, sent as x-correlation-id
	Root         string // the session at the root of the tree
	Parent       string // the session that spawned this one; empty at a root
	Conversation string
	Turn, Turns  int
	Depth        int
	Worker       string
	URL          string
	Phase        Phase

	// Scheduled is when the plan wanted the request, Issued when its turn was
	// given out, Start just before the HTTP call.
	Scheduled, Issued, Start int64
	// Sent is when the body was written, Headers when the reply's status came,
	// End when the reply ended.
	Sent, Headers, End int64
	Chunks             []Chunk

	// InputTokens of the prompt; ContentTokens and ReasoningTokens of the
	// reply. A negative count is unknown.
	InputTokens, ContentTokens, ReasoningTokens int
	// WantedTokens is the output length asked for; 0 when none was.
	WantedTokens int
	// PlannedTokens is the input length that the workload set out to send,
	// before the server counted; 0 when it did not say.
	PlannedTokens int
	// CountedTokens is the reply's length by the client's own tokenizer, where
	// the server counted too; 0 when nobody did.
	CountedTokens int
	// CacheBlocks are the prompt's blocks, CacheHits those of them that an
	// ideal prefix cache would have held. Both 0 when the workload has none.
	CacheBlocks, CacheHits int
	Usage                  Usage
	HTTP                   HTTP
	Err                    *Error
	// Cancelled is the instant at which the client hung up on purpose.
	Cancelled int64
	// Streamed is set when the reply came as a stream; without it there is no
	// first token to tell from the last.
	Streamed bool
	Finish   string // the server's reason for stopping
}

// A Chunk is one piece of a reply that carries content.
type Chunk struct {
	At   int64
	Kind ChunkKind
}

// ChunkKind says what a chunk carries.
type ChunkKind uint8

// The kinds of content.
const (
	Content ChunkKind = iota
	Reasoning
	Tool
)

// Usage is what the server counted. A negative count was not reported.
type Usage struct {
	Prompt, Completion, Total, Reasoning int
	CacheRead, CacheWrite, CacheMiss     int
}

// NoUsage is a Usage in which nothing was reported.
func NoUsage() Usage { return Usage{-1, -1, -1, -1, -1, -1, -1} }

// HTTP holds the phases of one exchange in nanoseconds; negative where a phase
// did not happen, such as connecting on a connection that was reused.
type HTTP struct {
	Blocked, DNS, Connecting, TLS, Sending, Waiting, Receiving, Total int64
	BytesSent, BytesReceived                                          int64
	Reused                                                            bool
	Reads                                                             int
}

// NoHTTP is an exchange in which no phase has happened.
func NoHTTP() HTTP {
	return HTTP{Blocked: -1, DNS: -1, Connecting: -1, TLS: -1, Sending: -1, Waiting: -1, Receiving: -1, Total: -1}
}

// An Error says why a request did not succeed.
type Error struct {
	Class   Class  `json:"type"`
	Code    int    `json:"code,omitempty"` // HTTP status, or 499 for a cancelled request
	Message string `json:"message"`
}

func (e *Error) Error() string { return string(e.Class) + ": " + e.Message }

// Class tells kinds of errors apart.
type Class string

// The classes of errors.
const (
	ErrDNS            Class = "dns"                    // the host name has no address
	ErrRefused        Class = "connect_refused"        // nothing listens
	ErrConnectTimeout Class = "connect_timeout"        // no connection within its limit
	ErrConnect        Class = "connect"                // any other failure to connect
	ErrTLS            Class = "tls"                    // handshake or certificate
	ErrReset          Class = "connection_reset"       // the server hung up
	ErrStale          Class = "kept_connection_closed" // the server hung up on a connection kept from an earlier request, before a byte of reply
	ErrTimeout        Class = "request_timeout"        // the request's own limit
	ErrIdle           Class = "idle_timeout"           // no byte for too long
	ErrRateLimited    Class = "rate_limited"           // 429
	ErrClient         Class = "client_error"           // other 4xx
	ErrServer         Class = "server_error"           // 5xx, or an error inside a stream
	ErrOverflow       Class = "context_overflow"       // the prompt is longer than the model's context
	ErrMalformed      Class = "malformed_reply"        // the reply is not what the endpoint defines
	ErrTruncated      Class = "truncated_reply"        // the stream stopped before its end
	ErrEmpty          Class = "empty_reply"            // a good reply without content
	ErrCancelled      Class = "RequestCancellationError"
	ErrRunEnded       Class = "run_ended" // in flight when the run's grace was over
	ErrStopped        Class = "stopped"   // in flight when the run was stopped; no failure
	ErrRequest        Class = "request"   // the request could not be built
)

// Valid reports whether the record counts: no error, content, time passed.
func (r *Record) Valid() bool {
	return r.Err == nil && len(r.Chunks) > 0 && r.Start < r.End
}

// FirstChunk is the arrival of the first content, 0 without any.
func (r *Record) FirstChunk() int64 {
	if len(r.Chunks) == 0 {
		return 0
	}
	return r.Chunks[0].At
}

// LastChunk is the arrival of the last content, 0 without any.
func (r *Record) LastChunk() int64 {
	if len(r.Chunks) == 0 {
		return 0
	}
	return r.Chunks[len(r.Chunks)-1].At
}

// OutputTokens is the reply's length, content and reasoning; negative when
// unknown.
func (r *Record) OutputTokens() int {
	if r.ContentTokens < 0 && r.ReasoningTokens < 0 {
		return -1
	}
	return max(r.ContentTokens, 0) + max(r.ReasoningTokens, 0)
}
