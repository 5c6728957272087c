package bench

import "errors"

// exitError is an error with the exit code of the program: a mistake in what
// was typed, or Ctrl-C.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string   { return e.err.Error() }
func (e *exitError) Unwrap() error   { return e.err }
func (e *exitError) ExitStatus() int { return e.code }

const (
	exitUsage       = 2
	exitInterrupted = 130
)

// errInterrupted says that Ctrl-C ended a run, which has told what it has.
var errInterrupted = errors.New("interrupted; the report is of what had ended by then")
