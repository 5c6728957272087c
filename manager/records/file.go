package records

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/google/uuid"
)

// A file of records is lines of JSON: a head, then one record a line with the
// digest of its key and a checksum. A line that is torn, changed or no record
// costs that record and no other.

// Format names files of records, and their version.
const Format = "fleetune-records/1"

// maxLine bounds a line in bytes.
const maxLine = 4 << 20

// ErrFormat says that a file is none of records, or of a later version.
var ErrFormat = errors.New("not a file of records")

type head struct {
	Format string `json:"format"`
}

// line is a record as a file holds it.
type line struct {
	Digest string `json:"digest"`
	// Sum is the start of the SHA-256 of the record's text.
	Sum    string          `json:"sum"`
	Record json.RawMessage `json:"record"`
}

// A Dropped line could not be used.
type Dropped struct {
	Line   int    `json:"line" doc:"counts from 1"`
	Reason string `json:"reason"`
}

// Read reads a file of records. Lines that are damaged are dropped and
// reported; the records that are there come sorted by id, each once. An empty
// file has none. ErrFormat says that it is no such file at all.
func Read(r io.Reader) ([]Record, []Dropped, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	var list []Record
	var dropped []Dropped
	for number := 1; ; number++ {
		data, err := readLine(in)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, errLong) {
			return nil, nil, fmt.Errorf("reading records: %w", err)
		}
		end := errors.Is(err, io.EOF)
		switch text := bytes.TrimSpace(data); {
		case errors.Is(err, errLong):
			dropped = append(dropped, Dropped{number, errLong.Error()})
		case len(text) == 0:
		case number == 1:
			var h head
			if json.Unmarshal(text, &h) != nil || h.Format != Format {
				return nil, nil, fmt.Errorf("%w: its first line is not {\"format\":%q}", ErrFormat, Format)
			}
		default:
			record, err := decode(text)
			if err != nil {
				dropped = append(dropped, Dropped{number, err.Error()})
				break
			}
			list = append(list, record)
		}
		if end {
			break
		}
	}
	merged, conflicts := Merge(list)
	for _, id := range conflicts {
		dropped = append(dropped, Dropped{0, fmt.Sprintf("record %s is told in two ways; one was kept", id)})
	}
	return merged, dropped, nil
}

var errLong = fmt.Errorf("the line is longer than %d bytes", maxLine)

// readLine reads up to the next line break. Of a line that is too long, the
// rest is skipped.
func readLine(in *bufio.Reader) ([]byte, error) {
	var data []byte
	long := false
	for {
		part, err := in.ReadSlice('\n')
		if long = long || len(data)+len(part) > maxLine; !long {
			data = append(data, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil:
			return data, err
		case long:
			return nil, errLong
		}
		return data, nil
	}
}

// decode reads one line. What it says of itself has to agree with what it
// holds.
func decode(text []byte) (Record, error) {
	var l line
	if err := json.Unmarshal(text, &l); err != nil || l.Record == nil {
		return Record{}, fmt.Errorf("%w: torn or no JSON", ErrInvalid)
	}
	var r Record
	if err := json.Unmarshal(l.Record, &r); err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	canonical, err := r.canonical()
	if err != nil {
		return Record{}, err
	}
	if sum(canonical) != l.Sum {
		return Record{}, fmt.Errorf("%w: its checksum does not fit", ErrInvalid)
	}
	if r.Key.Digest() != l.Digest {
		return Record{}, fmt.Errorf("%w: its key's digest does not fit", ErrInvalid)
	}
	return r, r.Check()
}

// sum is the checksum of a line: it finds damage, not forgery.
func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:8])
}

// Write writes a file of records, in the order given.
func Write(w io.Writer, list []Record) error {
	if err := WriteHead(w); err != nil {
		return err
	}
	for _, r := range list {
		if err := WriteRecord(w, r); err != nil {
			return err
		}
	}
	return nil
}

// WriteHead begins a file.
func WriteHead(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "{\"format\":%q}\n", Format); err != nil {
		return fmt.Errorf("writing records: %w", err)
	}
	return nil
}

// WriteRecord writes one line.
func WriteRecord(w io.Writer, r Record) error {
	canonical, err := r.canonical()
	if err != nil {
		return err
	}
	data, err := json.Marshal(line{Digest: r.Key.Digest(), Sum: sum(canonical), Record: canonical})
	if err != nil {
		return fmt.Errorf("encoding record %s: %w", r.ID, err)
	}
	if _, err := w.Write(append(data, '\n')); err != nil {
		return fmt.Errorf("writing records: %w", err)
	}
	return nil
}

// Merge unites lists of records, sorted by id. It does not matter in which
// order, how often or how grouped lists are merged: where one id is told in two
// ways, the text that sorts first is kept and the id reported.
func Merge(lists ...[]Record) (merged []Record, conflicts []uuid.UUID) {
	kept := map[uuid.UUID]int{}
	for _, list := range lists {
		for _, r := range list {
			at, known := kept[r.ID]
			if !known {
				kept[r.ID] = len(merged)
				merged = append(merged, r)
				continue
			}
			if r.Same(merged[at]) {
				continue
			}
			if !slices.Contains(conflicts, r.ID) {
				conflicts = append(conflicts, r.ID)
			}
			if before(r, merged[at]) {
				merged[at] = r
			}
		}
	}
	slices.SortFunc(merged, func(a, b Record) int { return compareID(a.ID, b.ID) })
	slices.SortFunc(conflicts, compareID)
	return merged, conflicts
}

func compareID(a, b uuid.UUID) int { return cmp.Compare(a.String(), b.String()) }

func before(a, b Record) bool {
	x, err := a.canonical()
	y, err2 := b.canonical()
	return err == nil && (err2 != nil || bytes.Compare(x, y) < 0)
}
