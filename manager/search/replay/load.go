package replay

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A mistake is in what was asked for, rather than in a file.
type mistake struct{ error }

// ExitStatus is what the command line ends with.
func (mistake) ExitStatus() int { return 2 }

func (m mistake) Unwrap() error { return m.error }

func mistakef(format string, args ...any) error { return mistake{fmt.Errorf(format, args...)} }

// Load reads the tables of a path: an index.json with the CSV files that it
// describes, an export of experiments, a Kernel Tuner cache, a T4 result file,
// any other CSV file, or a folder of these; each file may be compressed (.gz).
// It says which parts had to be left out and why.
func Load(path string, c Columns) (tables []*Table, skipped []string, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, mistakef("opening the table: %w", err)
	}
	if info.IsDir() {
		return loadFolder(path, c)
	}
	sheets, err := readSheets(path)
	if err != nil {
		return nil, nil, err
	}
	for _, s := range sheets {
		more, left, err := s.tables(&c)
		if err != nil {
			return nil, nil, err
		}
		tables, skipped = append(tables, more...), append(skipped, left...)
	}
	return tables, skipped, nil
}

// loadFolder reads the index of a folder, or else each table in it.
func loadFolder(folder string, c Columns) (tables []*Table, skipped []string, err error) {
	if index := filepath.Join(folder, indexName); exists(index) {
		return Load(index, c)
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the folder: %w", err)
	}
	var inside []string
	for _, e := range entries {
		path := filepath.Join(folder, e.Name())
		switch {
		case e.IsDir():
			inside = append(inside, e.Name())
		case isTable(e.Name()):
			more, left, err := Load(path, c)
			if err != nil {
				return nil, nil, err
			}
			tables, skipped = append(tables, more...), append(skipped, left...)
		}
	}
	switch {
	case len(tables) > 0:
		return tables, skipped, nil
	case len(inside) > 0:
		return nil, nil, mistakef("%s holds no table; name one of its folders: %s", folder, strings.Join(inside, ", "))
	}
	return nil, nil, mistakef("%s holds no table: no %s, and no .csv, .json or .jsonl file", folder, indexName)
}

func isTable(name string) bool {
	return slices.Contains([]string{".csv", ".json", ".jsonl"}, filepath.Ext(strings.TrimSuffix(name, ".gz")))
}

// readSheets reads a file, which may describe several tables.
func readSheets(path string) ([]*sheet, error) {
	base := filepath.Base(path)
	if base == indexName {
		return readIndex(path, "")
	}
	var s *sheet
	var err error
	if filepath.Ext(strings.TrimSuffix(base, ".gz")) == ".csv" {
		if index := filepath.Join(filepath.Dir(path), indexName); exists(index) {
			if sheets, err := readIndex(index, base); err != nil || len(sheets) > 0 {
				return sheets, err
			}
		}
		s, err = readCSV(path)
	} else {
		s, err = readJSON(path)
	}
	if err != nil {
		return nil, err
	}
	return []*sheet{s}, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func title(path string) string {
	name := strings.TrimSuffix(filepath.Base(path), ".gz")
	return strings.TrimSuffix(name, filepath.Ext(name))
}

// open opens a file, through gzip when its name ends in .gz.
func open(path string) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the table: %w", err)
	}
	if !strings.HasSuffix(path, ".gz") {
		return f, nil
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening %s: %w", path, err), f.Close())
	}
	return &zipped{Reader: z, file: f}, nil
}

// zipped closes the file with the stream.
type zipped struct {
	*gzip.Reader
	file *os.File
}

func (z *zipped) Close() error { return errors.Join(z.Reader.Close(), z.file.Close()) }
