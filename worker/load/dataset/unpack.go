package dataset

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/fleetune/fleetune/worker/load/input"
	"github.com/fleetune/fleetune/worker/load/parquetlines"
)

// Limits of what a packed dataset may hold. Nothing of an archive is ever
// written to disk, so that names in it can reach no file; names that try are
// refused all the same.
const (
	defaultUnpacked = 4 << 30
	maxMembers      = 100_000
)

// Unpack says what is taken out of a packed dataset.
type Unpack struct {
	// Member names the file in an archive, by a glob pattern.
	Member string
	// MaxBytes bounds what comes out; 0 is 4 GiB.
	MaxBytes int64
}

func (u Unpack) most() int64 {
	if u.MaxBytes > 0 {
		return u.MaxBytes
	}
	return defaultUnpacked
}

// ErrArchive is returned for an archive that cannot be a dataset.
var ErrArchive = errors.New("the archive is no dataset")

// ErrBinary is returned for a file that is no text.
var ErrBinary = errors.New("the file is no text: want JSON, lines of JSON, CSV or Parquet, packed or not")

// Read returns the data file of a source: the file itself, what gzip holds, or
// out of a zip or tar archive the member that is asked for. Without one it is
// the largest CSV, else the largest JSONL, JSON or Parquet file; the notes say
// so. What is Parquet comes as lines of JSON.
func Read(name, displayed string, u Unpack) (input.File, []string, error) {
	f, err := os.Open(name)
	if err != nil {
		return input.File{}, nil, err
	}
	defer func() { _ = f.Close() }() // nothing was written
	info, err := f.Stat()
	if err != nil {
		return input.File{}, nil, err
	}
	if !info.Mode().IsRegular() {
		return input.File{}, nil, fmt.Errorf("%s is no regular file", displayed)
	}
	return u.open(f, info.Size(), displayed)
}

func (u Unpack) open(f io.ReaderAt, size int64, name string) (input.File, []string, error) {
	whole := func() io.Reader { return io.NewSectionReader(f, 0, size) }
	head, err := io.ReadAll(io.LimitReader(whole(), 512))
	if err != nil {
		return input.File{}, nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")) || bytes.HasPrefix(head, []byte("PK\x05\x06")):
		return u.unzip(f, size)
	case isTar(head):
		return u.untar(whole())
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return u.gunzip(whole(), name)
	}
	return u.plain(whole(), name)
}

func isTar(head []byte) bool { return len(head) >= 262 && string(head[257:262]) == "ustar" }

// plain reads a file that is not packed.
func (u Unpack) plain(r io.Reader, name string) (input.File, []string, error) {
	data, err := readAll(r, u.most())
	if err != nil {
		return input.File{}, nil, err
	}
	if parquetlines.Is(data) {
		data, err = parquetlines.Lines(data, u.most())
		if errors.Is(err, parquetlines.ErrTooLarge) {
			err = fmt.Errorf("%w: %w", ErrTooLarge, err)
		}
		if err != nil {
			return input.File{}, nil, err
		}
	}
	if bytes.IndexByte(data[:min(len(data), 512)], 0) >= 0 {
		return input.File{}, nil, ErrBinary
	}
	return input.File{Name: name, Data: data}, nil, nil
}

func readAll(r io.Reader, most int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("more than %d bytes unpacked: %w", most, ErrTooLarge)
	}
	return data, err
}

func (u Unpack) gunzip(r io.Reader, name string) (input.File, []string, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return input.File{}, nil, err
	}
	head := make([]byte, 512)
	n, err := io.ReadFull(z, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return input.File{}, nil, err
	}
	rest := io.MultiReader(bytes.NewReader(head[:n]), z)
	if isTar(head[:n]) {
		return u.untar(rest)
	}
	return u.plain(rest, strings.TrimSuffix(name, ".gz"))
}

// A candidate is a file of an archive that may be the dataset.
type candidate struct {
	name string
	size int64
}

