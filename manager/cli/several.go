package cli

import (
	"errors"

	"github.com/spf13/cobra"
)

// each asks for every one of several, whatever becomes of the others.
func each[T any](refs []string, f func(ref string) (T, error)) (done []T, failed []error) {
	done = []T{}
	for _, ref := range refs {
		if d, err := f(ref); err != nil {
			failed = append(failed, err)
		} else {
			done = append(done, d)
		}
	}
	return done, failed
}

// listed ends a command about several: with --json it prints what was done,
// unless nothing was, when the failure is the answer. It tells all failures but
// the last and returns that.
func listed[T any](a *app, cmd *cobra.Command, done []T, failed []error) error {
	var printed error
	if a.json && (len(done) > 0 || len(failed) == 0) {
		printed = a.printJSON(done)
	}
	return errors.Join(a.allButLast(cmd, failed), printed)
}

// allButLast tells failures and returns the last; nil without any.
func (a *app) allButLast(cmd *cobra.Command, failed []error) error {
	if len(failed) == 0 {
		return nil
	}
	last := len(failed) - 1
	for _, err := range failed[:last] {
		a.tell(cmd, err)
	}
	return failed[last]
}
