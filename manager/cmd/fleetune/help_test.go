package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fleetune/fleetune/manager/cli"
	"github.com/fleetune/fleetune/shared/terminal"
	"github.com/stretchr/testify/require"
)

// The help of every command is there and fits a screen of 80 columns.
func TestHelpFitsTheScreen(t *testing.T) {
	const width = 80
	seen := 0
	var look func(path ...string)
	look = func(path ...string) {
		var out, errs bytes.Buffer
		code := cli.Run(t.Context(), cli.Environment{
			Args: append(path, "--help"), In: strings.NewReader(""),
			Out: terminal.Screen{Writer: &out, Width: width}, Err: terminal.Screen{Writer: &errs, Width: width},
			Getenv: func(string) string { return "" }, Now: time.Now, Commands: commands(),
		})
		require.Equal(t, cli.ExitOK, code, "%v: %s", path, errs.String())
		seen++
		for line := range strings.Lines(out.String()) {
			line = strings.TrimRight(line, " \n")
			if terminal.Width(line) > width {
				t.Errorf("fleetune %s --help: %s", strings.Join(path, " "), line)
			}
		}
		for _, name := range below(out.String()) {
			if name != "help" && name != "completion" { // those are cobra's
				look(append(path, name)...)
			}
		}
	}
	look()
	require.Greater(t, seen, 40)
}

// below lists the commands that a page of help names.
func below(help string) (names []string) {
	list := false
	for line := range strings.Lines(help) {
		switch {
		case !strings.HasPrefix(line, " "):
			title := strings.TrimSpace(line)
			list = strings.HasSuffix(title, ":") && title != "Flags:" && title != "Global Flags:" && title != "Usage:" && title != "Examples:"
		case list:
			var name string
			if _, err := fmt.Sscan(line, &name); err == nil && name != "fleetune" {
				names = append(names, name)
			}
		}
	}
	return names
}
