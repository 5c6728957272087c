package installed

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// environment makes a virtual environment with a package.
func environment(t *testing.T, dist string) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "lib", "python3.12", "site-packages", dist+".dist-info"), 0o755))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "bin"), 0o755))
	program(t, filepath.Join(dir, "bin", "python3"), "")
	return dir
}

func program(t *testing.T, path, text string) string {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755))
	return path
}

func TestFind(t *testing.T) {
	vllm, sglang, bin := environment(t, "vllm-0.10.0"), environment(t, "sglang-0.5.2"), t.TempDir()
	llama := program(t, filepath.Join(bin, "llama-server"), `echo "version: 4711 (0123abc)" >&2`)
	found, err := Find(t.Context(), map[string]string{"vllm": vllm + "/bin/python3"}, bin+":"+sglang+"/bin:relative")
	require.NoError(t, err)
	require.Equal(t, map[string]Engine{
		"vllm":      {Program: []string{vllm + "/bin/python3"}, Version: "0.10.0"},
		"sglang":    {Program: []string{sglang + "/bin/python3"}, Version: "0.5.2"},
		"llama.cpp": {Program: []string{llama}, Version: "4711"},
	}, found)
}

func TestFindPrefersTheEnginesOwnProgram(t *testing.T) {
	vllm := environment(t, "vllm-0.11.0")
	own := program(t, filepath.Join(vllm, "bin", "vllm"), "")
	found, err := Find(t.Context(), nil, vllm+"/bin")
	require.NoError(t, err)
	require.Equal(t, map[string]Engine{"vllm": {Program: []string{own}, Version: "0.11.0"}}, found)
}

func TestGivenEngineMustBeThere(t *testing.T) {
	_, err := Find(t.Context(), map[string]string{"vllm": "/no/such/python"}, "")
	require.ErrorContains(t, err, "/no/such/python")
	_, err = Find(t.Context(), map[string]string{"vlm": "/bin/sh"}, "")
	require.ErrorContains(t, err, `did you mean "vllm"`)
}
