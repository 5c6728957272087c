package settings

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/fleetune/fleetune/shared/engine"
)

// ErrUsage says that the engine's own command line would have been refused.
var ErrUsage = errors.New("wrong usage")

// refused is a command line that the engine refuses, in its own words.
type refused string

func (r refused) Error() string        { return string(r) }
func (r refused) Is(target error) bool { return target == ErrUsage }

func refuse(format string, a ...any) error { return refused(fmt.Sprintf(format, a...)) }

// arguments are an engine's command line, read as the engine reads it.
type arguments struct {
	engine *engine.Engine
	values map[string]string // by the flag's own name; switches are true or false
	words  []string          // that belong to no flag
	order  []string
}

// parse reads a command line. Errors wrap ErrUsage and read like the engine's.
func parse(e *engine.Engine, argv []string) (*arguments, error) {
	a := &arguments{engine: e, values: map[string]string{}}
	var unknown []string
	for len(argv) > 0 {
		word := argv[0]
		argv = argv[1:]
		if !isFlag(word) {
			a.words = append(a.words, word)
			continue
		}
		name, value, given := strings.Cut(word, "=")
		flag, negated, ok := a.find(name)
		if !ok {
			unknown = append(unknown, word)
			// What follows an unknown flag may be its value.
			for len(argv) > 0 && !isFlag(argv[0]) {
				unknown, argv = append(unknown, argv[0]), argv[1:]
			}
			continue
		}
		used, err := a.take(flag, negated, value, given, argv)
		if err != nil {
			return nil, err
		}
		argv = argv[used:]
	}
	if len(unknown) > 0 {
		return nil, refuse("unrecognized arguments: %s", strings.Join(unknown, " "))
	}
	return a, nil
}

// isFlag tells flags from values: a dash before a digit is a negative number.
func isFlag(word string) bool {
	return len(word) > 1 && word[0] == '-' && (word[1] < '0' || word[1] > '9') && word[1] != '.'
}

// find looks a flag up as it was typed.
func (a *arguments) find(word string) (flag engine.Flag, negated, ok bool) {
	name := strings.TrimLeft(word, "-")
	if positive, cut := strings.CutPrefix(strings.ReplaceAll(name, "_", "-"), "no-"); cut {
		if flag, ok = a.engine.Flag(positive); ok && flag.Type == engine.Toggle {
			return flag, true, true
		}
	}
	if flag, ok = a.engine.Flag(name); ok {
		return flag, false, true
	}
	return engine.Flag{}, false, false
}

// take stores a flag's value and says how many further words it used.
func (a *arguments) take(flag engine.Flag, negated bool, value string, given bool, rest []string) (used int, err error) {
	set := func(v string) {
		if _, there := a.values[flag.Name]; !there {
			a.order = append(a.order, flag.Name)
		}
		a.values[flag.Name] = v
	}
	switch flag.Type {
	case engine.Switch, engine.Toggle:
		if given {
			return 0, refuse("argument --%s: ignored explicit argument %q", flag.Name, value)
		}
		set(strconv.FormatBool(!negated))
		return 0, nil
	case engine.List:
		words := []string{}
		if given {
			words = append(words, value)
		}
		for !given && used < len(rest) && !isFlag(rest[used]) {
			words = append(words, rest[used])
			used++
		}
		set(strings.Join(words, " "))
		return used, nil
	case engine.Integer, engine.Number, engine.Text, engine.JSON:
	}
	if !given {
		if len(rest) == 0 || isFlag(rest[0]) {
			return 0, refuse("argument --%s: expected one argument", flag.Name)
		}
		value, used = rest[0], 1
	}
	set(value)
	return used, check(flag, value)
}

// check tells values that the engine's command line refuses.
func check(flag engine.Flag, value string) error {
	var err error
	switch flag.Type { //nolint:exhaustive // the others are words
	case engine.Integer:
		_, err = integer(value)
	case engine.Number:
		_, err = strconv.ParseFloat(value, 64)
	}
	if err != nil {
		return refuse("argument --%s: invalid %s value: '%s'", flag.Name, flag.Type, value)
	}
	if len(flag.Choices) > 0 && !flag.Open && !slices.Contains(flag.Choices, value) {
		return refuse("argument --%s: invalid choice: '%s' (choose from %s)", flag.Name, value, strings.Join(flag.Choices, ", "))
	}
	return nil
}

// integer reads a whole number, with vLLM's suffixes: k is 1000, K is 1024.
func integer(text string) (int, error) {
	factor := 1.0
	for suffix, f := range map[string]float64{"k": 1e3, "m": 1e6, "g": 1e9, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30} {
		if rest, ok := strings.CutSuffix(text, suffix); ok {
			text, factor = rest, f
			break
		}
	}
	if factor == 1 {
		return strconv.Atoi(text)
	}
	x, err := strconv.ParseFloat(text, 64)
	return int(x * factor), err
}

// text is a flag's value, or otherwise where it was not given.
func (a *arguments) text(name, otherwise string) string {
	if flag, ok := a.engine.Flag(name); ok {
		if v, ok := a.values[flag.Name]; ok && v != "" && v != "None" && v != "none" {
			return v
		}
	}
	return otherwise
}

func (a *arguments) integer(name string, otherwise int) int {
	n, err := integer(a.text(name, ""))
	if err != nil {
		return otherwise // not given: parse has refused what is no number
	}
	return n
}

func (a *arguments) number(name string, otherwise float64) float64 {
	x, err := strconv.ParseFloat(a.text(name, ""), 64)
	if err != nil {
		return otherwise // likewise
	}
	return x
}

func (a *arguments) flag(name string, otherwise bool) bool {
	b, err := strconv.ParseBool(a.text(name, ""))
	if err != nil {
		return otherwise // likewise
	}
	return b
}
