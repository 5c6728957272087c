package task

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fleetune/fleetune/proto/task/internal/document"
	"github.com/stretchr/testify/require"
)

// Files within every limit of the reader that are built to make the checks
// behind it slow: each is refused with a bounded number of problems.
func TestHostileFiles(t *testing.T) {
	const head = "task_name: t\noptimization: {objective: minimize_x}\n"
	many := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	long := strings.Repeat("x", 190)
	for name, text := range map[string]string{
		"placeholders":  head + "parameters:\n" + many(2000, "  p%d: [1]\n") + "command:\n  run: [./a, \"" + many(6_000, "{{q%d}}") + "\"]\n",
		"long names":    head + "parameters: {a: [1]}\ncommand:\n  run: [./a, \"{{" + strings.Repeat("y", 100_000) + "}} {{" + strings.Repeat("z", 100_000) + "}}\"]\n",
		"files":         head + "parameters: {a: [1]}\ncommand:\n  run: [./a]\n  files:\n" + many(6_000, "  - f%d\n"),
		"arguments":     head + "parameters: {a: [1]}\ncommand:\n  run: [./a, " + many(6_000, "a%d, ") + "]\n",
		"unknown keys":  head + "parameters: {a: [1]}\n" + many(2000, long+"%d: 1\n"),
		"parameters":    head + "parameters:\n" + many(2000, "  p%d: [1]\n") + "command: {run: [./a]}\n",
		"dependencies":  head + "parameters: {a: [1]}\ncommand: {run: [./a]}\ndepends_on: [" + strings.Repeat("x, ", 6_000) + "]\n",
		"values":        head + "parameters: {a: [" + many(70_000, "%d, ") + "]}\ncommand: {run: [./a, \"{{a}}\"]}\n",
		"wrong values":  head + "parameters: {a: [" + strings.Repeat("[], ", 10_000) + "]}\ncommand: {run: [./a, \"{{a}}\"]}\n",
		"leading zeros": head + "parameters: {a: [" + strings.Repeat("010, ", 10_000) + "]}\ncommand: {run: [./a, \"{{a}}\"]}\n",
		"merge keys":    head + "base: &b {" + many(2000, "k%d: 1, ") + "}\nparameters:\n" + strings.Repeat("  <<: *b\n", 90) + "command: {run: [./a]}\n",
		"long path":     `{"` + long + `": {"` + long + `": [` + strings.Repeat("1, ", 10_000) + `1]}}`,
		"constraints":   head + "parameters: {a: [1]}\ncommand: {run: [./a]}\nconstraints: [" + strings.Repeat("b < 1, ", 250) + "]\n",
	} {
		decoded, problems := Decode("t", []byte(text))
		require.Nil(t, decoded, name)
		require.LessOrEqual(t, len(problems), document.MaxProblems, name)
		require.Condition(t, func() bool {
			for _, p := range problems {
				if p.Severity == Error {
					return true
				}
			}
			return false
		}, name)
	}
}
