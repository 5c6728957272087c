package engine

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/fleetune/fleetune/proto/experiment"
)

// A Phase is where in its life an engine ended.
type Phase string

// The phases: before it served, and after.
const (
	PhaseLoad Phase = "load"
	PhaseRun  Phase = "benchmark"
)

// Ended says how an engine ended.
type Ended struct {
	Phase Phase
	// ExitCode of the process; nil where it was killed by Signal, or lives.
	ExitCode *int
	Signal   string
	// OOMKilled says that the kernel or the container runtime killed it for
	// memory of the host.
	OOMKilled bool
	// Timeout says that it still ran when the wait for it ended.
	Timeout bool
}

// A Cause names what an engine died of.
type Cause string

// The causes.
const (
	CauseOOMAtLoad    Cause = "oom_at_load"
	CauseOOMAtRun     Cause = "oom_at_run"
	CauseHostMemory   Cause = "host_memory"
	CauseForeign      Cause = "device_occupied"
	CauseBadFlag      Cause = "bad_flag"
	CauseMissingModel Cause = "missing_model"
	CauseGatedModel   Cause = "gated_model"
	CauseHub          Cause = "hub_unreachable"
	CauseRemoteCode   Cause = "remote_code"
	CauseDiskFull     Cause = "disk_full"
	CausePortTaken    Cause = "port_taken"
	CauseCUDA         Cause = "cuda_error"
	CauseNCCL         Cause = "nccl_hang"
	CauseUnsupported  Cause = "unsupported"
	CauseTokenizer    Cause = "tokenizer"
	CauseMissing      Cause = "missing_program"
	CauseNotReady     Cause = "not_ready"
	CauseUnresponsive Cause = "unresponsive"
	CauseKilled       Cause = "killed"
	CauseUnknown      Cause = "unknown"

	// CauseOOM becomes one of the two above by the phase.
	CauseOOM Cause = "oom"
)

// Causes lists what Diagnose can name.
func Causes() []Cause {
	return []Cause{
		CauseOOMAtLoad, CauseOOMAtRun, CauseHostMemory, CauseForeign, CauseBadFlag, CauseMissingModel, CauseGatedModel, CauseHub, CauseRemoteCode, CauseDiskFull, CausePortTaken,
		CauseCUDA, CauseNCCL, CauseUnsupported, CauseTokenizer, CauseMissing, CauseNotReady, CauseUnresponsive, CauseKilled, CauseUnknown,
	}
}

// A Diagnosis says what an engine died of.
type Diagnosis struct {
	Outcome experiment.Outcome
	Cause   Cause
	// Message is the telling line of the log, Hint what to do next.
	Message string
	Hint    string
}

// readAtMost bounds how much of a log's end is read, in bytes.
const readAtMost = 256 << 10

// Diagnose reads the end of an engine's log. It always names a cause, if only
// CauseUnknown.
func (e *Engine) Diagnose(log string, ended Ended) Diagnosis {
	log = tail(log, readAtMost)
	found, line, ok := firstSymptom(log)
	switch {
	case !ok && ended.OOMKilled:
		return Diagnosis{experiment.OutcomeOutOfMemory, CauseHostMemory, "killed because the node's memory ran out",
			"the node's own memory ran out: fewer loading threads, less swap space or offloading, or a larger node"}
	case !ok:
		return e.withoutSymptom(log, ended)
	}
	d := Diagnosis{Outcome: found.outcome, Cause: found.cause, Message: shown(line), Hint: found.hint}
	if d.Cause == CauseOOM {
		d.Cause, d.Hint = CauseOOMAtLoad, e.memoryHint(PhaseLoad)
		if ended.Phase == PhaseRun {
			d.Cause, d.Hint = CauseOOMAtRun, e.memoryHint(PhaseRun)
		}
	}
	if ended.Timeout && d.Cause != CauseOOMAtLoad && d.Cause != CauseOOMAtRun {
		d.Outcome = experiment.OutcomeTimeout
	}
	return d
}

