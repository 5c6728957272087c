package report

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sync"
)

// lines is a file that holds a JSON document a line. It is safe for concurrent
// use; the first error is kept for Close.
type lines struct {
	mu   sync.Mutex
	what string // it holds
	file *os.File
	w    *bufio.Writer
	err  error
}

func (l *lines) create(path, what string) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("creating %s: %w", what, err)
	}
	l.what, l.file, l.w = what, f, bufio.NewWriterSize(f, 1<<16)
	return nil
}

// put writes a line.
func (l *lines) put(v any) {
	line, err := json.Marshal(v)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	if l.err = err; err == nil {
		_, l.err = l.w.Write(append(line, '\n'))
	}
}

// Close flushes the file.
func (l *lines) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.err
	if flushErr := l.w.Flush(); err == nil {
		err = flushErr
	}
	if closeErr := l.file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", l.what, err)
	}
	return nil
}
