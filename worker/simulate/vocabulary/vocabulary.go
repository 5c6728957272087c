// Package vocabulary is the simulated engine's tokenizer: four bytes of UTF-8
// are a token, which is near the truth for English text. It also speaks: tokens
// that depend on a seed and their place alone.
package vocabulary

// width of a token in bytes.
const width = 4

// Append appends the tokens of a text; the last one is filled up with spaces.
func Append(tokens []uint32, text string) []uint32 {
	for len(text) >= width {
		tokens = append(tokens, uint32(text[0])|uint32(text[1])<<8|uint32(text[2])<<16|uint32(text[3])<<24)
		text = text[width:]
	}
	if text == "" {
		return tokens
	}
	var rest [width]byte
	n := copy(rest[:], text)
	for i := n; i < width; i++ {
		rest[i] = ' '
	}
	return Append(tokens, string(rest[:]))
}

// Text of a token.
func Text(token uint32) string {
	return string([]byte{byte(token), byte(token >> 8), byte(token >> 16), byte(token >> 24)})
}

// words that the simulated engine knows, each of three letters.
const words = "theandforarebutnotyouallanycanherwasoneourouthadhashimhishownewnowoldseetwowaywhodidits"

// Say is the nth token of a reply.
func Say(seed uint64, n int) uint32 {
	// splitmix64 (Steele, Lea and Flood, 2014)
	z := seed + uint64(n+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	w := int((z>>33)%uint64(len(words)/3)) * 3
	return uint32(' ') | uint32(words[w])<<8 | uint32(words[w+1])<<16 | uint32(words[w+2])<<24
}
