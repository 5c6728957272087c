//go:build unix

// Package filelock is a lock between processes that the kernel gives back when
// its holder ends, however it ends. The file goes with the lock.
package filelock

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// ErrHeld says that another process, or another lock of this one, holds the
// file.
var ErrHeld = errors.New("the lock is held")

// A Lock is held from Take to Release.
type Lock struct{ file *os.File }

// Take takes the lock, or fails at once with ErrHeld. The note is written into
// the file for whoever finds it held.
func Take(path, note string) (*Lock, error) {
	for {
		file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, fmt.Errorf("opening the lock: %w", err)
		}
		if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			file.Close()
			if errors.Is(err, syscall.EWOULDBLOCK) {
				return nil, fmt.Errorf("%s: %w", path, ErrHeld)
			}
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		if !current(file, path) {
			// Its holder removed it between our opening and locking it.
			file.Close()
			continue
		}
		lock := &Lock{file: file}
		if err := lock.Note(note); err != nil {
			return nil, errors.Join(err, lock.Release())
		}
		return lock, nil
	}
}

// Note replaces what is written in the file.
func (l *Lock) Note(note string) error {
	if err := l.file.Truncate(0); err != nil {
		return fmt.Errorf("writing the lock's note: %w", err)
	}
	if _, err := l.file.WriteAt([]byte(note), 0); err != nil {
		return fmt.Errorf("writing the lock's note: %w", err)
	}
	return nil
}

// Release removes the file and gives the lock back.
func (l *Lock) Release() error {
	err := os.Remove(l.file.Name())
	if closeErr := l.file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("releasing the lock: %w", err)
	}
	return nil
}

// Note reads what the holder of a lock has written, or "" when there is none.
func Note(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, 4096))
	if err != nil {
		return ""
	}
	return string(text)
}

func current(file *os.File, path string) bool {
	mine, err := file.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(mine, there)
}
