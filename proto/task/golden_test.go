package task

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// golden compares with a committed file, or writes it when asked to:
// go test ./task -update
func golden(t *testing.T, path, got string) {
	t.Helper()
	if flag.Lookup("update").Value.String() == "true" {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write the golden files anew")
	flag.Parse()
	os.Exit(m.Run())
}

func taskFiles(t testing.TB, folder string) []string {
	t.Helper()
	var files []string
	for _, pattern := range []string{"*.yaml", "*.json"} {
		found, err := filepath.Glob(filepath.Join(folder, pattern))
		require.NoError(t, err)
		files = append(files, found...)
	}
	return files
}

// Every malformed file is refused, and every message is one to read.
func TestBadFiles(t *testing.T) {
	files := taskFiles(t, "testdata/bad")
	require.GreaterOrEqual(t, len(files), 40)
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			decoded, problems := Decode(name, data)
			require.Nil(t, decoded)
			var lines strings.Builder
			errors := 0
			for _, p := range problems {
				lines.WriteString(p.String() + "\n")
				if p.Severity == Error {
					errors++
				}
			}
			require.NotZero(t, errors)
			golden(t, file+".golden", lines.String())
		})
	}
}

// Every good file gives the task that is written down, warnings included, and
// the task survives being stored.
func TestGoodFiles(t *testing.T) {
	files := taskFiles(t, "testdata/good")
	require.NotEmpty(t, files)
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			decoded, problems := Decode(name, data)
			var lines strings.Builder
			for _, p := range problems {
				lines.WriteString(p.String() + "\n")
			}
			require.NotNil(t, decoded, lines.String())
			text, err := json.MarshalIndent(decoded, "", "  ")
			require.NoError(t, err)
			golden(t, file+".golden", lines.String()+string(text)+"\n")
			requireStable(t, decoded)
		})
	}
}

// requireStable stores the task and reads it back.
func requireStable(t testing.TB, decoded *Task) {
	t.Helper()
	stored, err := json.Marshal(decoded)
	require.NoError(t, err)
	var again Task
	require.NoError(t, json.Unmarshal(stored, &again))
	require.Equal(t, *decoded, again)
	stored2, err := json.Marshal(&again)
	require.NoError(t, err)
	require.Equal(t, string(stored), string(stored2))
}
