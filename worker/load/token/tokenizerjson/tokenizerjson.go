// Package tokenizerjson counts tokens as a model does: it reads the
// tokenizer.json that Hugging Face models carry and splits text by it. It
// knows byte-level BPE (GPT-2, Llama 3, Qwen), SentencePiece-style BPE with
// byte fallback (Llama 2, Mistral, Gemma) and WordPiece (BERT); whatever a file
// asks for beyond that is refused by name when it is read, since a count that
// is nearly right would pass for a right one. Encoding only: the load generator
// measures lengths and never needs text back.
package tokenizerjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// ErrUnsupported is returned for a tokenizer.json that needs a part that this
// package does not have.
var ErrUnsupported = errors.New("not supported")

// maxSize bounds a tokenizer.json; the largest in use have about 35 MB.
const maxSize = 256 << 20

// A Tokenizer splits text as its file says. It is safe for concurrent use.
type Tokenizer struct {
	name      string
	raw, norm *added
	normalize normalizer
	split     splitter
	model     model
	vocab     map[string]int32
	memory    memory
}

// model turns one word into tokens, appending their ids.
type model interface {
	encode(ids []int32, word string) []int32
}

// document is the file.
type document struct {
	AddedTokens  []addedToken    `json:"added_tokens"`
	Normalizer   json.RawMessage `json:"normalizer"`
	PreTokenizer json.RawMessage `json:"pre_tokenizer"`
	Model        json.RawMessage `json:"model"`
}

// Open reads a tokenizer.json, or the one in a model's directory.
func Open(path string) (*Tokenizer, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		dir := path
		path = filepath.Join(dir, "tokenizer.json")
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("opening a tokenizer: %s holds no tokenizer.json", dir)
		}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening a tokenizer: %w", err)
	}
	defer func() { _ = f.Close() }() // nothing was written
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err == nil && len(data) > maxSize {
		err = fmt.Errorf("more than %d bytes", maxSize)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	t, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	t.name = "tokenizer " + label(path)
	return t, nil
}

// label names a tokenizer by its model where the file has its usual name: by
// its directory, or by the model's directory in Hugging Face's cache.
func label(path string) string {
	base := filepath.Base(path)
	full, err := filepath.Abs(path)
	if base != "tokenizer.json" || err != nil {
		return base
	}
	dir := filepath.Dir(full)
	if up := filepath.Dir(dir); filepath.Base(up) == "snapshots" {
		if model, ok := strings.CutPrefix(filepath.Base(filepath.Dir(up)), "models--"); ok {
			return strings.ReplaceAll(model, "--", "/")
		}
	}
	return filepath.Base(dir)
}

// Parse reads the text of a tokenizer.json.
func Parse(data []byte) (*Tokenizer, error) {
	var doc document
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("decoding tokenizer.json: %w", err)
	}
	t := &Tokenizer{name: "tokenizer.json", memory: memory{counts: map[string]int{}}}
	var err error
	if t.normalize, err = parseNormalizer(doc.Normalizer); err != nil {
		return nil, fmt.Errorf("normalizer: %w", err)
	}
	if t.split, err = parseSplitter(doc.PreTokenizer); err != nil {
		return nil, fmt.Errorf("pre_tokenizer: %w", err)
	}
	if t.model, t.vocab, err = parseModel(doc.Model); err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	if t.raw, t.norm, err = newAdded(doc.AddedTokens, t.normalize); err != nil {
		return nil, fmt.Errorf("added_tokens: %w", err)
	}
	return t, nil
}

func parseModel(raw json.RawMessage) (model, map[string]int32, error) {
	var head struct {
		Type string `json:"type"`
	}
	if len(raw) == 0 {
		return nil, nil, errors.New("the file has none")
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return nil, nil, err
	}
	switch head.Type {
	case "BPE", "": // old files leave the type out, and only BPE ones do
		return parseBPE(raw)
	case "WordPiece":
		return parseWordPiece(raw)
	}
	return nil, nil, fmt.Errorf("type %q: %w", head.Type, ErrUnsupported)
}

// Name tells which file counts.
func (t *Tokenizer) Name() string { return t.name }

// Encode returns the ids of a text's tokens. Special tokens are found where the
// text has them, and none are added around it.
func (t *Tokenizer) Encode(text string) []int32 {
	var ids []int32
	t.words(text, func(word string) { ids = t.model.encode(ids, word) }, func(id int32) { ids = append(ids, id) })
	return ids
}

// Count returns the number of a text's tokens.
func (t *Tokenizer) Count(text string) int {
	n := 0
	t.words(text, func(word string) { n += t.memory.count(t.model, word) }, func(int32) { n++ })
	return n
}

// words calls word with every word of the text and token with every added
// token, in order.
func (t *Tokenizer) words(text string, word func(string), token func(int32)) {
	if text == "" {
		return
	}
	text = strings.ToValidUTF8(text, "\uFFFD") // as JSON would have it
	t.raw.cut(text, true, func(p piece) {
		if p.token >= 0 {
			token(p.token)
			return
		}
		normal := t.normalize.apply(p.text)
		t.norm.cut(normal, p.first, func(q piece) {
			if q.token >= 0 {
				token(q.token)
				return
			}
			for _, w := range t.split.split([]piece{q}) {
				if w.text != "" {
					word(w.text)
				}
			}
		})
	})
}

// Words lists the vocabulary's plain lower-case words, the most common first,
// as filler may be made of them.
func (t *Tokenizer) Words() []string {
	type entry struct {
		word string
		id   int32
	}
	var entries []entry
	for token, id := range t.vocab {
		w := strings.TrimPrefix(strings.TrimPrefix(token, "Ġ"), "▁")
		if len(w) >= 2 && strings.Trim(w, "abcdefghijklmnopqrstuvwxyz") == "" {
			entries = append(entries, entry{w, id})
		}
	}
	slices.SortFunc(entries, func(a, b entry) int { return int(a.id) - int(b.id) })
	out := make([]string, len(entries))
	for i, e := range entries {
		out[i] = e.word
	}
	return out
}

// memory keeps the counts of words, of which most texts have few.
type memory struct {
	mu     sync.RWMutex
	counts map[string]int
}

// Longer words are rare, and would fill the memory with text.
const (
	longestKept = 64
	mostKept    = 1 << 16
)

func (m *memory) count(by model, word string) int {
	if len(word) > longestKept {
		return len(by.encode(nil, word))
	}
	m.mu.RLock()
	n, ok := m.counts[word]
	m.mu.RUnlock()
	if ok {
		return n
	}
	var room [longestKept]int32
	n = len(by.encode(room[:0], word))
	m.mu.Lock()
	if len(m.counts) < mostKept {
		m.counts[strings.Clone(word)] = n
	}
	m.mu.Unlock()
	return n
}
