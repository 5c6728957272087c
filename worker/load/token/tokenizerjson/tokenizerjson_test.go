package tokenizerjson

import (
	"encoding/json"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type golden struct {
	Texts []string             `json:"texts"`
	IDs   map[string][][]int32 `json:"ids"`
}

// reference reads what Hugging Face's own library says; testdata/make.py wrote
// it.
func reference(t testing.TB) golden {
	raw, err := os.ReadFile(filepath.Join("testdata", "golden.json"))
	require.NoError(t, err)
	var g golden
	require.NoError(t, json.Unmarshal(raw, &g))
	return g
}

// Every kind of tokenizer gives the reference's ids, for odd texts too.
func TestEveryIDIsTheReferences(t *testing.T) {
	g := reference(t)
	require.GreaterOrEqual(t, len(g.IDs), 9)
	for name, want := range g.IDs {
		t.Run(name, func(t *testing.T) {
			tok, err := Open(filepath.Join("testdata", name+".json"))
			require.NoError(t, err)
			for i, text := range g.Texts {
				got := tok.Encode(text)
				require.Equal(t, append([]int32{}, want[i]...), append([]int32{}, got...), "%q", text)
				require.Equal(t, len(want[i]), tok.Count(text), "%q", text)
				require.Equal(t, len(want[i]), tok.Count(text), "%q, from memory", text)
			}
		})
	}
}

// The tokenizer of a model is compared in whole where one is at hand:
// FLEETUNE_TOKENIZERS names a directory of NAME/tokenizer.json and a
// golden.json of the committed one's form.
func TestTokenizersOfModels(t *testing.T) {
	dir := os.Getenv("FLEETUNE_TOKENIZERS")
	if dir == "" {
		t.Skip("FLEETUNE_TOKENIZERS is not set")
	}
	raw, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	require.NoError(t, err)
	var g golden
	require.NoError(t, json.Unmarshal(raw, &g))
	for name, want := range g.IDs {
		t.Run(name, func(t *testing.T) {
			tok, err := Open(filepath.Join(dir, name))
			require.NoError(t, err)
			wrong := 0
			for i, text := range g.Texts {
				if got := tok.Encode(text); !equal(got, want[i]) {
					if wrong++; wrong <= 5 {
						t.Errorf("%.120q:\n got %.40v\nwant %.40v", text, got, want[i])
					}
				}
			}
			t.Logf("%s: %d of %d texts differ", tok.Name(), wrong, len(g.Texts))
		})
	}
}

func equal(a, b []int32) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// What a file asks for and this package lacks is refused by name, and a broken
// file too.
func TestFilesThatAreRefused(t *testing.T) {
	const vocab = `"model":{"type":"BPE","vocab":{"a":0},"merges":[]}`
	for text, says := range map[string]string{
		`{}`:                                     "model",
		`[]`:                                     "decoding",
		`{"model":{"type":"Unigram"}}`:           `"Unigram"`,
		`{"model":{"type":"BPE"}}`:               "empty",
		`{"model":{"vocab":{"a":0},"merges":1}}`: "model",
		`{"normalizer":{"type":"Precompiled"},` + vocab + `}`:                                           `"Precompiled"`,
		`{"pre_tokenizer":{"type":"UnicodeScripts"},` + vocab + `}`:                                     `"UnicodeScripts"`,
		`{"pre_tokenizer":{"type":"Split","pattern":{"Regex":"("},"behavior":"Removed"},` + vocab + `}`: "pre_tokenizer",
		`{"pre_tokenizer":{"type":"Split","pattern":{"String":"x"},"behavior":"Tidied"},` + vocab + `}`: "Tidied",
		`{"pre_tokenizer":{"type":"Metaspace","prepend_scheme":"last"},` + vocab + `}`:                  "last",
		`{"added_tokens":[{"content":""}],` + vocab + `}`:                                               "empty",
		`{"model":{"type":"BPE","vocab":{"a":0},"merges":["a b"]}}`:                                     "merge 0",
		`{"model":{"type":"BPE","vocab":{"a":0},"merges":[["a"]]}}`:                                     "merge 0",
		`{"model":{"type":"BPE","vocab":{"a":0},"merges":["a"],"unk_token":null}}`:                      "two parts",
		`{"model":{"type":"BPE","vocab":{"a":0},"unk_token":"<unk>"}}`:                                  "unk_token",
		`{"model":{"type":"WordPiece","vocab":{"a":0}}}`:                                                "unk_token",
		`{"normalizer":{"type":"Sequence","normalizers":[{"type":"Nmt"}]},` + vocab + `}`:               "Nmt",
		`{"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Nothing"}]},` + vocab + `}`:      "Nothing",
		`{"normalizer":{"type":"Replace","pattern":{},"content":""},` + vocab + `}`:                     "neither",
	} {
		_, err := Parse([]byte(text))
		require.ErrorContains(t, err, says, text)
	}
	_, err := Open(t.TempDir())
	require.ErrorContains(t, err, "holds no tokenizer.json")
	_, err = Open(filepath.Join(t.TempDir(), "no.json"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestADirectoryNamesItsTokenizer(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "my-model")
	require.NoError(t, os.Mkdir(dir, 0o755))
	raw, err := os.ReadFile(filepath.Join("testdata", "gpt2.json"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tokenizer.json"), raw, 0o600))
	tok, err := Open(dir)
	require.NoError(t, err)
	require.Equal(t, "tokenizer my-model", tok.Name())
	words := tok.Words()
	require.NotEmpty(t, words)
	require.False(t, sort.StringsAreSorted(words), "in the vocabulary's order")
}

func TestModelsInTheLocalCache(t *testing.T) {
	hub := t.TempDir()
	t.Setenv("HF_HUB_CACHE", hub)
	raw, err := os.ReadFile(filepath.Join("testdata", "gpt2.json"))
	require.NoError(t, err)
	for _, at := range []string{"models--org--named/snapshots/abc", "models--org--named/snapshots/def", "models--gpt2/snapshots/xyz"} {
		require.NoError(t, os.MkdirAll(filepath.Join(hub, at), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(hub, at, "tokenizer.json"), raw, 0o600))
	}
	require.NoError(t, os.Mkdir(filepath.Join(hub, "models--org--named", "refs"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(hub, "models--org--named", "refs", "main"), []byte("def\n"), 0o600))
	for name, want := range map[string]string{"org/named": "models--org--named/snapshots/def", "gpt2": "models--gpt2/snapshots/xyz"} {
		at, err := Find(name)
		require.NoError(t, err)
		require.Equal(t, filepath.Join(hub, want, "tokenizer.json"), at)
		tok, err := Open(at)
		require.NoError(t, err)
		require.Equal(t, "tokenizer "+name, tok.Name())
	}
	for _, name := range []string{"", "org/other", "a/b/c", "../named", "org/.."} {
		_, err := Find(name)
		require.ErrorIs(t, err, ErrNotFound, name)
	}
}

// A word as long as the whole text takes n·log n steps, not n²: with squares
// this test would not end within the package's time-out.
func TestLongWords(t *testing.T) {
	tok, err := Open(filepath.Join("testdata", "mistral.json"))
	require.NoError(t, err)
	text := strings.Repeat("the dog is not amused and ", 20_000)
	require.Greater(t, tok.Count(text), 100_000)
}

func TestConcurrentUse(t *testing.T) {
	g := reference(t)
	tok, err := Open(filepath.Join("testdata", "llama3.json"))
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i, text := range g.Texts {
				if tok.Count(text) != len(g.IDs["llama3"][i]) {
					t.Errorf("%q counts otherwise beside others", text)
				}
			}
		})
	}
	wg.Wait()
}

// No file makes the reader panic, and a file that is read can count.
func FuzzParse(f *testing.F) {
	for _, file := range []string{
		`{"pre_tokenizer":{"type":"Digits"},"model":{"vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}}`,
		`{"normalizer":{"type":"BertNormalizer"},"pre_tokenizer":{"type":"BertPreTokenizer"},"model":{"type":"WordPiece","vocab":{"[UNK]":0,"a":1,"##b":2}}}`,
		`{"added_tokens":[{"id":3,"content":"<s>","rstrip":true}],"pre_tokenizer":{"type":"Metaspace"},"model":{"vocab":{"▁":0,"<0x41>":1},"byte_fallback":true,"merges":[]}}`,
		`{"normalizer":{"type":"Replace","pattern":{"Regex":"a+"},"content":"b"},"pre_tokenizer":{"type":"Split","pattern":{"String":"a"},"behavior":"MergedWithNext"},"model":{"vocab":{"b":0}}}`,
		`{"pre_tokenizer":{"type":"ByteLevel"},"model":{"type":"BPE","vocab":{"Ġ":0,"a":1,"Ġa":2},"merges":[["Ġ","a"]]}}`,
	} {
		f.Add([]byte(file), "ab1ab22 <s> a\x00\xff é")
	}
	f.Fuzz(func(t *testing.T, file []byte, text string) {
		if len(file) > 1<<16 || len(text) > 1<<10 {
			return
		}
		tok, err := Parse(file)
		if err != nil {
			return
		}
		if n := len(tok.Encode(text)); n != tok.Count(text) {
			t.Errorf("%d tokens, counted as %d", n, tok.Count(text))
		}
	})
}

// Every text counts as it is encoded.
func FuzzCount(f *testing.F) {
	tokenizers := map[string]*Tokenizer{}
	g := reference(f)
	for name := range g.IDs {
		tok, err := Open(filepath.Join("testdata", name+".json"))
		require.NoError(f, err)
		tokenizers[name] = tok
	}
	for _, text := range g.Texts {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for name, tok := range tokenizers {
			if n := len(tok.Encode(text)); n != tok.Count(text) {
				t.Errorf("%s: %d tokens, counted as %d", name, n, tok.Count(text))
			}
		}
	})
}
