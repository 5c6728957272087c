// Package command runs command experiments: it renders a task's files at one
// point, builds them, proves the result correct and measures it. The agent
// stages an experiment (render and build) before it leases devices, and runs
// it on them afterwards.
//
// The order within Run is the package's promise: fresh inputs, the candidate's
// check, then the trusted outputs, then the comparison; only then the timing,
// and after it the same gate again with other inputs. Candidate code never runs
// while trusted outputs exist, what it may have tampered with is verified
// before it is trusted, and nothing it prints is read as a result.
//
// Every program goes through worker/process, so none outlives its step.
package command

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/fleetune/fleetune/worker/process"
)

// A Job is one attempt of an experiment, as the agent hands it over.
type Job struct {
	Offer wire.Offer
	// Tag marks every process of the attempt; programs see it as EXP_RUN_ID.
	Tag string
	// Dir is a folder for the attempt alone, fresh or not there yet. Close
	// removes it.
	Dir string
	// Files opens a bundle by its digest.
	Files func(ctx context.Context, digest string) (io.ReadCloser, error)
	// Log names the file that captures a stream, such as "build stderr".
	Log func(stream string) (path string)
	// BuildCores are the CPU cores that a build may use; empty means any.
	BuildCores []int
	// Progress takes what the attempt has measured so far: all samples of each
	// metric in the order they were taken. It does not block, and keeps nothing
	// of what it is given. Nil says that nobody wants to know.
	//
	// What it was told may lead to the end of the attempt: then ctx ends, and the
	// result is OutcomeCancelled with what was measured until then.
	Progress func(samples map[string][]float64)
	// Phase hears which part of the attempt runs and how far it is, as in
	// "download" and "4.2 GB of 9.8 GB", for whoever watches. It does not block,
	// and may be nil.
	Phase func(name, detail string)
}

// A Result is how an attempt ended.
type Result struct {
	Outcome experiment.Outcome
	// Measurement of a success; of an attempt that was stopped, what it had
	// measured by then.
	Measurement *experiment.Measurement
	Failure     *experiment.Failure
	// Unproven says that processes of the attempt may still be alive, so that
	// its devices must be quarantined.
	Unproven bool
}

// A ProcessRunner starts a program and returns when its whole tree is proven
// dead; *process.Runner does it.
type ProcessRunner interface {
	Run(ctx context.Context, s process.Spec) (process.Exit, error)
}

// Options of a Runner. The zero value is usable.
type Options struct {
	// Secret resolves a secret by its name. Nil means that there are none.
	Secret func(name string) (string, error)
	// Environ is the environment that Env.Pass and PATH are taken from, as
	// os.Environ gives it; nil means the worker's own.
	Environ []string
	// LogCap bounds the captured output of one stream, in bytes; 0 means
	// process.DefaultLogCap.
	LogCap int64
	// Grace is the time between SIGTERM and SIGKILL when a limit is hit; 0
	// means SIGKILL at once.
	Grace time.Duration
}

// A Runner runs command experiments. Its methods may be called from many
// goroutines.
type Runner struct {
	run  ProcessRunner
	opts Options
}

var _ ProcessRunner = (*process.Runner)(nil)

// New returns a Runner that starts programs with run.
func New(run ProcessRunner, o Options) *Runner {
	if o.Environ == nil {
		o.Environ = os.Environ()
	}
	if o.Secret == nil {
		o.Secret = func(name string) (string, error) {
			return "", fmt.Errorf("secret %q: this worker has no secrets", name)
		}
	}
	return &Runner{run: run, opts: o}
}
