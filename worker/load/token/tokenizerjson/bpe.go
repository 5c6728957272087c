package tokenizerjson

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// bpe joins the runes of a word pair by pair, the pair that was learned first
// before all others (Sennrich, Haddow and Birch, 2016).
type bpe struct {
	vocab        map[string]int32
	merges       map[uint64]merged
	unknown      int32 // −1 for none
	fuse         bool
	bytes        *[256]int32 // byte fallback; nil for none
	wholeWords   bool        // a word of the vocabulary is left alone
	prefix, tail string
}

// merged is what a pair becomes.
type merged struct {
	rank, id int32
}

type bpeSpec struct {
	Vocab        map[string]int32  `json:"vocab"`
	Merges       []json.RawMessage `json:"merges"`
	Unknown      *string           `json:"unk_token"`
	Prefix       *string           `json:"continuing_subword_prefix"`
	Tail         *string           `json:"end_of_word_suffix"`
	Fuse         bool              `json:"fuse_unk"`
	ByteFallback bool              `json:"byte_fallback"`
	IgnoreMerges bool              `json:"ignore_merges"`
}

func pair(a, b int32) uint64 { return uint64(uint32(a))<<32 | uint64(uint32(b)) }

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func parseBPE(raw json.RawMessage) (model, map[string]int32, error) {
	var s bpeSpec
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, nil, err
	}
	if len(s.Vocab) == 0 {
		return nil, nil, errors.New("the vocabulary is empty")
	}
	m := &bpe{vocab: s.Vocab, merges: make(map[uint64]merged, len(s.Merges)), unknown: -1, fuse: s.Fuse,
		wholeWords: s.IgnoreMerges, prefix: text(s.Prefix), tail: text(s.Tail)}
	if s.Unknown != nil {
		id, ok := s.Vocab[*s.Unknown]
		if !ok {
			return nil, nil, fmt.Errorf("unk_token %q is not in the vocabulary", *s.Unknown)
		}
		m.unknown = id
	}
	if s.ByteFallback {
		m.bytes = fallback(s.Vocab)
	}
	for rank, raw := range s.Merges {
		if err := m.learn(int32(rank), raw); err != nil {
			return nil, nil, fmt.Errorf("merge %d: %w", rank, err)
		}
	}
	return m, s.Vocab, nil
}

// fallback finds the tokens that stand for bytes. A byte without one is −1.
func fallback(vocab map[string]int32) *[256]int32 {
	var out [256]int32
	for b := range out {
		out[b] = -1
		if id, ok := vocab[fmt.Sprintf("<0x%02X>", b)]; ok {
			out[b] = id
		}
	}
	return &out
}

// learn adds a merge, written as two strings or as one with a space between.
func (m *bpe) learn(rank int32, raw json.RawMessage) error {
	var both [2]string
	if raw[0] == '[' {
		var list []string
		if err := json.Unmarshal(raw, &list); err != nil {
			return err
		}
		if len(list) != 2 {
			return fmt.Errorf("%d parts, not 2", len(list))
		}
		both = [2]string(list)
	} else {
		var line string
		if err := json.Unmarshal(raw, &line); err != nil {
			return err
		}
		var ok bool
		if both[0], both[1], ok = strings.Cut(line, " "); !ok {
			return fmt.Errorf("%q has no two parts", line)
		}
	}
	left, ok1 := m.vocab[both[0]]
	right, ok2 := m.vocab[both[1]]
	id, ok3 := m.vocab[both[0]+strings.TrimPrefix(both[1], m.prefix)]
	if !ok1 || !ok2 || !ok3 {
		return fmt.Errorf("%q and %q, or what they make, are not in the vocabulary", both[0], both[1])
	}
	if _, known := m.merges[pair(left, right)]; !known {
		m.merges[pair(left, right)] = merged{rank, id}
	}
	return nil
}

func (m *bpe) encode(ids []int32, word string) []int32 {
	if m.wholeWords {
		if id, ok := m.vocab[word]; ok {
			return append(ids, id)
		}
	}
	return m.join(ids, m.symbols(word))
}

// symbols are the ids of a word's runes.
func (m *bpe) symbols(word string) []int32 {
	out := make([]int32, 0, len(word))
	waiting := false // an unknown that more may be fused with
	flush := func() {
		if waiting {
			out, waiting = append(out, m.unknown), false
		}
	}
	for i, r := range word {
		size := utf8.RuneLen(r)
		id, ok := m.symbol(word[i:i+size], i == 0, i+size == len(word))
		switch {
		case ok:
			flush()
			out = append(out, id)
		case m.spell(&out, word[i:i+size]):
		case m.unknown >= 0:
			if !m.fuse {
				flush()
			}
			waiting = true
		}
	}
	flush()
	return out
}

func (m *bpe) symbol(s string, first, last bool) (int32, bool) {
	if !first {
		s = m.prefix + s
	}
	if last {
		s += m.tail
	}
	id, ok := m.vocab[s]
	return id, ok
}

// spell writes a rune as bytes, if all of them have tokens.
func (m *bpe) spell(out *[]int32, s string) bool {
	if m.bytes == nil {
		return false
	}
	for i := range len(s) {
		if m.bytes[s[i]] < 0 {
			return false
		}
	}
	for i := range len(s) {
		*out = append(*out, m.bytes[s[i]])
	}
	return true
}

// candidate is a pair that may be joined.
type candidate struct {
	rank, at, left, right, id int32
}

// candidates is a heap; the standard library's would allocate for each.
type candidates []candidate

func (c candidates) less(i, j int) bool {
	return cmp.Or(cmp.Compare(c[i].rank, c[j].rank), cmp.Compare(c[i].at, c[j].at)) < 0
}

func (c *candidates) push(x candidate) {
	h := append(*c, x)
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if !h.less(i, up) {
			break
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
	*c = h
}

func (c *candidates) pop() candidate {
	h := *c
	top, last := h[0], len(h)-1
	h[0] = h[last]
	h = h[:last]
	for i := 0; ; {
		down := 2*i + 1
		if down >= last {
			break
		}
		if down+1 < last && h.less(down+1, down) {
			down++
		}
		if !h.less(down, i) {
			break
		}
		h[i], h[down] = h[down], h[i]
		i = down
	}
	*c = h
	return top
}

// join merges symbols until no pair is left that was learned. Symbols form a
// list of which joined ones drop out, and candidates a heap in which those are
// passed over whose symbols have changed: n·log n, since some tokenizers see
// the whole text as one word.
func (m *bpe) join(ids, symbols []int32) []int32 {
	n := int32(len(symbols))
	next, before := make([]int32, n), make([]int32, n)
	var queue candidates
	consider := func(at int32) {
		if at < 0 || next[at] >= n {
			return
		}
		left, right := symbols[at], symbols[next[at]]
		if to, ok := m.merges[pair(left, right)]; ok {
			queue.push(candidate{to.rank, at, left, right, to.id})
		}
	}
	for i := range n {
		next[i], before[i] = i+1, i-1
	}
	for i := range n {
		consider(i)
	}
	const gone = -1
	for len(queue) > 0 {
		c := queue.pop()
		second := next[c.at]
		if symbols[c.at] != c.left || second >= n || symbols[second] != c.right {
			continue
		}
		symbols[c.at], symbols[second] = c.id, gone
		next[c.at] = next[second]
		if next[c.at] < n {
			before[next[c.at]] = c.at
		}
		consider(before[c.at])
		consider(c.at)
	}
	for _, id := range symbols {
		if id != gone {
			ids = append(ids, id)
		}
	}
	return ids
}