// withoutSymptom tells apart by the way it ended alone.
func (e *Engine) withoutSymptom(log string, ended Ended) Diagnosis {
	d := Diagnosis{Outcome: experiment.OutcomeFailed, Cause: CauseUnknown, Message: shown(lastError(log))}
	exit := ""
	switch {
	case ended.Timeout && ended.Phase == PhaseRun:
		d.Outcome, d.Cause = experiment.OutcomeTimeout, CauseUnresponsive
		d.Hint = "it stopped answering; its log says no reason"
		exit = "it still ran and did not answer"
	case ended.Timeout:
		d.Outcome, d.Cause = experiment.OutcomeTimeout, CauseNotReady
		d.Hint = "raise optimization.load_timeout, or leave out what makes loading slow (compilation, a download)"
		exit = "it still ran and was not ready"
	case ended.Signal == "illegal instruction":
		d.Cause = CauseUnsupported
		d.Hint = "the program was built for another kind of processor: take a build for this one"
		exit = "ended by signal " + ended.Signal
	case ended.Signal != "":
		d.Cause = CauseKilled
		d.Hint = "nothing in its log says why; the kernel kills so when the node's memory runs out"
		exit = "ended by signal " + ended.Signal
	case ended.ExitCode != nil && *ended.ExitCode == usage && e.Name() != LlamaCpp:
		d.Cause = CauseBadFlag
		d.Hint = "programs written in Python end so when they refuse their arguments"
		exit = "exit code 2"
	case ended.ExitCode != nil && *ended.ExitCode == notFound:
		d.Cause = CauseMissing
		d.Hint = "the engine is not installed where the launcher looks: set program or image"
		exit = "exit code 127"
	case ended.ExitCode != nil:
		exit = fmt.Sprintf("it ended by itself, with exit code %d", *ended.ExitCode)
		d.Hint = "see the end of its log"
	}
	if d.Message == "" {
		d.Message = exit
	}
	return d
}

// Exit codes: a usage error of Python's argparse, and a shell's program that is
// not there.
const (
	usage    = 2
	notFound = 127
)

// memoryHint says which arguments of the engine make it need less.
func (e *Engine) memoryHint(phase Phase) string {
	hints := map[string][2]string{
		VLLM:     {"raise tensor-parallel-size, lower max-model-len or raise gpu-memory-utilization", "lower gpu-memory-utilization, max-num-seqs or max-num-batched-tokens"},
		SGLang:   {"raise tp-size, lower context-length or raise mem-fraction-static", "lower mem-fraction-static, max-running-requests or chunked-prefill-size"},
		TensorRT: {"raise tp_size, lower max_seq_len or max_batch_size", "lower free_gpu_memory_fraction, max_batch_size or max_num_tokens"},
		LlamaCpp: {"lower ctx-size or gpu-layers, or quantise the cache (cache-type-k, cache-type-v)", "lower parallel, ubatch-size or ctx-size"},
	}[e.Name()]
	if phase == PhaseRun {
		return hints[1]
	}
	return hints[0]
}

// firstSymptom finds the symptom that explains most, and its last line.
func firstSymptom(log string) (symptom, string, bool) {
	small := strings.ToLower(log)
	var lines, smallLines []string
	for _, s := range symptoms() {
		if !strings.Contains(small, s.needle) {
			continue
		}
		if lines == nil {
			lines = strings.FieldsFunc(log, lineEnd)
			smallLines = make([]string, len(lines))
			for i, line := range lines {
				smallLines[i] = strings.ToLower(line)
			}
		}
		for i, line := range slices.Backward(lines) {
			if strings.Contains(smallLines[i], s.needle) && s.line.MatchString(line) {
				return s, line, true
			}
		}
	}
	return symptom{}, "", false
}

func lineEnd(r rune) bool { return r == '\n' || r == '\r' }

// lastError is the last line that speaks of an error.
func lastError(log string) string {
	lines := strings.Split(log, "\n")
	for _, line := range slices.Backward(lines) {
		if strings.Contains(line, "Error") || strings.Contains(line, "error:") || strings.Contains(line, "failed") {
			return line
		}
	}
	return ""
}

func tail(log string, n int) string {
	if len(log) <= n {
		return log
	}
	return log[len(log)-n:]
}

// maxMessage bounds a message, in bytes.
const maxMessage = 300

var credential = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`\b(hf_|sk-)[A-Za-z0-9_-]{8,}|(?i:bearer) +[A-Za-z0-9._-]{8,}|://[^/\s:@]+:[^/\s@]+@`)
})

var escape = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\x1b\[[0-9;]*[A-Za-z]`) })

// shown is a line of a log for people: without colours, credentials and what
// is no text, and not too long.
func shown(line string) string {
	line = escape().ReplaceAllString(strings.ToValidUTF8(line, ""), "")
	line = credential().ReplaceAllString(line, "(hidden)")
	line = strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f {
			return -1
		}
		return r
	}, line))
	if len(line) > maxMessage {
		line = strings.ToValidUTF8(line[:maxMessage], "") + "…"
	}
	return line
}
