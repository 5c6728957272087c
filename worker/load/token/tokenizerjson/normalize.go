package tokenizerjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/dlclark/regexp2/v2"
	"golang.org/x/text/unicode/norm"
)

// normalizer rewrites text before it is split; the parts are applied in order.
type normalizer []func(string) string

func (n normalizer) apply(s string) string {
	for _, f := range n {
		s = f(s)
	}
	return s
}

// pattern is a string or a regular expression.
type pattern struct {
	String *string `json:"String"`
	Regex  *string `json:"Regex"`
}

// compile reads the pattern as Hugging Face's library does: expressions have
// Unicode classes and look-around.
func (p pattern) compile() (*regexp2.Regexp, error) {
	switch {
	case p.String != nil:
		return regexp2.Compile(regexp2.Escape(*p.String))
	case p.Regex != nil:
		return regexp2.Compile(*p.Regex)
	}
	return nil, errors.New("a pattern is neither a string nor a regular expression")
}

type normalizerSpec struct {
	Type        string            `json:"type"`
	Normalizers []json.RawMessage `json:"normalizers"`
	Pattern     pattern           `json:"pattern"`
	Content     string            `json:"content"`
	Prepend     string            `json:"prepend"`
	StripLeft   bool              `json:"strip_left"`
	StripRight  bool              `json:"strip_right"`

	CleanText    *bool `json:"clean_text"`
	Chinese      *bool `json:"handle_chinese_chars"`
	StripAccents *bool `json:"strip_accents"`
	Lowercase    *bool `json:"lowercase"`
}

func parseNormalizer(raw json.RawMessage) (normalizer, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	var s normalizerSpec
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, err
	}
	one := func(f func(string) string) (normalizer, error) { return normalizer{f}, nil }
	switch s.Type {
	case "Sequence":
		var all normalizer
		for _, part := range s.Normalizers {
			n, err := parseNormalizer(part)
			if err != nil {
				return nil, err
			}
			all = append(all, n...)
		}
		return all, nil
	case "NFC":
		return one(norm.NFC.String)
	case "NFD":
		return one(norm.NFD.String)
	case "NFKC":
		return one(norm.NFKC.String)
	case "NFKD":
		return one(norm.NFKD.String)
	case "Lowercase":
		return one(strings.ToLower)
	case "StripAccents":
		return one(stripMarks)
	case "Strip":
		return one(s.strip)
	case "Prepend":
		return one(func(t string) string {
			if t == "" {
				return t
			}
			return s.Prepend + t
		})
	case "Replace":
		return s.replace()
	case "BertNormalizer":
		return s.bert(), nil
	}
	return nil, fmt.Errorf("type %q: %w", s.Type, ErrUnsupported)
}

func (s normalizerSpec) strip(t string) string {
	if s.StripLeft {
		t = strings.TrimLeftFunc(t, unicode.IsSpace)
	}
	if s.StripRight {
		t = strings.TrimRightFunc(t, unicode.IsSpace)
	}
	return t
}

func (s normalizerSpec) replace() (normalizer, error) {
	if p := s.Pattern.String; p != nil {
		return normalizer{func(t string) string { return strings.ReplaceAll(t, *p, s.Content) }}, nil
	}
	re, err := s.Pattern.compile()
	if err != nil {
		return nil, err
	}
	return normalizer{func(t string) string {
		var b strings.Builder
		for _, m := range matches(re, t) {
			if m.hit {
				b.WriteString(s.Content)
			} else {
				b.WriteString(t[m.from:m.to])
			}
		}
		return b.String()
	}}, nil
}

// stripMarks drops combining marks, which are apart from their letters only in
// decomposed text.
func stripMarks(t string) string {
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, t)
}

func yes(b *bool) bool { return b == nil || *b }

// bert is the normaliser of BERT's own code: control characters out, spaces
// plain, room around Chinese characters, accents and case dropped.
func (s normalizerSpec) bert() normalizer {
	var n normalizer
	if yes(s.CleanText) {
		n = append(n, cleanText)
	}
	if yes(s.Chinese) {
		n = append(n, spaceChinese)
	}
	accents := yes(s.Lowercase) // follows the case where it is not named
	if s.StripAccents != nil {
		accents = *s.StripAccents
	}
	if accents {
		n = append(n, norm.NFD.String, stripMarks)
	}
	if yes(s.Lowercase) {
		n = append(n, strings.ToLower)
	}
	return n
}

func cleanText(t string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r' || unicode.IsSpace(r):
			return ' '
		case r == 0xfffd || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co):
			return -1
		}
		return r
	}, t)
}

func spaceChinese(t string) string {
	var b strings.Builder
	for _, r := range t {
		if chinese(r) {
			b.WriteRune(' ')
			b.WriteRune(r)
			b.WriteRune(' ')
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// chinese reports whether a rune is in one of the CJK ideograph blocks that
// BERT's code names.
func chinese(r rune) bool {
	for _, block := range [][2]rune{
		{0x4e00, 0x9fff}, {0x3400, 0x4dbf}, {0x20000, 0x2a6df}, {0x2a700, 0x2b73f},
		{0x2b740, 0x2b81f}, {0x2b920, 0x2ceaf}, {0xf900, 0xfaff}, {0x2f800, 0x2fa1f},
	} {
		if r >= block[0] && r <= block[1] {
			return true
		}
	}
	return false
}
