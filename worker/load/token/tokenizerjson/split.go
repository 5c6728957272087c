package tokenizerjson

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dlclark/regexp2/v2"
)

// splitter cuts normalised text into the words that the model sees.
type splitter []func([]piece) []piece

func (s splitter) split(in []piece) []piece {
	for _, f := range s {
		in = f(in)
	}
	return in
}

type splitterSpec struct {
	Type          string            `json:"type"`
	PreTokenizers []json.RawMessage `json:"pretokenizers"`
	Pattern       pattern           `json:"pattern"`
	Behavior      string            `json:"behavior"`
	Invert        bool              `json:"invert"`

	AddPrefixSpace *bool  `json:"add_prefix_space"`
	UseRegex       *bool  `json:"use_regex"`
	Individual     bool   `json:"individual_digits"`
	Replacement    string `json:"replacement"`
	Scheme         string `json:"prepend_scheme"`
	Split          *bool  `json:"split"`
	Delimiter      string `json:"delimiter"`
}

// Expressions of pre-tokenizers that their names stand for.
const (
	gpt2Words  = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	plainWords = `\w+|[^\w\s]+`
)

func parseSplitter(raw json.RawMessage) (splitter, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	var s splitterSpec
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, err
	}
	switch s.Type {
	case "Sequence":
		var all splitter
		for _, part := range s.PreTokenizers {
			n, err := parseSplitter(part)
			if err != nil {
				return nil, err
			}
			all = append(all, n...)
		}
		return all, nil
	case "ByteLevel":
		return s.byteLevel()
	case "Metaspace":
		return s.metaspace()
	case "Split":
		re, err := s.Pattern.compile()
		if err != nil {
			return nil, err
		}
		return s.cutter(func(t string) []span { return matches(re, t) }, s.Behavior)
	case "Whitespace":
		words := plainWords
		re, err := pattern{Regex: &words}.compile()
		if err != nil {
			return nil, err
		}
		s.Invert = true
		return s.cutter(func(t string) []span { return matches(re, t) }, "Removed")
	case "WhitespaceSplit":
		return s.cutter(runes(unicode.IsSpace), "Removed")
	case "Digits":
		if s.Individual {
			return s.cutter(runes(unicode.IsNumber), "Isolated")
		}
		return s.cutter(runes(unicode.IsNumber), "Contiguous")
	case "Punctuation":
		if s.Behavior == "" {
			s.Behavior = "Isolated"
		}
		return s.cutter(runes(punctuation), s.Behavior)
	case "CharDelimiterSplit":
		return s.cutter(runes(func(r rune) bool { return string(r) == s.Delimiter }), "Removed")
	case "BertPreTokenizer":
		spaces, err := s.cutter(runes(unicode.IsSpace), "Removed")
		if err != nil {
			return nil, err
		}
		marks, err := s.cutter(runes(punctuation), "Isolated")
		return append(spaces, marks...), err
	}
	return nil, fmt.Errorf("type %q: %w", s.Type, ErrUnsupported)
}

func punctuation(r rune) bool {
	return unicode.IsPunct(r) || r < 0x80 && strings.ContainsRune("$+<=>^`|~", r)
}

// A span of a text is a match, or what lies between two.
type span struct {
	from, to int
	hit      bool
}

// matches covers a text with the matches of an expression and what is between.
// An expression that gives up on the text matches nowhere.
func matches(re *regexp2.Regexp, t string) []span {
	found, err := re.FindAllStringIndex(t, -1)
	if err != nil {
		return []span{{0, len(t), false}}
	}
	out := make([]span, 0, len(found))
	done := 0
	for _, m := range found {
		if m[0] > done {
			out = append(out, span{done, m[0], false})
		}
		if m[1] > m[0] {
			out = append(out, span{m[0], m[1], true})
		}
		done = m[1]
	}
	if done < len(t) {
		out = append(out, span{done, len(t), false})
	}
	return out
}

// runes makes a match of every rune that is asked for.
func runes(is func(rune) bool) func(string) []span {
	return func(t string) []span {
		var out []span
		done := 0
		for i, r := range t {
			if !is(r) {
				continue
			}
			if i > done {
				out = append(out, span{done, i, false})
			}
			done = i + utf8.RuneLen(r)
			out = append(out, span{i, done, true})
		}
		if done < len(t) {
			out = append(out, span{done, len(t), false})
		}
		return out
	}
}

