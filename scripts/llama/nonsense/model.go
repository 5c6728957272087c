package main

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
)

// The shape: ten megabytes in 16 bits.
const (
	layers  = 6
	hidden  = 256
	inner   = 768
	heads   = 8
	kvHeads = 4
	length  = 8192
)

// words that are one token each, with the space before them.
const words = "the and for are but not you all any can her was one our out day get has him his how man new now old see two way who boy did its let put say she too use"

// model is the whole file.
func model() []byte {
	f := &file{}
	pieces, scores, kinds := vocabulary()
	f.text("general.architecture", "llama")
	f.text("general.name", "nonsense: random weights, nothing learnt")
	f.number("general.file_type", 1)
	f.number("llama.block_count", layers)
	f.number("llama.context_length", length)
	f.number("llama.embedding_length", hidden)
	f.number("llama.feed_forward_length", inner)
	f.number("llama.attention.head_count", heads)
	f.number("llama.attention.head_count_kv", kvHeads)
	f.number("llama.rope.dimension_count", hidden/heads)
	f.number("llama.vocab_size", len(pieces))
	f.float("llama.attention.layer_norm_rms_epsilon", 1e-5)
	f.text("tokenizer.ggml.model", "llama")
	f.texts("tokenizer.ggml.tokens", pieces)
	f.floats("tokenizer.ggml.scores", scores)
	f.integers("tokenizer.ggml.token_type", kinds)
	f.number("tokenizer.ggml.unknown_token_id", 0)
	f.number("tokenizer.ggml.bos_token_id", 1)
	f.number("tokenizer.ggml.eos_token_id", 2)
	f.truth("tokenizer.ggml.add_bos_token", true)
	f.text("tokenizer.chat_template", "{% for m in messages %} {{ m.role }}: {{ m.content }}\n{% endfor %} assistant:")
	f.weights(len(pieces))
	return f.bytes()
}

// Kinds of tokens.
const (
	normal  = 1
	unknown = 2
	control = 3
	byteful = 6
)

// vocabulary has every byte, so that any text can be read, and the words with
// the beginnings that lead to them: a tokenizer of this sort joins two pieces
// at a time, the longest first.
func vocabulary() (pieces []string, scores []float32, kinds []int32) {
	seen := map[string]bool{}
	add := func(piece string, score float32, kind int32) {
		if seen[piece] {
			return
		}
		seen[piece] = true
		pieces, scores, kinds = append(pieces, piece), append(scores, score), append(kinds, kind)
	}
	add("<unk>", 0, unknown)
	add("<s>", 0, control)
	add("</s>", 0, control)
	for b := range 256 {
		add(fmt.Sprintf("<0x%02X>", b), 0, byteful)
	}
	const space = "\u2581"
	add(space, -10, normal)
	for c := 'a'; c <= 'z'; c++ {
		add(string(c), -9, normal)
	}
	for _, word := range strings.Fields(words) {
		for n := 1; n <= len(word); n++ {
			add(space+word[:n], float32(n)-5, normal)
		}
	}
	return pieces, scores, kinds
}

// weights adds all matrices, with entries that keep the size of what they are
// multiplied with.
func (f *file) weights(vocabulary int) {
	r := &random{}
	matrix := func(name string, rows, columns int) {
		data := make([]byte, 0, rows*columns*2)
		scale := float32(math.Sqrt(3 / float64(columns)))
		for range rows * columns {
			data = binary.LittleEndian.AppendUint16(data, half(r.next()*scale))
		}
		f.tensors = append(f.tensors, tensor{name, rows, columns, tensorFloat16, data})
	}
	ones := func(name string) {
		data := make([]byte, 0, hidden*4)
		for range hidden {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(1))
		}
		f.tensors = append(f.tensors, tensor{name, 1, hidden, tensorFloat32, data})
	}
	matrix("token_embd.weight", vocabulary, hidden)
	for i := range layers {
		at := func(name string) string { return fmt.Sprintf("blk.%d.%s.weight", i, name) }
		ones(at("attn_norm"))
		matrix(at("attn_q"), hidden, hidden)
		matrix(at("attn_k"), hidden/heads*kvHeads, hidden)
		matrix(at("attn_v"), hidden/heads*kvHeads, hidden)
		matrix(at("attn_output"), hidden, hidden)
		ones(at("ffn_norm"))
		matrix(at("ffn_gate"), inner, hidden)
		matrix(at("ffn_up"), inner, hidden)
		matrix(at("ffn_down"), hidden, inner)
	}
	ones("output_norm.weight")
	matrix("output.weight", vocabulary, hidden)
}

// random numbers between -1 and 1, always the same: splitmix64 (Steele, Lea and
// Flood, 2014).
type random struct{ state uint64 }

func (r *random) next() float32 {
	r.state += 0x9e3779b97f4a7c15
	z := r.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	z ^= z >> 31
	return float32(z>>40)/float32(1<<23) - 1
}
