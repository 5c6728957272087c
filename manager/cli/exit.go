package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/client"
	"github.com/fleetune/fleetune/shared/terminal"
	"github.com/spf13/cobra"
)

// Exit codes. They are a public interface: `fleetune help exit-codes`.
const (
	ExitOK          = 0
	ExitFailure     = 1
	ExitUsage       = 2
	ExitNotFound    = 3
	ExitUnreachable = 4
	ExitTask        = 5
	ExitInterrupted = 130
)

// errInterrupted says that Ctrl-C ended a command.
var errInterrupted = errors.New("interrupted")

// An exitError has an exit code and, where there are any, the next step and
// every single thing that is wrong.
type exitError struct {
	code     int
	next     string
	problems []v1.Finding
	err      error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// usage marks an error as a mistake in what was typed.
func usage(err error) error { return &exitError{code: ExitUsage, err: err} }

// exitCode is the code that an error ends the program with.
func exitCode(err error) int {
	var coded *exitError
	var p *v1.Problem
	var status interface{ ExitStatus() int } // of a command of another room
	switch {
	case errors.As(err, &coded):
		return coded.code
	case errors.As(err, &status):
		return status.ExitStatus()
	case errors.Is(err, errInterrupted):
		return ExitInterrupted
	case errors.Is(err, client.ErrUnreachable):
		return ExitUnreachable
	case errors.As(err, &p):
		return problemCode(p.Status)
	}
	return ExitFailure
}

func problemCode(status int) int {
	switch status {
	case http.StatusNotFound:
		return ExitNotFound
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout:
		return ExitUnreachable
	case http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusRequestEntityTooLarge:
		return ExitUsage
	}
	return ExitFailure
}

// A failure is what is told of an error: lines for people on standard error,
// and with --json a document for programs on standard output.
type failure struct {
	Message  string       `json:"message"`
	Problems []v1.Finding `json:"problems,omitempty"`
	Next     string       `json:"next,omitempty"`
	ExitCode int          `json:"exit_code"`
}

// told is what is told of an error of a command.
func told(command *cobra.Command, err error) failure {
	f := failure{Message: err.Error(), ExitCode: exitCode(err)}
	var p *v1.Problem
	if errors.As(err, &p) {
		f.Message, f.Next = p.Detail, p.Next
		for _, finding := range p.Errors {
			// What the message says already is not said twice.
			if finding.Message != p.Detail {
				f.Problems = append(f.Problems, finding)
			}
		}
	}
	var coded *exitError
	if errors.As(err, &coded) {
		f.Problems = append(f.Problems, coded.problems...)
		f.Next = cmp.Or(coded.next, f.Next)
	}
	switch {
	case f.Next != "":
	case f.ExitCode == ExitUsage:
		f.Next = command.CommandPath() + " --help"
	case f.ExitCode == ExitUnreachable:
		f.Next = "start one here with fleetune up, or set FLEETUNE_URL and FLEETUNE_TOKEN"
	}
	return f
}

// explain tells an error with the next step and returns the exit code. A
// program that asked for JSON gets one document: a command that has printed
// its own is left at that.
func (a *app) explain(command *cobra.Command, err error) int {
	if errors.Is(err, errInterrupted) {
		return exitCode(err)
	}
	f := a.tell(command, err)
	if a.wantsJSON(command) && !a.out.used {
		// Standard error has told it; nobody is left to tell if this fails.
		_ = a.printJSON(map[string]failure{"error": f})
	}
	return f.ExitCode
}

// tell tells people an error, with the next step.
func (a *app) tell(command *cobra.Command, err error) failure {
	f := told(command, err)
	for _, p := range f.Problems {
		a.complain(p.String())
	}
	a.complain("fleetune: " + f.Message)
	if f.Next != "" {
		a.complain("  next: " + f.Next)
	}
	return f
}

// wantsJSON says whether JSON was asked for on standard output, also where the
// command line could not be read to its end.
func (a *app) wantsJSON(command *cobra.Command) bool {
	flag := command.Flags().Lookup("json")
	return flag != nil && flag.Value.Type() == "bool" && (flag.Changed || slices.Contains(a.Args, "--json"))
}

// watched notes whether anything was written.
type watched struct {
	io.Writer
	used bool
}

func (w *watched) Write(p []byte) (int, error) {
	w.used = w.used || len(p) > 0
	return w.Writer.Write(p)
}

// complain prints lines to standard error. There is nobody to tell when that
// fails.
func (a *app) complain(text string) {
	_, _ = fmt.Fprintln(a.Err, terminal.CleanText(text))
}

// exitCodesTopic is `fleetune help exit-codes`.
func exitCodesTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "exit-codes",
		Short: "What the exit codes mean",
		Long: `Exit codes of fleetune:

    0  it worked; for wait, watch and submit --watch: the task completed
    1  it failed for another reason than those below
    2  what was typed, or the task file, has a mistake
    3  there is no such task, experiment, worker or record
    4  the manager cannot be reached, or refuses the token
    5  the task failed or was cancelled (wait, watch, submit --watch)
  130  interrupted by Ctrl-C; the task goes on

With --json, a command that fails before it has printed anything prints an
object whose field "error" has message, problems, next and exit_code.`,
	}
}
