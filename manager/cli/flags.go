package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fleetune/fleetune/proto/space"
)

// nearestFlag adds to the error about a flag that is none which one may have
// been meant.
func nearestFlag(cmd *cobra.Command, err error) error {
	var none *pflag.NotExistError
	if !errors.As(err, &none) || none.GetSpecifiedShortnames() != "" {
		return err
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	if near := space.Nearest(none.GetSpecifiedName(), names); near != "" {
		return fmt.Errorf("%w; did you mean --%s?", err, near)
	}
	return err
}

// A choice is the value of a flag that takes one of a few words.
type choice struct {
	chosen *string
	words  []string
}

func (c choice) String() string {
	if c.chosen == nil {
		return "" // of the zero value, which pflag makes to know the default
	}
	return *c.chosen
}

func (choice) Type() string { return "string" }

func (c choice) Set(word string) error {
	if slices.Contains(c.words, word) {
		*c.chosen = word
		return nil
	}
	text := "it is " + alternatives(c.words)
	if near := space.Nearest(word, c.words); near != "" {
		text += fmt.Sprintf("; did you mean %q?", near)
	}
	return errors.New(text)
}

// choiceFlag gives a command a flag that takes one of the words, which a shell
// completes. The usage is what stands before the words in the help.
func choiceFlag(cmd *cobra.Command, chosen *string, name, usage string, words ...string) {
	cmd.Flags().Var(choice{chosen, words}, name, usage+alternatives(words))
	// An error would say that there is no such flag.
	_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// alternatives writes "a, b or c".
func alternatives(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
