package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"testing"
)

// Measurements of months are comparable only on the same model.
func TestTheModelIsAlwaysTheSame(t *testing.T) {
	const want = "7da6ad50083af0ac161d3300d195f8398b88f1b85c3c988db76d32efb19ff8e0"
	sum := sha256.Sum256(model())
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("the model's digest is %s, not %s", got, want)
	}
}

func TestTheHeaderCountsWhatFollows(t *testing.T) {
	data := model()
	if !bytes.HasPrefix(data, []byte("GGUF\x03\x00\x00\x00")) {
		t.Fatalf("the file begins with %q", data[:8])
	}
	if n := binary.LittleEndian.Uint64(data[8:]); n != layers*9+3 {
		t.Errorf("%d tensors", n)
	}
	if n := len(data) >> 20; n < 9 || n > 12 {
		t.Errorf("%d MiB", n)
	}
}

func TestHalvesAreRounded(t *testing.T) {
	for x, want := range map[float32]uint16{0: 0, 1: 0x3c00, -2: 0xc000, 0.5: 0x3800, float32(math.SmallestNonzeroFloat32): 0} {
		if got := half(x); got != want {
			t.Errorf("half(%v) = %#x, not %#x", x, got, want)
		}
	}
}
