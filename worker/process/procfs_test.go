package process

import (
	"os"
	"testing"
)

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("12 (a b) S 1 12 12 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0"))
	f.Add([]byte("12 (evil) Z 9 (x) Z 3 4 5 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0"))
	f.Add([]byte("12 ) ( S"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if e, ok := parseStat(text); ok && len(text) < 20 {
			t.Errorf("%q reads as %+v", text, e)
		}
	})
}

func TestParseStat(t *testing.T) {
	got, ok := parseStat([]byte("12 (evil) Z 9 (x) Z 3 4 5 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0"))
	if want := (entry{pid: 12, parent: 3, group: 4, session: 5, zombie: true, started: 4711}); !ok || got != want {
		t.Errorf("got %+v, %v, want %+v", got, ok, want)
	}
	self, ok := readEntry(os.Getpid())
	if !ok || self.pid != os.Getpid() || self.parent != os.Getppid() || self.zombie || self.started == 0 {
		t.Errorf("this process reads as %+v, %v", self, ok)
	}
}
