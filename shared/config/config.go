// Package config lets the environment stand in for flags that a program was
// not given: the flag wins over the variable, the variable over the default.
package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// Variable is the environment variable that stands in for a flag:
// FLEETUNE_LOG_LEVEL for --log-level.
func Variable(flag string) string {
	return "FLEETUNE_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// FromEnvironment sets every flag that was not given on the command line and
// whose variable is there; lookup is os.LookupEnv. An empty variable counts as
// absent. All values that do not parse are told together.
func FromEnvironment(flags *pflag.FlagSet, lookup func(string) (string, bool)) error {
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) {
		value, ok := lookup(Variable(f.Name))
		if f.Changed || !ok || value == "" {
			return
		}
		if err := flags.Set(f.Name, value); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", Variable(f.Name), err))
		}
	})
	return errors.Join(errs...)
}
