package cli

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

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

// errQuiet says that everything has been said.
var errQuiet = errors.New("said already")

// An exitError has an exit code and, where there is one, the next step.
type exitError struct {
	code int
	next string
	err  error
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
	case strings.HasPrefix(err.Error(), "unknown command"):
		return ExitUsage // cobra has no type for it
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

// explain prints an error with the next step and returns the exit code.
func (a *app) explain(command *cobra.Command, err error) int {
	code := exitCode(err)
	if errors.Is(err, errQuiet) {
		return code
	}
	if errors.Is(err, errInterrupted) {
		return code
	}
	var p *v1.Problem
	var coded *exitError
	text, next := err.Error(), ""
	if errors.As(err, &p) {
		text, next = p.Detail, p.Next
		for _, f := range p.Errors {
			a.complain(f.String())
		}
	}
	if errors.As(err, &coded) && coded.next != "" {
		next = coded.next
	}
	if next == "" && code == ExitUsage {
		next = command.CommandPath() + " --help"
	}
	if next == "" && code == ExitUnreachable {
		next = "start one here with fleetune up, or set FLEETUNE_URL and FLEETUNE_TOKEN"
	}
	a.complain("fleetune: " + text)
	if next != "" {
		a.complain("  next: " + next)
	}
	return code
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
  130  interrupted by Ctrl-C; the task goes on`,
	}
}
