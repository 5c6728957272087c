package tokenizerjson

import (
	"encoding/json"
	"errors"
	"unicode/utf8"
)

// wordPiece takes the longest token that fits, again and again (Wu et al.,
// 2016, as BERT's code does it).
type wordPiece struct {
	vocab   map[string]int32
	unknown int32
	prefix  string
	longest int // in runes
}

func parseWordPiece(raw json.RawMessage) (model, map[string]int32, error) {
	s := struct {
		Vocab   map[string]int32 `json:"vocab"`
		Unknown string           `json:"unk_token"`
		Prefix  string           `json:"continuing_subword_prefix"`
		Longest int              `json:"max_input_chars_per_word"`
	}{Unknown: "[UNK]", Prefix: "##", Longest: 100}
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, nil, err
	}
	unknown, ok := s.Vocab[s.Unknown]
	if !ok {
		return nil, nil, errors.New("the vocabulary lacks the unk_token")
	}
	return &wordPiece{s.Vocab, unknown, s.Prefix, s.Longest}, s.Vocab, nil
}

func (m *wordPiece) encode(ids []int32, word string) []int32 {
	if utf8.RuneCountInString(word) > m.longest {
		return append(ids, m.unknown)
	}
	mark := len(ids)
	for from := 0; from < len(word); {
		id, size := m.longestAt(word[from:], from > 0)
		if size == 0 {
			return append(ids[:mark], m.unknown) // one unknown part makes the word unknown
		}
		ids = append(ids, id)
		from += size
	}
	return ids
}

func (m *wordPiece) longestAt(rest string, inside bool) (id int32, size int) {
	for size = len(rest); size > 0; {
		s := rest[:size]
		if inside {
			s = m.prefix + s
		}
		if id, ok := m.vocab[s]; ok {
			return id, size
		}
		_, last := utf8.DecodeLastRuneInString(rest[:size])
		size -= last
	}
	return 0, 0
}
