package device

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/fleetune/fleetune/proto/node"
	"golang.org/x/sys/unix"
)

// lockFolders are where lock files lie if nothing else is configured: the
// first one that exists or can be made. All workers of a host must use the
// same one.
func lockFolders() []string { return []string{"/run/lock/fleetune", "/tmp/fleetune-locks"} }

// DefaultLockFolder returns the folder of lock files that the workers of this
// host share, making it if need be.
func DefaultLockFolder() (string, error) {
	var errs []error
	for _, dir := range lockFolders() {
		err := makeLockFolder(dir)
		if err == nil {
			return dir, nil
		}
		errs = append(errs, err)
	}
	return "", fmt.Errorf("finding a folder for device locks: %w", errors.Join(errs...))
}

// makeLockFolder makes a folder that every user of the host may add files to.
func makeLockFolder(dir string) error {
	err := os.Mkdir(dir, 0o777)
	if err == nil {
		return os.Chmod(dir, 0o777|os.ModeSticky)
	}
	if !errors.Is(err, os.ErrExist) {
		return err
	}
	return unix.Access(dir, unix.W_OK|unix.X_OK)
}

// lockKeys names the physical devices behind a device: a CPU slot owns cores,
// which another worker may have cut into other slots.
func lockKeys(d node.Device) []string {
	if d.Vendor != CPU {
		return []string{d.ID}
	}
	keys := make([]string, len(d.Cores))
	for i, c := range d.Cores {
		keys[i] = "cpu-" + strconv.Itoa(c)
	}
	return keys
}

// A record in a lock file names the runs that use the device.
type record struct {
	Owner string    `json:"owner"`
	PID   int       `json:"pid"`
	Tags  []string  `json:"tags,omitempty"`
	Since time.Time `json:"since"`
	// Quarantined is why the device may not be used until an operator says so.
	Quarantined string `json:"quarantined,omitempty"`
}

// maxRecord bounds what is read of a lock file, in bytes.
const maxRecord = 1 << 20

// A lockFile is held open as long as its semaphore lives; holding the device
// is locking it.
type lockFile struct {
	path string
	file *os.File
}

func openLockFile(dir, key string) (*lockFile, error) {
	l := &lockFile{path: filepath.Join(dir, fileName(key))}
	return l, l.open()
}

func fileName(key string) string {
	safe := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.", r) {
			return r
		}
		return '_'
	}, key)
	return safe + ".lock"
}

// open opens the file, making it if it is not there. It is first opened without
// O_CREAT, which the kernel refuses for other users' files in sticky folders.
func (l *lockFile) open() error {
	for range 10 {
		file, err := os.OpenFile(l.path, os.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if errors.Is(err, os.ErrNotExist) {
			file, err = os.OpenFile(l.path, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o666)
			if err == nil {
				err = file.Chmod(0o666)
			}
		}
		if errors.Is(err, os.ErrExist) || errors.Is(err, os.ErrNotExist) {
			continue // another worker made or removed it in between
		}
		if err != nil {
			return fmt.Errorf("opening device lock: %w", err)
		}
		if l.file != nil {
			l.file.Close()
		}
		l.file = file
		return nil
	}
	return fmt.Errorf("opening device lock %s: it comes and goes", l.path)
}

// tryLock locks the file unless another process holds it, and says whether it
// holds a record.
func (l *lockFile) tryLock() (locked, recorded bool, err error) {
	for range 10 {
		err := l.flock(unix.LOCK_EX | unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) {
			return false, false, nil
		}
		if err != nil {
			return false, false, fmt.Errorf("locking %s: %w", l.path, err)
		}
		var st unix.Stat_t
		if err := unix.Fstat(l.fd(), &st); err != nil {
			l.unlock()
			return false, false, fmt.Errorf("looking at %s: %w", l.path, err)
		}
		if st.Nlink > 0 {
			return true, st.Size > 0, nil
		}
		// Somebody removed the file; a lock on it excludes no one.
		if err := l.open(); err != nil {
			return false, false, err
		}
	}
	return false, false, fmt.Errorf("locking %s: it comes and goes", l.path)
}

func (l *lockFile) flock(how int) error {
	for {
		if err := unix.Flock(l.fd(), how); err != unix.EINTR {
			return err
		}
	}
}

func (l *lockFile) fd() int { return int(l.file.Fd()) }

func (l *lockFile) unlock() { _ = l.flock(unix.LOCK_UN) }

// write replaces the record. The new one is written over the old before what
// remains is cut off, so that there is a whole one at every moment.
func (l *lockFile) write(r record) error {
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encoding device record: %w", err)
	}
	text = append(text, '\n')
	if _, err := l.file.WriteAt(text, 0); err != nil {
		return fmt.Errorf("writing device record: %w", err)
	}
	if err := l.file.Truncate(int64(len(text))); err != nil {
		return fmt.Errorf("writing device record: %w", err)
	}
	return nil
}

func (l *lockFile) read() (record, error) {
	text, err := io.ReadAll(io.NewSectionReader(l.file, 0, maxRecord))
	if err != nil {
		return record{}, fmt.Errorf("reading device record: %w", err)
	}
	return decodeRecord(text)
}

func decodeRecord(text []byte) (record, error) {
	var r record
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&r); err != nil {
		return record{}, fmt.Errorf("reading device record: %w", err)
	}
	return r, nil
}

// clear removes the record.
func (l *lockFile) clear() error {
	if err := l.file.Truncate(0); err != nil {
		return fmt.Errorf("clearing device record: %w", err)
	}
	return nil
}

func (l *lockFile) close() { l.file.Close() }
