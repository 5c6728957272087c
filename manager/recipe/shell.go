package recipe

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fleetune/fleetune/proto/render"
)

// command is a script for a POSIX shell.
func (r Recipe) command() string {
	var b strings.Builder
	b.WriteString("#!/bin/sh\n" + r.header())
	for variable, name := range sorted(r.secrets()) {
		fmt.Fprintf(&b, "# %s comes from the secret %s: export it before\n", variable, name)
	}
	r.optionsFile(&b)
	for variable, value := range sorted(r.env()) {
		fmt.Fprintf(&b, "export %s=%s\n", variable, render.ShellLine([]string{value}))
	}
	b.WriteString("exec " + render.ShellLine(r.words(r.source(), false)) + "\n")
	return b.String()
}

// optionsFile writes the file that holds what has no flag.
func (r Recipe) optionsFile(b *strings.Builder) {
	if file, ok := r.plan.File(); ok {
		fmt.Fprintf(b, "cat >%s <<'OPTIONS'\n%sOPTIONS\n", file.Name, file.Content)
	}
}

// systemd is a unit that starts the engine as a user of its own.
func (r Recipe) systemd() string {
	var b strings.Builder
	b.WriteString(r.header())
	if file, ok := r.plan.File(); ok {
		fmt.Fprintf(&b, "# /etc/%s/%s holds:\n", r.name(), file.Name)
		for line := range strings.Lines(file.Content) {
			b.WriteString("#   " + line)
		}
	}
	fmt.Fprintf(&b, "[Unit]\nDescription=%s\nAfter=network-online.target\nWants=network-online.target\n\n[Service]\n", unitText(r.plan.Engine+" serving "+r.plan.Model.ID))
	for variable, value := range sorted(r.env()) {
		fmt.Fprintf(&b, "Environment=%s\n", unitWord(variable+"="+value, false))
	}
	secrets := r.secrets()
	if len(secrets) > 0 {
		fmt.Fprintf(&b, "# One line a variable, readable by root only: %s\nEnvironmentFile=/etc/%s/secrets\n",
			strings.Join(slices.Sorted(maps.Keys(secrets)), ", "), r.name())
	}
	words := r.words(r.source(), false)
	for i, word := range words {
		words[i] = unitWord(word, true)
	}
	if !strings.HasPrefix(words[0], "/") && !strings.HasPrefix(words[0], `"/`) {
		words = append([]string{"/usr/bin/env"}, words...) // units search no PATH of the user's
	}
	if _, ok := r.plan.File(); ok {
		fmt.Fprintf(&b, "WorkingDirectory=/etc/%s\n", r.name())
	}
	fmt.Fprintf(&b, "ExecStart=%s\n", strings.Join(words, " "))
	if r.vendor() == amd {
		b.WriteString("SupplementaryGroups=video render\n") // whose the devices' files are
	}
	b.WriteString("DynamicUser=yes\nStateDirectory=" + r.name() + "\nEnvironment=HOME=/var/lib/" + r.name() + "\n" +
		"Restart=on-failure\nRestartSec=5\nTimeoutStartSec=infinity\nKillMode=mixed\nLimitMEMLOCK=infinity\n\n" +
		"[Install]\nWantedBy=multi-user.target\n")
	return b.String()
}

// unitText escapes what systemd expands in any setting.
func unitText(s string) string {
	return strings.NewReplacer("%", "%%", "\n", " ", "\r", " ").Replace(s)
}

// unitWord quotes a word for a unit. Command lines expand variables, settings
// of the environment do not.
func unitWord(s string, expands bool) string {
	s = strings.NewReplacer("%", "%%", `\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`).Replace(s)
	if expands {
		s = strings.ReplaceAll(s, "$", "$$")
	}
	if s == "" || strings.ContainsAny(s, " \t'\"\\;{}") {
		return `"` + s + `"`
	}
	return s
}

// sorted yields a map in the order of its keys.
func sorted(m map[string]string) func(func(string, string) bool) {
	return func(yield func(string, string) bool) {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if !yield(key, m[key]) {
				return
			}
		}
	}
}
