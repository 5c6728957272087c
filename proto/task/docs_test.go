package task

import (
	"os"
	"strings"
	"testing"

	"github.com/fleetune/fleetune/proto/render/placeholder"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/stretchr/testify/require"
)

const reference = "../../shared/docs/task-file.md"

// The reference's own examples are valid, and it tells of every name that a
// placeholder or an expression may use.
func TestReference(t *testing.T) {
	data, err := os.ReadFile(reference)
	require.NoError(t, err)
	page := string(data)
	example := ""
	for block := range strings.SplitSeq(page, "```yaml\n") {
		if text, _, ok := strings.Cut(block, "```"); ok && strings.HasPrefix(text, "task_name") {
			example = text
		}
	}
	decoded, problems := Decode("task-file.md", []byte(example))
	require.Empty(t, problems)
	require.NotNil(t, decoded)

	for _, name := range placeholder.Builtins() {
		require.Contains(t, page, "`"+name+"`")
	}
	_, forms, found := strings.Cut(page, "## Parameters")
	require.True(t, found)
	forms, _, _ = strings.Cut(forms, "## Expressions")
	for line := range strings.SplitSeq(forms, "\n") {
		cells := strings.Split(line, "`")
		if !strings.HasPrefix(line, "| `") || len(cells) < 2 {
			continue
		}
		text := "task_name: t\nnoop: true\nparameters:\n  other: [1, 2]\n  " + cells[1] + "\n"
		decoded, _ := Decode("task-file.md", []byte(text))
		require.NotNil(t, decoded, cells[1])
	}
	for _, name := range space.Functions() {
		require.Contains(t, page, "`"+name+"`")
	}
}
