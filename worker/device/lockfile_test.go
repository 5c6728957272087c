package device

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEveryUserMayLock: workers of several users share the host's devices.
func TestEveryUserMayLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "locks")
	open(t, gpus(1), Config{LockFolder: dir})
	for name, want := range map[string]os.FileMode{
		dir:                              os.ModeDir | os.ModeSticky | 0o777,
		filepath.Join(dir, "GPU-0.lock"): 0o666,
	} {
		if info, err := os.Stat(name); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v, want %v", name, info.Mode(), err, want)
		}
	}
}

func TestLockFileIsNoLink(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), filepath.Join(dir, "GPU-0.lock")); err != nil {
		t.Fatal(err)
	}
	if s, err := NewSemaphore(gpus(1), Config{LockFolder: dir}); err == nil {
		s.Close()
		t.Error("a lock file that is a link is followed")
	}
}

func TestFileName(t *testing.T) {
	if got := fileName("../GPU-1/x:y"); strings.ContainsRune(got, '/') || got != ".._GPU-1_x_y.lock" {
		t.Errorf("file %q", got)
	}
}
