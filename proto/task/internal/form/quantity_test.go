package form

import (
	"testing"

	"github.com/fleetune/fleetune/proto/task/internal/document"
	"github.com/stretchr/testify/require"
)

type quantities struct {
	Memory  Memory   `json:"memory,omitempty"`
	Low     Duration `json:"low,omitempty"`
	Limit   Timeout  `json:"limit,omitempty"`
	Path    Path     `json:"path,omitempty"`
	Options Options  `json:"options,omitempty"`
	Point   Point    `json:"point,omitempty"`
	Word    Word     `json:"word,omitempty"`
}

func bind(t *testing.T, text string) (quantities, []document.Problem) {
	t.Helper()
	root, problems := document.Parse("t.yaml", []byte(text))
	require.Empty(t, problems, text)
	var b document.Binder
	var q quantities
	b.Bind(root, "", &q)
	return q, b.Problems
}

func TestMemory(t *testing.T) {
	for text, want := range map[string]Memory{
		"1B": 1, "2kB": 2000, "3KB": 3000, "4MB": 4e6, "40GB": 40e9, "1.5TB": 1.5e12, "80 gb": 80e9,
		"1KiB": 1 << 10, "1MiB": 1 << 20, "16GiB": 16 << 30, "2TiB": 2 << 40,
	} {
		q, problems := bind(t, "memory: "+text)
		require.Empty(t, problems, text)
		require.Equal(t, want, q.Memory, text)
	}
	for _, text := range []string{"40", "40.5", "GB", "-1GB", "1e3GB", "40G", "40GBs", "[1]", "9999999TB", "true", `""`} {
		_, problems := bind(t, "memory: "+text)
		require.Len(t, problems, 1, text)
	}
}

func TestRefusedValues(t *testing.T) {
	for _, text := range []string{
		"low: -1", "low: [1]", "low: .inf", "limit: 0", "limit: 0s", "limit: true", "limit: 0x10",
		"path: [a]", "path: a/..", "path: \"a\\nb\"", "path: /",
		"options: [1]", "options: {a: .nan}", "options: {a: {b: [1, .inf]}}",
		"point: [1]", "point: {a: [1]}", "point: {a: }",
		"word: [a]", "word: {a: 1}", `word: "a\0b"`,
	} {
		_, problems := bind(t, text)
		require.NotEmpty(t, problems, text)
	}
}
