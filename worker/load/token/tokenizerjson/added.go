package tokenizerjson

import (
	"errors"
	"slices"
	"unicode"
	"unicode/utf8"
)

// addedToken is a token outside the model's vocabulary, found before the model
// sees the text.
type addedToken struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	Lstrip     bool   `json:"lstrip"`
	Rstrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
}

// A piece is a part of a text: an added token, or text that is still to be
// split. first is set at the beginning of the whole text.
type piece struct {
	text  string
	token int32 // −1 for text
	first bool
}

// added finds added tokens, the longest at the leftmost place.
type added struct {
	// tokens by their first byte, the longest first.
	tokens map[byte][]addedToken
}

// newAdded returns what is found in the text as it is, and what is found after
// normalising.
func newAdded(tokens []addedToken, n normalizer) (raw, norm *added, err error) {
	raw, norm = &added{tokens: map[byte][]addedToken{}}, &added{tokens: map[byte][]addedToken{}}
	for _, t := range tokens {
		to := raw
		if t.Normalized {
			to = norm
			t.Content = n.apply(t.Content)
		}
		if t.Content == "" {
			return nil, nil, errors.New("a token is empty")
		}
		to.tokens[t.Content[0]] = append(to.tokens[t.Content[0]], t)
	}
	for _, a := range []*added{raw, norm} {
		for first := range a.tokens {
			slices.SortStableFunc(a.tokens[first], func(x, y addedToken) int { return len(y.Content) - len(x.Content) })
		}
	}
	return raw, norm, nil
}

// cut calls f with the pieces of a text.
func (a *added) cut(text string, first bool, f func(piece)) {
	done := 0
	emit := func(upTo int) {
		if done < upTo {
			f(piece{text[done:upTo], -1, first && done == 0})
		}
	}
	if len(a.tokens) > 0 {
		for at := 0; at < len(text); {
			t := a.at(text, at)
			if t == nil {
				at++
				continue
			}
			start, stop := at, at+len(t.Content)
			at = stop
			if t.SingleWord && !alone(text, start, stop) {
				continue
			}
			if t.Lstrip {
				start = max(done, start-spaceBefore(text[:start]))
			}
			if t.Rstrip {
				stop += spaceAfter(text[stop:])
				at = stop
			}
			emit(start)
			f(piece{token: t.ID})
			done = stop
		}
	}
	emit(len(text))
}

func (a *added) at(text string, at int) *addedToken {
	list := a.tokens[text[at]]
	for i := range list {
		if c := list[i].Content; len(text)-at >= len(c) && text[at:at+len(c)] == c {
			return &list[i]
		}
	}
	return nil
}

func alone(text string, start, stop int) bool {
	before, _ := utf8.DecodeLastRuneInString(text[:start])
	after, _ := utf8.DecodeRuneInString(text[stop:])
	return (start == 0 || !wordRune(before)) && (stop == len(text) || !wordRune(after))
}

func wordRune(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsMark(r) || unicode.Is(unicode.Nd, r) || unicode.Is(unicode.Pc, r) || unicode.Is(unicode.Other_Alphabetic, r)
}

func spaceBefore(s string) int {
	n := len(s)
	for n > 0 {
		r, size := utf8.DecodeLastRuneInString(s[:n])
		if !unicode.IsSpace(r) {
			break
		}
		n -= size
	}
	return len(s) - n
}

func spaceAfter(s string) int {
	for i, r := range s {
		if !unicode.IsSpace(r) {
			return i
		}
	}
	return len(s)
}
