package token

import (
	"slices"
	"strings"
)

// Words make filler whose length a counter agrees with. Where the counter's
// tokens allow, each word is one token wherever it stands, and filler of n
// words is n tokens with no need to look; where they do not, filler is counted
// and cut or padded until its length is right.
type Words struct {
	list    []string // each with the space before it
	counter Counter
	// additive is set when n words are n tokens; bare when that takes the first
	// word's space away.
	additive, bare bool
}

// vocabulary is what a counter with words of its own has.
type vocabulary interface {
	Words() []string
}

const (
	// fewWords and manyWords bound how many words filler is made of: few repeat
	// themselves, and of many each pair takes a count.
	fewWords, manyWords = 8, 64
	// mostTried bounds how much of a vocabulary is looked at.
	mostTried = 4096
)

// NewWords looks for words that are one token each, first among common English
// ones, then in the counter's own vocabulary.
func NewWords(c Counter) *Words {
	tried := strings.Fields(words)
	if v, ok := c.(vocabulary); ok {
		own := v.Words()
		tried = append(tried, own[:min(len(own), mostTried)]...)
	}
	// A word counts by what it adds, since the first may take one token more.
	head := c.Count(" " + tried[0])
	w := &Words{counter: c}
	for _, word := range tried {
		if c.Count(" "+tried[0]+" "+word) == head+1 && !slices.Contains(w.list, " "+word) {
			w.list = append(w.list, " "+word)
		}
		if len(w.list) == manyWords {
			break
		}
	}
	if len(w.list) >= fewWords {
		for _, bare := range []bool{false, true} {
			if w.bare = bare; w.adds() {
				w.additive = true
				return w
			}
		}
	}
	if len(w.list) < fewWords {
		w.list = strings.SplitAfter(strings.TrimSuffix(words, " "), " ")
		for i, s := range w.list {
			w.list[i] = " " + strings.TrimSpace(s)
		}
	}
	w.bare = false
	return w
}

// adds reports whether words are one token each, at the beginning, after each
// other, and in a long text.
func (w *Words) adds() bool {
	var b []byte
	for _, first := range w.list {
		if w.counter.Count(w.start(first)) != 1 {
			return false
		}
		for _, second := range w.list {
			if w.counter.Count(w.start(first+second)) != 2 {
				return false
			}
		}
	}
	const long = 2048
	b = w.append(b, 1, long)
	return w.counter.Count(w.start(string(b))) == long
}

func (w *Words) start(text string) string {
	if w.bare {
		return strings.TrimPrefix(text, " ")
	}
	return text
}

// append appends n words, drawn by the seed.
func (w *Words) append(b []byte, seed uint64, n int) []byte {
	d := draws{seed}
	for range n {
		b = append(b, w.list[d.next()%uint64(len(w.list))]...)
	}
	return b
}

// Append appends the filler of one message: fill after fill,
// drawn by its seed. Equal seeds give equal text, of which a shorter fill is
// the beginning, save where the end of the message had to be fitted. A nil
// receiver makes the fallback's filler.
func (w *Words) Append(b []byte, fills ...Fill) []byte {
	if len(fills) == 0 {
		return b
	}
	if w == nil {
		for _, s := range fills {
			b = AppendFiller(b, s.Seed, s.Tokens)
		}
		return b
	}
	if !w.additive {
		return append(b, w.fitted(fills)...)
	}
	start := len(b)
	for _, f := range fills {
		b = w.append(b, f.Seed, f.Tokens)
	}
	if w.bare && len(b) > start {
		b = slices.Delete(b, start, start+1)
	}
	return b
}

// fitted fits every fill by itself, so that those with the same seed stay the
// same text, and then the whole.
func (w *Words) fitted(fills []Fill) string {
	var text strings.Builder
	want := 0
	for _, f := range fills {
		want += f.Tokens
		text.WriteString(w.fit(string(w.append(nil, f.Seed, f.Tokens)), f.Tokens, f.Seed))
	}
	return w.fit(text.String(), want, fills[len(fills)-1].Seed)
}

// A Fill is filler of a length in tokens; the same seed gives the same text, of
// which a shorter fill is the beginning.
type Fill struct {
	Seed   uint64
	Tokens int
}

// pieces pad filler whose words are of several tokens each.
var pieces = [...]string{" a", "a", ".", " .", ",", "!", "0", "7", "x", "z", " I", "\u00e9"}

// fit cuts filler at words to no more than want tokens, and pads the rest. Where
// no piece adds just one token, what is left is a little short.
func (w *Words) fit(text string, want int, seed uint64) string {
	if want <= 0 {
		return ""
	}
	// Where words are less than a token each, it takes more of them.
	for more, n := uint64(1), w.counter.Count(text); n < want && more < 8; more++ {
		text += string(w.append(nil, seed+more, want-n+fewWords))
		n = w.counter.Count(text)
	}
	ends := []int{0}
	for i := range len(text) {
		if text[i] == ' ' && i > 0 {
			ends = append(ends, i)
		}
	}
	ends = append(ends, len(text))
	low, high := 0, len(ends)-1 // ends[low] fits, ends[high+1] does not
	for low < high {
		mid := (low + high + 1) / 2
		if w.counter.Count(text[:ends[mid]]) <= want {
			low = mid
		} else {
			high = mid - 1
		}
	}
	text = text[:ends[low]]
	for n := w.counter.Count(text); n < want; n++ {
		padded := false
		for _, p := range pieces {
			if w.counter.Count(text+p) == n+1 {
				text, padded = text+p, true
				break
			}
		}
		if !padded {
			break
		}
	}
	return text
}

// draws is the sequence of splitmix64 (Steele, Lea and Flood, 2014).
type draws struct{ state uint64 }

func (d *draws) next() uint64 {
	d.state += 0x9e3779b97f4a7c15
	z := (d.state ^ d.state>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return (z ^ z>>31) >> 33
}
