package hub

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fleetune/fleetune/proto/task"
	"github.com/stretchr/testify/require"
)

func TestChoosingAQuantisation(t *testing.T) {
	many := []string{"README.md", "m-IQ4_XS.gguf", "m-Q4_K_S.gguf", "m-Q4_K_M.gguf", "m-UD-Q4_K_M.gguf", "m-Q8_0.gguf", "mmproj-m-f16.gguf", "m-imatrix.gguf",
		"big/m-BF16-00002-of-00002.gguf", "big/m-BF16-00001-of-00002.gguf"}
	for _, c := range []struct {
		names []string
		quant string
		want  string // the first file, or the end of an error
	}{
		{many, "Q8_0", "m-Q8_0.gguf"},
		{many, "q8_0", "m-Q8_0.gguf"},
		{many, "UD-Q4_K_M", "m-UD-Q4_K_M.gguf"},
		{many, "Q4_K_M", "m-Q4_K_M.gguf"},
		{many, "BF16", "big/m-BF16-00001-of-00002.gguf"},
		{many, "", "m-Q4_K_M.gguf"},
		{many, "Q4_XS", "no GGUF file of it is Q4_XS; there are m-BF16, m-IQ4_XS, m-Q4_K_M, m-Q4_K_S, m-Q8_0, m-UD-Q4_K_M"},
		{many, "Q4_K", "no GGUF file of it is Q4_K; "},
		{[]string{"only.gguf", "config.json"}, "", "only.gguf"},
		{[]string{"a-Q2_K.gguf", "b-Q3_K_M.gguf"}, "", "name one by its quantisation, as in org/name:Q5_K_M; there are a-Q2_K, b-Q3_K_M"},
		{[]string{"model.safetensors"}, "", "it has no GGUF file"},
	} {
		v, err := choose(c.names, c.quant)
		if strings.HasSuffix(c.want, ".gguf") {
			require.NoError(t, err, c.quant)
			require.Equal(t, c.want, v.files[0])
			require.Len(t, v.files, v.parts)
			continue
		}
		require.ErrorIs(t, err, ErrMissing)
		require.ErrorContains(t, err, c.want)
	}
}

// llama.cpp is given a file, and of a repository with many of them one is
// fetched.
func TestFetchOneQuantisation(t *testing.T) {
	s := newServer(t)
	s.files = map[string]string{
		"README.md": "read me", "m-Q4_K_M.gguf": "four", "m-Q8_0-00001-of-00002.gguf": "eight", "m-Q8_0-00002-of-00002.gguf": "more of eight", "model.safetensors": "tensors",
	}
	h := s.hub(t)
	eight := wish("org/small:Q8_0")
	path, err := h.Fetch(t.Context(), eight, "", quiet)
	require.NoError(t, err)
	require.Equal(t, "m-Q8_0-00001-of-00002.gguf", filepath.Base(path))
	require.FileExists(t, filepath.Join(filepath.Dir(path), "m-Q8_0-00002-of-00002.gguf"))
	for _, name := range []string{"m-Q4_K_M.gguf", "model.safetensors"} {
		require.NoFileExists(t, filepath.Join(filepath.Dir(path), name))
	}
	require.Equal(t, []string{"org/small"}, h.Models())
	four := Wish{Model: task.Model{ID: "org/small:Q4_K_M"}, GGUF: true}
	_, err = h.Find(four)
	require.ErrorIs(t, err, ErrMissing, "another quantisation of it is here")
	path, err = h.Fetch(t.Context(), four, "", quiet)
	require.NoError(t, err)
	require.Equal(t, "m-Q4_K_M.gguf", filepath.Base(path))
	again, err := h.Find(eight)
	require.NoError(t, err)
	require.NotEqual(t, path, again)
	require.NoError(t, os.Remove(filepath.Join(filepath.Dir(path), "m-Q8_0-00002-of-00002.gguf")))
	_, err = h.Find(eight)
	require.ErrorIs(t, err, ErrMissing)
	require.ErrorContains(t, err, "1 of the 2 parts")
}

func TestFindAGGUFFile(t *testing.T) {
	root := t.TempDir()
	h := New(Config{Root: root, Cache: t.TempDir()})
	for _, name := range []string{"one/model.gguf", "two/m-Q2_K.gguf", "two/m-Q8_0.gguf", "file.gguf"} {
		require.NoError(t, os.MkdirAll(filepath.Join(root, filepath.Dir(name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(root, name), nil, 0o644))
	}
	for id, want := range map[string]string{
		"one": "one/model.gguf", filepath.Join(root, "one"): "one/model.gguf", "two:Q2_K": "two/m-Q2_K.gguf", "two": "two/m-Q8_0.gguf",
		"file.gguf": "file.gguf", filepath.Join(root, "file.gguf"): "file.gguf",
	} {
		path, err := h.Find(Wish{Model: task.Model{ID: id}, GGUF: true})
		require.NoError(t, err, id)
		require.Equal(t, filepath.Join(root, want), path)
	}
	path, err := h.Find(wish("two"))
	require.NoError(t, err)
	require.Equal(t, filepath.Join(root, "two"), path, "engines that want a folder are given one")
	_, err = h.Find(wish("two:Q6_K"))
	require.ErrorIs(t, err, ErrMissing)
}
