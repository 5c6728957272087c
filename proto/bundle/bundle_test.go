package bundle

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/fleetune/fleetune/proto/task"
)

func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func sources(names ...string) []task.File {
	var files []task.File
	for _, n := range names {
		files = append(files, task.File{Path: "x/" + n, Source: n})
	}
	return files
}

func TestRoundTrip(t *testing.T) {
	content := map[string]string{"kernel.c": "int x;", "sub/data": "\x00\x01", "empty": ""}
	files := append(sources("sub/data", "kernel.c", "empty", "./kernel.c"), task.File{Path: "inline", Content: "not packed"})
	data, digest, err := Pack(folder(t, content), files)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Unpack(bytes.NewReader(data), digest)
	if err != nil || len(got) != len(content) {
		t.Fatalf("unpacked %v (%v)", got, err)
	}
	for name, want := range content {
		if string(got[name]) != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
}

// Equal files give equal bytes, whatever their order, age and mode.
func TestDeterministic(t *testing.T) {
	content := map[string]string{"a": "1", "b": "2"}
	one, two := folder(t, content), folder(t, content)
	if err := os.Chtimes(filepath.Join(two, "a"), time.Unix(1, 0), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(two, "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	x, dx, errX := Pack(one, sources("a", "b"))
	y, dy, errY := Pack(two, sources("b", "a"))
	if errX != nil || errY != nil || !bytes.Equal(x, y) || dx != dy {
		t.Errorf("%s (%v) and %s (%v)", dx, errX, dy, errY)
	}
}

func TestNothingToPack(t *testing.T) {
	data, digest, err := Pack(t.TempDir(), []task.File{{Path: "a", Content: "inline"}})
	if data != nil || digest != "" || err != nil {
		t.Errorf("data %v, digest %q, error %v", data, digest, err)
	}
}

// A task file cannot make the command line read outside its folder.
func TestPackIsConfined(t *testing.T) {
	outside := folder(t, map[string]string{"secret": "x"})
	dir := folder(t, map[string]string{"inside": "y"})
	link := func(target, name string) {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	link(filepath.Join(outside, "secret"), "absolute-link")
	link("../"+filepath.Base(outside)+"/secret", "relative-link")
	link(outside, "folder-link")
	link("inside", "good-link")
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, source := range []string{"../" + filepath.Base(outside) + "/secret", filepath.Join(outside, "secret"),
		"absolute-link", "relative-link", "folder-link/secret", "fifo", ".", "absent"} {
		if data, _, err := Pack(dir, sources(source)); err == nil {
			t.Errorf("%s was packed: %q", source, data)
		}
	}
	if _, _, err := Pack(dir, sources("good-link")); err != nil {
		t.Errorf("a link inside the folder: %v", err)
	}
}

func TestLimits(t *testing.T) {
	dir := folder(t, map[string]string{"half": string(make([]byte, MaxSize/2)), "other": string(make([]byte, MaxSize/2)), "byte": "x"})
	data, digest, err := Pack(dir, sources("half", "other"))
	if err != nil {
		t.Fatalf("just at the limit: %v", err)
	}
	if _, err := Unpack(bytes.NewReader(data), digest); err != nil {
		t.Errorf("just at the limit: %v", err)
	}
	if _, _, err := Pack(dir, sources("half", "other", "byte")); !errors.Is(err, ErrTooLarge) {
		t.Errorf("beyond the limit: %v", err)
	}
	if _, err := Unpack(bytes.NewReader(make([]byte, maxArchive+1)), ""); !errors.Is(err, ErrTooLarge) {
		t.Errorf("an archive beyond the limit: %v", err)
	}
	large := tarOf(t, tar.Header{Typeflag: tar.TypeReg, Name: "a", Size: MaxSize}, tar.Header{Typeflag: tar.TypeReg, Name: "b", Size: 1})
	if _, err := Unpack(bytes.NewReader(large), ""); !errors.Is(err, ErrTooLarge) {
		t.Errorf("files beyond the limit: %v", err)
	}
}

// tarOf builds an archive of zeros.
func tarOf(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(make([]byte, h.Size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestUnpackRefuses(t *testing.T) {
	for name, headers := range map[string][]tar.Header{
		"up":        {{Typeflag: tar.TypeReg, Name: "../x"}},
		"absolute":  {{Typeflag: tar.TypeReg, Name: "/etc/x"}},
		"unclean":   {{Typeflag: tar.TypeReg, Name: "a/./b"}},
		"hidden up": {{Typeflag: tar.TypeReg, Name: "a/../../x"}},
		"link":      {{Typeflag: tar.TypeSymlink, Name: "a", Linkname: "/etc/passwd"}},
		"hard link": {{Typeflag: tar.TypeLink, Name: "a", Linkname: "b"}},
		"folder":    {{Typeflag: tar.TypeDir, Name: "a/"}},
		"pipe":      {{Typeflag: tar.TypeFifo, Name: "a"}},
		"twice":     {{Typeflag: tar.TypeReg, Name: "a"}, {Typeflag: tar.TypeReg, Name: "a"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := Unpack(bytes.NewReader(tarOf(t, headers...)), ""); !errors.Is(err, ErrInvalid) {
				t.Errorf("unpacked %v, error %v", got, err)
			}
		})
	}
	good := tarOf(t, tar.Header{Typeflag: tar.TypeReg, Name: "a"})
	if _, err := Unpack(bytes.NewReader(good), Digest([]byte("other"))); !errors.Is(err, ErrDigest) {
		t.Errorf("wrong digest: %v", err)
	}
	if _, err := Unpack(bytes.NewReader(good[:100]), ""); !errors.Is(err, ErrInvalid) {
		t.Errorf("truncated: %v", err)
	}
}

func TestAttach(t *testing.T) {
	dir := folder(t, map[string]string{"kernel.c": "int x;", "config.in": "N={{n}}"})
	c := &task.Command{Files: sources("kernel.c"), Apply: &task.Apply{Template: "config.in", Target: "config"}}
	data, err := Attach(dir, c)
	if err != nil {
		t.Fatal(err)
	}
	contents, err := Unpack(bytes.NewReader(data), c.Bundle)
	if err != nil || c.Apply.Digest != Digest(contents["config.in"]) || len(contents) != 2 {
		t.Errorf("command %+v, contents %v, error %v", c, contents, err)
	}
	if len(c.Files) != 1 {
		t.Errorf("files are %+v", c.Files)
	}
}

// Whatever arrives, what comes out has clean names and keeps the limits.
func FuzzUnpack(f *testing.F) {
	f.Add(tarOf(f, tar.Header{Typeflag: tar.TypeReg, Name: "a/b", Size: 3}))
	f.Add(tarOf(f, tar.Header{Typeflag: tar.TypeReg, Name: "../b"}))
	f.Add(tarOf(f, tar.Header{Typeflag: tar.TypeSymlink, Name: "a", Linkname: "b"}))
	f.Add([]byte("not a tar"))
	f.Fuzz(func(t *testing.T, data []byte) {
		contents, err := Unpack(bytes.NewReader(data), "")
		if err != nil {
			return
		}
		total := 0
		for name, content := range contents {
			total += len(content)
			if !filepath.IsLocal(name) || filepath.Clean(name) != name {
				t.Fatalf("name %q", name)
			}
		}
		if total > MaxSize || len(contents) > MaxFiles {
			t.Fatalf("%d files, %d bytes", len(contents), total)
		}
		// What was accepted packs to the same contents again.
		if again, err := archive(contents); err != nil {
			t.Fatal(err)
		} else if back, err := Unpack(bytes.NewReader(again), Digest(again)); err != nil || len(back) != len(contents) {
			t.Fatalf("packed again: %v", err)
		}
	})
}
