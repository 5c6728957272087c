// Package process starts programs, watches them and ends them, and does not
// return before every process of the program's tree is proven dead. It is what
// lets the agent free a device without trusting the program that used it.
//
// A tree is recognised by four marks, none of which needs the program's help:
// the process group and session of its leader, the run tag in the environment,
// a resource limit that carries a number of the run, and, where the machine
// delegates one, a cgroup v2 of its own.
package process

import (
	"errors"
	"syscall"
	"time"
)

// TagVariable is the environment variable that carries the run tag.
const TagVariable = "EXP_RUN_ID"

// Defaults of Config and Spec.
const (
	DefaultKillBudget = 5 * time.Second
	DefaultLogCap     = 1 << 20
)

// ErrNotProvenDead says that processes of a run may be alive although the kill
// budget is spent. Devices of the run must be quarantined.
var ErrNotProvenDead = errors.New("process tree not proven dead")

// ErrStart says that the program could not be started at all.
var ErrStart = errors.New("program not started")

// A Spec says what to start and how.
type Spec struct {
	// Argv is the program and its arguments. A name without a slash is looked
	// up in the PATH of Env, a relative path with one starts at Dir.
	Argv []string
	// Dir is the working folder; empty means the caller's.
	Dir string
	// Env is the whole environment; the tag is added to it.
	Env []string
	// Stdout and Stderr are files that the output is written to, at most
	// LogCap bytes each; empty means that the output is thrown away, equal
	// names mean one file for both.
	Stdout, Stderr string
	// LogCap bounds the bytes kept of one output: its first and its last half,
	// with a mark between them that says how much is left out. 0 means
	// DefaultLogCap. The files only ever grow; the last half of an output
	// beyond the cap appears when the program has ended.
	LogCap int64
	// Tag names the run, unique on this machine. Required.
	Tag string
	// Cores, when not empty, are the CPU cores the program may use, from its
	// first instruction on.
	Cores []int
	// Grace is the time between SIGTERM and SIGKILL when the context ends;
	// 0 means SIGKILL at once.
	Grace time.Duration
}

// An Exit says how a program ended.
type Exit struct {
	PID int
	// Code is the exit code, -1 when a signal ended the program.
	Code   int
	Signal syscall.Signal
	// OOM says that the kernel killed a process of the tree for memory.
	OOM bool
	// Cause is why the runner ended the program (context.Cause); nil when it
	// ended by itself.
	Cause error
	// Start and Duration of the leader, not of the proof after it.
	Start    time.Time
	Duration time.Duration
	// User and System are CPU times of the leader and the children it waited for.
	User, System time.Duration
	// MaxRSS is the peak resident size of the leader in bytes.
	MaxRSS int64
	// Survivors is how many processes outlived the leader and were killed.
	Survivors int
	// LogErr is the first error writing an output file (a full disk, say); the
	// program does not notice it.
	LogErr error
}

// OK says that the program ended by itself with exit code 0.
func (e Exit) OK() bool { return e.Code == 0 && e.Signal == 0 && e.Cause == nil }
