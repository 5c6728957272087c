package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cgroupMounts are the places where a cgroup v2 hierarchy is mounted: alone,
// or beside the controllers of version 1.
func cgroupMounts() []string { return []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} }

// cgroups is a part of the cgroup v2 hierarchy that this process may divide.
type cgroups struct{ base string }

// detectCgroups returns nil unless this process may make cgroups below its
// own, move processes into them and kill them as a whole.
func detectCgroups() *cgroups {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	path := ""
	for line := range strings.Lines(string(own)) {
		if p, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::"); ok {
			path = p
		}
	}
	if path == "" {
		return nil
	}
	for _, mount := range cgroupMounts() {
		c := &cgroups{base: filepath.Join(mount, path)}
		if c.usable() {
			return c
		}
	}
	return nil
}

func (c *cgroups) usable() bool {
	if unix.Access(filepath.Join(c.base, "cgroup.procs"), unix.W_OK) != nil {
		return false
	}
	probe := &cgroup{dir: filepath.Join(c.base, fmt.Sprintf("fleetune-probe-%d", os.Getpid()))}
	if err := os.Mkdir(probe.dir, 0o755); err != nil {
		return false
	}
	defer os.Remove(probe.dir)
	for _, file := range []string{"cgroup.kill", "cgroup.procs"} {
		if unix.Access(filepath.Join(probe.dir, file), unix.W_OK) != nil {
			return false
		}
	}
	return true
}

// A cgroup holds the tree of one run: nothing in it can leave by itself.
type cgroup struct {
	dir  string
	file *os.File
}

func (c *cgroups) dir(mark uint64) string {
	return filepath.Join(c.base, "fleetune-run-"+strconv.FormatUint(mark, 16))
}

func (c *cgroups) create(mark uint64) (*cgroup, error) {
	g := &cgroup{dir: c.dir(mark)}
	if err := os.Mkdir(g.dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	file, err := os.Open(g.dir)
	if err != nil {
		return nil, err
	}
	g.file = file
	return g, nil
}

// find returns the cgroup of a run of an earlier process, nil if it has none.
func (c *cgroups) find(mark uint64) *cgroup {
	if _, err := os.Stat(c.dir(mark)); err != nil {
		return nil
	}
	return &cgroup{dir: c.dir(mark)}
}

func (g *cgroup) fd() int { return int(g.file.Fd()) }

func (g *cgroup) closeFD() { g.file.Close() }

func (g *cgroup) kill() {
	_ = os.WriteFile(filepath.Join(g.dir, "cgroup.kill"), []byte("1"), 0)
}

// empty says whether no live process is left in the cgroup or below it.
func (g *cgroup) empty() bool {
	events, err := os.ReadFile(filepath.Join(g.dir, "cgroup.events"))
	if err != nil {
		return errors.Is(err, os.ErrNotExist)
	}
	return bytes.Contains(events, []byte("populated 0"))
}

// holds says whether a process, dead or alive, is in the cgroup or below it.
func (g *cgroup) holds(pid int) bool {
	if g == nil {
		return false
	}
	text, err := os.ReadFile(procPath(pid, "cgroup"))
	if err != nil {
		return false
	}
	_, path, found := bytes.Cut(text, []byte("0::"))
	return found && bytes.Contains(path, []byte(filepath.Base(g.dir)))
}

// oomKilled says whether the kernel killed a process of the cgroup for memory.
// It knows only where the memory controller is enabled for it.
func (g *cgroup) oomKilled() bool {
	events, err := os.ReadFile(filepath.Join(g.dir, "memory.events"))
	return err == nil && counter(events, "oom_kill") > 0
}

// remove deletes the cgroup and those that the program made below it. A dead
// process may linger in it for a moment.
func (g *cgroup) remove() {
	for range 20 {
		_ = filepath.WalkDir(g.dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() && path != g.dir {
				_ = unix.Rmdir(path)
			}
			return nil
		})
		if err := unix.Rmdir(g.dir); err != unix.EBUSY && err != unix.ENOTEMPTY {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// cgroupRefused says whether a start failed because the kernel, or the
// container around us, does not let a process be born into a cgroup.
func cgroupRefused(err error) bool {
	for _, e := range []error{unix.EPERM, unix.ENOSYS, unix.EBUSY, unix.EOPNOTSUPP, unix.EACCES, unix.EBADF, unix.EINVAL, unix.ENODEV} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