// check refuses names that lead out of the archive, and tells which files may
// be the dataset.
func check(name string, regular bool) (usable bool, err error) {
	clean := path.Clean(strings.ReplaceAll(name, `\`, "/"))
	if clean == "." {
		return false, nil
	}
	if !fs.ValidPath(clean) {
		return false, fmt.Errorf("the name %q leads out of it: %w", name, ErrArchive)
	}
	base := path.Base(clean)
	return regular && !strings.HasPrefix(base, ".") && !strings.HasPrefix(clean, "__MACOSX/") && rank(base) >= 0, nil
}

// rank orders kinds of files by how likely each is the dataset; −1 is none.
func rank(name string) int {
	ext := path.Ext(strings.TrimSuffix(strings.ToLower(name), ".gz"))
	return slices.IndexFunc([][]string{{".csv", ".tsv"}, {".jsonl", ".ndjson"}, {".json"}, {".parquet"}}, func(kind []string) bool {
		return slices.Contains(kind, ext)
	})
}

// choose picks the dataset of an archive.
func (u Unpack) choose(all []candidate) (candidate, []string, error) {
	if member := u.Member; member != "" {
		all = slices.DeleteFunc(all, func(c candidate) bool {
			whole, err1 := path.Match(member, c.name)
			base, err2 := path.Match(member, path.Base(c.name))
			return (!whole || err1 != nil) && (!base || err2 != nil)
		})
	}
	if len(all) == 0 {
		return candidate{}, nil, fmt.Errorf("no CSV, JSONL, JSON or Parquet file in it matches: %w", ErrArchive)
	}
	best := all[0]
	for _, c := range all[1:] {
		if r, b := rank(c.name), rank(best.name); r < b || r == b && c.size > best.size {
			best = c
		}
	}
	if len(all) == 1 {
		return best, nil, nil
	}
	return best, []string{fmt.Sprintf("of the archive's %d data files, %s was taken", len(all), best.name)}, nil
}

func (u Unpack) unzip(f io.ReaderAt, size int64) (input.File, []string, error) {
	z, err := zip.NewReader(f, size)
	if err != nil {
		return input.File{}, nil, fmt.Errorf("opening the zip archive: %w", err)
	}
	if len(z.File) > maxMembers {
		return input.File{}, nil, fmt.Errorf("%d files: %w", len(z.File), ErrTooLarge)
	}
	var all []candidate
	for _, m := range z.File {
		usable, err := check(m.Name, m.Mode().IsRegular())
		if err != nil {
			return input.File{}, nil, err
		}
		if usable {
			all = append(all, candidate{m.Name, int64(min(m.UncompressedSize64, 1<<62))})
		}
	}
	best, notes, err := u.choose(all)
	if err != nil {
		return input.File{}, nil, err
	}
	i := slices.IndexFunc(z.File, func(m *zip.File) bool { return m.Name == best.name && m.Mode().IsRegular() })
	r, err := z.File[i].Open()
	if err != nil {
		return input.File{}, nil, fmt.Errorf("opening %s: %w", best.name, err)
	}
	defer func() { _ = r.Close() }() // nothing was written
	file, more, err := u.inner(r, best.name)
	return file, append(notes, more...), err
}

// untar reads an archive in one pass, since it may be compressed: of the
// candidates so far only the best is kept.
func (u Unpack) untar(r io.Reader) (input.File, []string, error) {
	// A bomb of many members is stopped here, one of a single member below.
	limited := &io.LimitedReader{R: r, N: 2 * u.most()}
	t := tar.NewReader(limited)
	var all []candidate
	var kept input.File
	var notes []string
	for members := 0; ; members++ {
		h, err := t.Next()
		if errors.Is(err, io.EOF) && limited.N > 0 {
			break
		}
		if limited.N <= 0 || members == maxMembers {
			return input.File{}, nil, fmt.Errorf("the tar archive: %w", ErrTooLarge)
		}
		if err != nil {
			return input.File{}, nil, fmt.Errorf("reading the tar archive: %w", err)
		}
		usable, err := check(h.Name, h.Typeflag == tar.TypeReg)
		if err != nil {
			return input.File{}, nil, err
		}
		if !usable {
			continue
		}
		all = append(all, candidate{h.Name, h.Size})
		best, said, err := u.choose(slices.Clone(all))
		if err == nil && best == all[len(all)-1] {
			var more []string
			if kept, more, err = u.inner(t, h.Name); err != nil {
				return input.File{}, nil, err
			}
			said = append(said, more...)
		}
		notes = said
	}
	_, said, err := u.choose(all)
	if err != nil {
		return input.File{}, nil, err
	}
	if len(notes) == 0 {
		notes = said
	}
	return kept, notes, nil
}

// inner reads a file of an archive, which may be compressed once more.
func (u Unpack) inner(r io.Reader, name string) (input.File, []string, error) {
	head := make([]byte, 2)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return input.File{}, nil, err
	}
	whole := io.MultiReader(bytes.NewReader(head[:n]), r)
	if !bytes.Equal(head[:n], []byte{0x1f, 0x8b}) {
		return u.plain(whole, path.Base(name))
	}
	z, err := gzip.NewReader(whole)
	if err != nil {
		return input.File{}, nil, err
	}
	return u.plain(z, strings.TrimSuffix(path.Base(name), ".gz"))
}
