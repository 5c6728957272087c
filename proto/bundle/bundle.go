// Package bundle carries the source files of a command task from the machine
// where it is submitted to the workers: a deterministic tar archive named by
// the SHA-256 of its bytes, so that equal files travel and are stored once.
//
// Both ends distrust the other's paths. Packing reads through an os.Root on
// the task file's folder; unpacking accepts plain files with clean relative
// names and nothing else.
package bundle

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"github.com/fleetune/fleetune/proto/task"
)

// Limits of a bundle.
const (
	// MaxSize is what the files of a bundle may add up to, in bytes.
	MaxSize = 8 << 20
	// MaxFiles is how many files a bundle may hold.
	MaxFiles = 1000
	// maxArchive bounds the archive: contents, headers, padding and trailer.
	maxArchive = MaxSize + MaxFiles*1536 + 10240
)

// The errors of reading a bundle.
var (
	ErrTooLarge = errors.New("bundle too large")
	ErrDigest   = errors.New("bundle does not match its digest")
	ErrInvalid  = errors.New("invalid bundle")
)

// Attach packs a command's source files from dir and records the digests in
// the command: of the bundle, and of the template that `apply` renders. It
// returns nil data when the command has no source files.
func Attach(dir string, c *task.Command) ([]byte, error) {
	files := slices.Clone(c.Files)
	if c.Apply != nil && c.Apply.Template != "" {
		files = append(files, task.File{Source: c.Apply.Template})
	}
	data, digest, err := Pack(dir, files)
	if err != nil || data == nil {
		return nil, err
	}
	c.Bundle = digest
	if c.Apply != nil && c.Apply.Template != "" {
		contents, err := Unpack(bytes.NewReader(data), digest)
		if err != nil {
			return nil, err
		}
		c.Apply.Digest = Digest(contents[name(c.Apply.Template)])
	}
	return data, nil
}

// Pack reads the source files from dir, confined to it, and returns the
// archive with its digest. Files without a source are left out; with none left
// it returns no data and no digest. A source that is missing, not a plain
// file, or outside dir (by ".." or by a symbolic link) is an error.
func Pack(dir string, files []task.File) ([]byte, string, error) {
	var sources []string
	for _, f := range files {
		sources = append(sources, f.Source)
	}
	return PackWith(dir, sources, nil)
}

// PackWith packs the named files from dir like Pack, and others by their
// contents.
func PackWith(dir string, sources []string, others map[string][]byte) ([]byte, string, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, "", fmt.Errorf("opening the task's folder: %w", err)
	}
	defer func() { _ = root.Close() }()
	contents := map[string][]byte{}
	total := 0
	add := func(name string, content []byte) error {
		if total += len(content); total > MaxSize || len(contents) >= MaxFiles {
			return fmt.Errorf("%w: more than %d files or %d bytes", ErrTooLarge, MaxFiles, MaxSize)
		}
		contents[name] = content
		return nil
	}
	for _, source := range sources {
		if source == "" || contents[name(source)] != nil {
			continue
		}
		content, err := read(root, source)
		if err != nil {
			return nil, "", fmt.Errorf("packing %q: %w", source, err)
		}
		if err := add(name(source), content); err != nil {
			return nil, "", err
		}
	}
	for _, other := range slices.Sorted(maps.Keys(others)) {
		if err := add(other, others[other]); err != nil {
			return nil, "", err
		}
	}
	if len(contents) == 0 {
		return nil, "", nil
	}
	data, err := archive(contents)
	if err != nil {
		return nil, "", err
	}
	return data, Digest(data), nil
}

// Digest names content by its SHA-256.
func Digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Unpack reads a bundle, checks it against its digest (unless that is empty)
// and returns the contents by their slash-separated path.
func Unpack(r io.Reader, digest string) (map[string][]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxArchive+1))
	if err != nil {
		return nil, fmt.Errorf("reading a bundle: %w", err)
	}
	if len(data) > maxArchive {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, maxArchive)
	}
	if digest != "" && Digest(data) != digest {
		return nil, fmt.Errorf("%w: it is %s, asked for %s", ErrDigest, Digest(data), digest)
	}
	contents := map[string][]byte{}
	total := int64(0)
	for tr := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return contents, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		if err := acceptable(h, contents); err != nil {
			return nil, err
		}
		if total += h.Size; total > MaxSize || len(contents) >= MaxFiles {
			return nil, fmt.Errorf("%w: more than %d files or %d bytes", ErrTooLarge, MaxFiles, MaxSize)
		}
		content, err := io.ReadAll(tr)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		contents[h.Name] = content
	}
}

func acceptable(h *tar.Header, seen map[string][]byte) error {
	if h.Typeflag != tar.TypeReg {
		return fmt.Errorf("%w: %q is not a plain file", ErrInvalid, h.Name)
	}
	if !filepath.IsLocal(h.Name) || path.Clean(h.Name) != h.Name || h.Name == "." {
		return fmt.Errorf("%w: %q is not a clean relative path", ErrInvalid, h.Name)
	}
	if _, twice := seen[h.Name]; twice {
		return fmt.Errorf("%w: %q is there twice", ErrInvalid, h.Name)
	}
	return nil
}

func name(source string) string { return filepath.ToSlash(filepath.Clean(source)) }

func read(root *os.Root, source string) ([]byte, error) {
	info, err := root.Stat(source) // before opening: opening a FIFO would wait
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: not a plain file (%s)", fs.ErrInvalid, info.Mode().Type())
	}
	if info.Size() > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes, %d are allowed", ErrTooLarge, info.Size(), MaxSize)
	}
	f, err := root.Open(source)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	content, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if content == nil {
		content = []byte{}
	}
	return content, err
}

// archive writes entries in order of their names with fixed metadata, so that
// equal contents give equal bytes.
func archive(contents map[string][]byte) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, n := range slices.Sorted(maps.Keys(contents)) {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: n, Mode: 0o644,
			Size: int64(len(contents[n])), ModTime: time.Unix(0, 0)}
		if err := w.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("packing %q: %w", n, err)
		}
		if _, err := w.Write(contents[n]); err != nil {
			return nil, fmt.Errorf("packing %q: %w", n, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("closing a bundle: %w", err)
	}
	return b.Bytes(), nil
}
