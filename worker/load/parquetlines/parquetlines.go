// Package parquetlines reads a Parquet file as lines of JSON, an object for
// every row, so that whoever reads lines reads tables as well.
package parquetlines

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/parquet-go/parquet-go"
)

// Is reports whether a file begins as Parquet does.
func Is(data []byte) bool { return bytes.HasPrefix(data, []byte("PAR1")) }

// ErrTooLarge is returned for a file of more text than was asked for.
var ErrTooLarge = errors.New("the table is too large")

// ErrDamaged is returned for what is no sound Parquet file.
var ErrDamaged = errors.New("the Parquet file is damaged")

// batch is how many rows are read at a time.
const batch = 256

// Lines reads a file, of which at most so many bytes of text may come.
func Lines(data []byte, most int64) (out []byte, err error) {
	defer func() {
		// The library takes what pages say of themselves for granted.
		if what := recover(); what != nil {
			out, err = nil, fmt.Errorf("%w: %v", ErrDamaged, what)
		}
	}()
	if n := int64(len(data)); n < 12 || footer(data) > n-12 {
		return nil, fmt.Errorf("%w: it has not the end that a Parquet file has", ErrDamaged)
	}
	f, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err := check(f, int64(len(data)), most); err != nil {
		return nil, err
	}
	r := parquet.NewGenericReader[any](f)
	defer func() { _ = r.Close() }() // nothing was written
	rows := make([]any, batch)
	for number := 1; ; {
		n, err := r.Read(rows)
		for _, row := range rows[:n] {
			line, err := encode(row)
			if err != nil {
				return nil, fmt.Errorf("row %d: %w", number, err)
			}
			out = append(append(out, line...), '\n')
			number++
		}
		switch {
		case int64(len(out)) > most:
			return nil, fmt.Errorf("%w: more than %d bytes of text", ErrTooLarge, most)
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return nil, fmt.Errorf("%w: row %d: %w", ErrDamaged, number, err)
		case n == 0:
			return nil, fmt.Errorf("%w: it has fewer rows than it says", ErrDamaged)
		}
		clear(rows)
	}
}

// footer is the length that a file says its footer has, for which the library
// takes memory.
func footer(data []byte) int64 {
	return int64(binary.LittleEndian.Uint32(data[len(data)-8:]))
}

// check holds what the file says of its columns against its size, before any
// memory is taken for them.
func check(f *parquet.File, size, most int64) error {
	total := int64(0)
	for i := range f.Metadata().RowGroups {
		g := &f.Metadata().RowGroups[i]
		for k := range g.Columns {
			c := &g.Columns[k].MetaData
			if c.TotalCompressedSize < 0 || c.TotalCompressedSize > size || c.TotalUncompressedSize < 0 || c.NumValues < 0 {
				return fmt.Errorf("%w: column %d of row group %d is larger than the file", ErrDamaged, k, i)
			}
			if total += c.TotalUncompressedSize; total > most {
				return fmt.Errorf("%w: more than %d bytes unpacked", ErrTooLarge, most)
			}
		}
	}
	return nil
}

// encode writes a row. Numbers that JSON has not are null in it.
func encode(row any) ([]byte, error) {
	line, err := json.Marshal(row)
	var no *json.UnsupportedValueError
	if errors.As(err, &no) {
		return json.Marshal(finite(row))
	}
	return line, err
}

func finite(v any) any {
	switch v := v.(type) {
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil
		}
	case float32:
		return finite(float64(v))
	case map[string]any:
		for name, x := range v {
			v[name] = finite(x)
		}
	case []any:
		for i, x := range v {
			v[i] = finite(x)
		}
	}
	return v
}
