// Package capture keeps output of any length in a file of bounded size: its
// beginning, which says what a program made of its arguments, and its end,
// which says why it died.
package capture

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
)

// A Writer keeps the first and the last half of what is written to it. The
// first half is in the file at once, the last when the Writer is closed, with a
// mark between them that says how much is left out. Its methods may be called
// from many goroutines.
type Writer struct {
	mu      sync.Mutex
	file    *os.File
	head    int64 // bytes that may still go straight to the file
	tail    ring
	skipped int64
	err     error
	closed  bool
}

// Create makes or empties the file that keeps at most limit bytes.
func Create(name string, limit int64) (*Writer, error) {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, err
	}
	half := limit / 2
	return &Writer{file: file, head: limit - half, tail: ring{limit: int(half)}}, nil
}

// Write always takes everything: whoever writes must not stop for a full disk,
// which Err tells.
func (w *Writer) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := min(int64(len(b)), w.head)
	w.toFile(b[:n])
	w.head -= n
	w.skipped += w.tail.add(b[n:])
	return len(b), nil
}

// Close writes the last half and closes the file. Its error is Err's.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return w.err
	}
	w.closed = true
	if w.skipped > 0 {
		w.toFile(fmt.Appendf(nil, "\n… %d bytes left out …\n", w.skipped))
	}
	first, second := w.tail.content()
	w.toFile(first)
	w.toFile(second)
	if err := w.file.Close(); w.err == nil && err != nil {
		w.err = err
	}
	return w.err
}

// Err is the first error of writing the file.
func (w *Writer) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// toFile writes to the file until that fails; after that the output is only
// taken.
func (w *Writer) toFile(b []byte) {
	if w.err != nil || len(b) == 0 {
		return
	}
	if _, err := w.file.Write(b); err != nil && !errors.Is(err, os.ErrClosed) {
		w.err = fmt.Errorf("writing the output file: %w", err)
	}
}

// A ring holds the last limit bytes added.
type ring struct {
	limit int
	buf   []byte
	next  int // where the oldest byte is, once full
}

// add returns how many bytes were dropped for it.
func (r *ring) add(b []byte) (dropped int64) {
	if r.limit == 0 {
		return int64(len(b))
	}
	if over := len(b) - r.limit; over > 0 {
		dropped, b = int64(over), b[over:]
	}
	if room := r.limit - len(r.buf); room > 0 {
		n := min(room, len(b))
		r.buf = append(r.buf, b[:n]...)
		b = b[n:]
	}
	dropped += int64(len(b))
	for len(b) > 0 {
		n := copy(r.buf[r.next:], b)
		r.next = (r.next + n) % r.limit
		b = b[n:]
	}
	return dropped
}

func (r *ring) content() (first, second []byte) { return r.buf[r.next:], r.buf[:r.next] }

// Text reads what was captured in a file, as text; a file that cannot be read has
// nothing to say.
func Text(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.ToValidUTF8(string(data), "\uFFFD")
}
