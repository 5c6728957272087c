// Package secret keeps the values of secrets out of whatever leaves a worker:
// logs, failures and measurements.
package secret

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// A Mask is the values that must not leave the worker.
type Mask []string

// New keeps the values, the longest first, so that one which contains
// another is masked whole. A line's end that its file has is no part of a value:
// without it, too, it must not be seen.
func New(values map[string]string) Mask {
	var m Mask
	for _, v := range values {
		v = strings.TrimRight(v, "\r\n")
		if v != "" && !slices.Contains(m, v) {
			m = append(m, v)
		}
	}
	slices.SortFunc(m, func(a, b string) int { return len(b) - len(a) })
	return m
}

// Bytes replaces every secret by asterisks of the same length, in place.
func (m Mask) Bytes(data []byte) (found bool) {
	for _, v := range m {
		for at := 0; ; {
			i := bytes.Index(data[at:], []byte(v))
			if i < 0 {
				break
			}
			found = true
			at += i
			for j := range len(v) {
				data[at+j] = '*'
			}
			at += len(v)
		}
	}
	return found
}

// Text returns the text with every secret replaced.
func (m Mask) Text(t string) string {
	if len(m) == 0 {
		return t
	}
	b := []byte(t)
	m.Bytes(b)
	return string(b)
}

// File masks a log file. Its length stays, so offsets into it stay true.
func (m Mask) File(path string) error {
	if len(m) == 0 || path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("masking secrets in a log: %w", err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(f)
	if err == nil && m.Bytes(data) {
		_, err = f.WriteAt(data, 0)
	}
	if err != nil {
		return fmt.Errorf("masking secrets in a log: %w", err)
	}
	return nil
}
