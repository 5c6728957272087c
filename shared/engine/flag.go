package engine

import (
	"embed"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// The flags of every engine and version, as data/extract.py reads them from
// the engine's own sources.
//
//go:embed data/*.json
var data embed.FS

// A FlagType is what the value of a flag must be.
type FlagType string

// The types of flags. A Switch stands alone; a Toggle also has a negative form,
// --no-NAME; a List takes several words.
const (
	Switch  FlagType = "switch"
	Toggle  FlagType = "toggle"
	Integer FlagType = "integer"
	Number  FlagType = "number"
	Text    FlagType = "text"
	JSON    FlagType = "json"
	List    FlagType = "list"
)

// A Flag is one argument of an engine.
type Flag struct {
	// Name without dashes in front, as Fleetune writes it.
	Name    string   `json:"name"`
	Aliases []string `json:"aliases,omitempty"`
	Type    FlagType `json:"type"`
	// Default as the engine writes it; empty is none, or the engine's choice.
	Default string `json:"default,omitempty"`
	// Choices are all values there are; empty is any of the type.
	Choices []string `json:"choices,omitempty"`
	// Open says that plugins may add to the choices.
	Open bool `json:"open,omitempty"`
	// Tuned says that the flag is commonly tuned.
	Tuned bool `json:"tuned,omitempty"`
	// Deprecated says what to use instead, or only that it goes.
	Deprecated string `json:"deprecated,omitempty"`
	// File says that it is no argument of the command line: it stands in the file
	// that Plan.File makes, at the place that the dots in its name say.
	File bool `json:"file,omitempty"`
	// Low and High bound numbers where the engine refuses others.
	Low  *float64 `json:"low,omitempty"`
	High *float64 `json:"high,omitempty"`
}

// flags are those of one version.
type flags struct {
	Engine  string
	Version string
	Source  string
	Flags   []Flag

	byName map[string]*Flag // names, aliases and their spellings
}

// A history is a file of flags: each form that a flag had, once, with the
// versions that it had it in.
type history struct {
	Engine string `json:"engine"`
	Source string `json:"source"`
	// Versions that were read, oldest first.
	Versions []string `json:"versions"`
	Flags    []struct {
		Flag
		// Since is the first version with the form; empty is the first of all.
		Since string `json:"since"`
		// Until is the first version without it; empty is none.
		Until string `json:"until"`
	} `json:"flags"`
}

// tables lays a history out, version by version.
func (h *history) tables() ([]*flags, error) {
	list := make([]*flags, len(h.Versions))
	for i, version := range h.Versions {
		list[i] = &flags{Engine: h.Engine, Version: version, Source: h.Source}
	}
	for _, form := range h.Flags {
		from, to := 0, len(list)
		for _, end := range []struct {
			version string
			at      *int
		}{{form.Since, &from}, {form.Until, &to}} {
			if end.version == "" {
				continue
			}
			if *end.at = slices.Index(h.Versions, end.version); *end.at < 0 {
				return nil, fmt.Errorf("%s names the version %q, which is not among %v", form.Name, end.version, h.Versions)
			}
		}
		for _, table := range list[from:to] {
			table.Flags = append(table.Flags, form.Flag)
		}
	}
	for _, table := range list {
		table.index()
	}
	return list, nil
}

// loaded tables by engine, oldest version first.
var loaded = sync.OnceValue(func() map[string][]*flags {
	all, err := loadTables()
	if err != nil {
		panic(err) // the files are part of the program, and a test reads them
	}
	return all
})

func tables(engine string) []*flags { return loaded()[engine] }

func loadTables() (map[string][]*flags, error) {
	entries, err := data.ReadDir("data")
	if err != nil {
		return nil, fmt.Errorf("listing the tables of flags: %w", err)
	}
	all := map[string][]*flags{}
	for _, entry := range entries {
		content, err := data.ReadFile(path.Join("data", entry.Name()))
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", entry.Name(), err)
		}
		var h history
		if err := json.Unmarshal(content, &h); err != nil {
			return nil, fmt.Errorf("decoding %s: %w", entry.Name(), err)
		}
		if all[h.Engine], err = h.tables(); err != nil {
			return nil, fmt.Errorf("reading %s: %w", entry.Name(), err)
		}
	}
	return all, nil
}

func (f *flags) index() {
	f.byName = map[string]*Flag{}
	for i := range f.Flags {
		flag := &f.Flags[i]
		for _, name := range append([]string{flag.Name}, flag.Aliases...) {
			f.byName[spelling(name)] = flag
		}
	}
}

// spelling is what all ways to write a flag have in common: engines take
// underscores for dashes.
func spelling(name string) string {
	return strings.ReplaceAll(strings.TrimLeft(name, "-"), "_", "-")
}

// find returns the flag of that name or alias, and whether the name is the
// negative form of a toggle.
func (f *flags) find(name string) (found *Flag, negated bool) {
	key := spelling(name)
	if flag := f.byName[key]; flag != nil {
		return flag, false
	}
	if positive, ok := strings.CutPrefix(key, "no-"); ok {
		if flag := f.byName[positive]; flag != nil && flag.Type == Toggle {
			return flag, true
		}
	}
	return nil, false
}

func (f *flags) has(name string) bool {
	flag, _ := f.find(name)
	return flag != nil
}

func (f *flags) names() []string {
	list := make([]string, 0, len(f.Flags))
	for _, flag := range f.Flags {
		list = append(list, flag.Name)
		list = append(list, flag.Aliases...)
	}
	return list
}

// Flags lists the arguments of the engine at its version.
func (e *Engine) Flags() []Flag { return slices.Clone(e.flags.Flags) }

// Flag returns the argument of that name, alias or spelling.
func (e *Engine) Flag(name string) (Flag, bool) {
	flag, _ := e.flags.find(name)
	if flag == nil {
		return Flag{}, false
	}
	return *flag, true
}

// Span tells which of the known versions have an argument of that name, the
// first and the last; empty where none has.
func (e *Engine) Span(name string) (first, last string) {
	for _, table := range tables(e.Name()) {
		if table.has(name) {
			if first == "" {
				first = table.Version
			}
			last = table.Version
		}
	}
	return first, last
}

// parseVersion reads the numbers at the start of a version: "v0.5.2-cu126" is
// 0, 5, 2. A llama.cpp build, "b6500", is one number.
func parseVersion(version string) ([]int, error) {
	text := strings.TrimLeft(strings.ToLower(strings.TrimSpace(version)), "vb")
	var numbers []int
	for part := range strings.SplitSeq(text, ".") {
		digits := 0
		for digits < len(part) && part[digits] >= '0' && part[digits] <= '9' {
			digits++
		}
		n, err := strconv.Atoi(part[:digits])
		if err != nil {
			break
		}
		numbers = append(numbers, n)
		if digits < len(part) {
			break
		}
	}
	if len(numbers) == 0 {
		return nil, fmt.Errorf("%q is no version of an engine, as in 0.10.0", version)
	}
	return numbers, nil
}

func compareVersions(a, b string) int {
	x, errX := parseVersion(a)
	y, errY := parseVersion(b)
	if errX != nil || errY != nil {
		return strings.Compare(a, b)
	}
	return slices.Compare(x, y)
}
