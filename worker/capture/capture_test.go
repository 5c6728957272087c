package capture

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestWriterKeepsBothEnds compares a writer with the simple way: keep all,
// cut later.
func TestWriterKeepsBothEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 40).Draw(t, "limit")
		pieces := rapid.SliceOf(rapid.StringMatching("[a-z]{0,30}")).Draw(t, "pieces")
		r := ring{limit: limit}
		var dropped int64
		for _, p := range pieces {
			dropped += r.add([]byte(p))
		}
		all := strings.Join(pieces, "")
		want := all[max(0, len(all)-limit):]
		first, second := r.content()
		if got := string(first) + string(second); got != want || dropped != int64(len(all)-len(want)) {
			t.Fatalf("kept %q and dropped %d, want %q", got, dropped, want)
		}
	})
}

func TestWriterMarksWhatIsMissing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	w, err := Create(path, 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"begin", "left out", "ended"} {
		if n, err := w.Write([]byte(p)); n != len(p) || err != nil {
			t.Fatal(n, err)
		}
	}
	if text, _ := os.ReadFile(path); string(text) != "begin" {
		t.Errorf("so far the file holds %q", text)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil || string(text) != "begin\n… 8 bytes left out …\nended" {
		t.Errorf("%q, %v", text, err)
	}
}
