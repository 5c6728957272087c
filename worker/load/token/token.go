// Package token counts tokens and makes filler text of a length in tokens.
// Counting is a seam: the server's own usage is the truth where it is given;
// a Counter stands in where it is not, and says how far it can be trusted.
package token

// A Counter counts the tokens of a text, special tokens left out.
type Counter interface {
	Count(text string) int
	// Name tells readers of a report what counted.
	Name() string
}

// Bytes is the fallback where no tokenizer is at hand: four bytes of UTF-8
// make a token, rounded up, which is near the truth for English text and far
// from it for others. Its name says so in every report.
type Bytes struct{}

// FillerBytes is the length of one token of filler.
const FillerBytes = 4

// Count divides the text's bytes by four, rounding up.
func (Bytes) Count(text string) int { return (len(text) + FillerBytes - 1) / FillerBytes }

// Name says that the count is an estimate.
func (Bytes) Name() string { return "bytes/4 (an estimate, no tokenizer)" }

// words are common English words of three letters. With the space before it,
// each is one token in the vocabularies of the common model families, and four
// bytes for the fallback: filler of n words is n tokens by either count.
const words = "the and for are but not you all any can her was one our out day get has him " +
	"his how man new now old see two way who boy did its let put say she too use "

// AppendFiller appends filler of n tokens. Equal seeds give equal text, of
// which a shorter filler is the beginning.
func AppendFiller(b []byte, seed uint64, n int) []byte {
	d := draws{seed}
	for range n {
		w := int(d.next()%uint64(len(words)/FillerBytes)) * FillerBytes
		b = append(b, ' ', words[w], words[w+1], words[w+2])
	}
	return b
}