// cutter cuts pieces at matches, which then go where the behaviour says.
func (s splitterSpec) cutter(find func(string) []span, behavior string) (splitter, error) {
	var join func([]span) []span
	switch behavior {
	case "Removed":
		join = func(in []span) []span {
			var out []span
			for _, m := range in {
				if !m.hit {
					out = append(out, m)
				}
			}
			return out
		}
	case "Isolated":
		join = func(in []span) []span { return in }
	case "Contiguous":
		join = func(in []span) []span { return merge(in, func(a, b span) bool { return a.hit == b.hit }) }
	case "MergedWithPrevious":
		join = func(in []span) []span { return merge(in, func(a, b span) bool { return b.hit && !a.hit }) }
	case "MergedWithNext":
		join = func(in []span) []span { return merge(in, func(a, b span) bool { return a.hit && !b.hit }) }
	default:
		return nil, fmt.Errorf("behavior %q: %w", behavior, ErrUnsupported)
	}
	return splitter{func(in []piece) []piece {
		out := make([]piece, 0, len(in))
		for _, p := range in {
			spans := find(p.text)
			if s.Invert {
				for i := range spans {
					spans[i].hit = !spans[i].hit
				}
			}
			for _, m := range join(spans) {
				out = append(out, piece{p.text[m.from:m.to], -1, p.first && m.from == 0})
			}
		}
		return out
	}}, nil
}

// merge joins neighbours; the joined span is a match if its last part is.
func merge(in []span, fits func(a, b span) bool) []span {
	var out []span
	for _, m := range in {
		if n := len(out); n > 0 && fits(out[n-1], m) {
			out[n-1].to, out[n-1].hit = m.to, m.hit
			continue
		}
		out = append(out, m)
	}
	return out
}

// byteLevel writes every byte as a printable rune, after GPT-2's cut.
func (s splitterSpec) byteLevel() (splitter, error) {
	var all splitter
	if yes(s.AddPrefixSpace) {
		all = append(all, func(in []piece) []piece {
			for i := range in {
				if !strings.HasPrefix(in[i].text, " ") {
					in[i].text = " " + in[i].text
				}
			}
			return in
		})
	}
	if yes(s.UseRegex) {
		words := gpt2Words
		re, err := pattern{Regex: &words}.compile()
		if err != nil {
			return nil, err
		}
		s.Invert = false
		cut, err := s.cutter(func(t string) []span { return matches(re, t) }, "Isolated")
		if err != nil {
			return nil, err
		}
		all = append(all, cut...)
	}
	letters := byteLetters()
	return append(all, func(in []piece) []piece {
		for i := range in {
			in[i].text = spell(&letters, in[i].text)
		}
		return in
	}), nil
}

func spell(letters *[256]rune, t string) string {
	var b strings.Builder
	b.Grow(len(t) + len(t)/2)
	for i := range len(t) {
		b.WriteRune(letters[t[i]])
	}
	return b.String()
}

// byteLetters is GPT-2's table of runes that stand for bytes: printable Latin-1
// for itself, the rest from U+0100 on.
func byteLetters() (out [256]rune) {
	next := rune(0x100)
	for b := range rune(256) {
		if b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae {
			out[b] = b
			continue
		}
		out[b] = next
		next++
	}
	return out
}

// metaspace writes spaces as a visible mark, and cuts before each.
func (s splitterSpec) metaspace() (splitter, error) {
	if s.Replacement == "" {
		s.Replacement = "▁"
	}
	if s.Scheme == "" { // files from before the scheme had a flag
		s.Scheme = "never"
		if yes(s.AddPrefixSpace) {
			s.Scheme = "always"
		}
	}
	if s.Scheme != "always" && s.Scheme != "never" && s.Scheme != "first" {
		return nil, fmt.Errorf("prepend_scheme %q: %w", s.Scheme, ErrUnsupported)
	}
	mark := func(in []piece) []piece {
		for i := range in {
			t := strings.ReplaceAll(in[i].text, " ", s.Replacement)
			if !strings.HasPrefix(t, s.Replacement) && (s.Scheme == "always" || s.Scheme == "first" && in[i].first) {
				t = s.Replacement + t
			}
			in[i].text = t
		}
		return in
	}
	if !yes(s.Split) {
		return splitter{mark}, nil
	}
	s.Invert = false
	cut, err := s.cutter(runes(func(r rune) bool { return string(r) == s.Replacement }), "MergedWithNext")
	return append(splitter{mark}, cut...), err
}
