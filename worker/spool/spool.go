// Package spool keeps finished results on disk until the manager confirms
// them, so that nothing that was measured is lost while the manager, the bus
// or the worker itself is down. A record is safe once Append returns.
//
// The spool is a folder of append-only segments. Many appenders share one
// fsync. A segment is deleted when every record in it is confirmed.
package spool

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// Errors for control flow.
var (
	// ErrLocked says that another process uses the folder.
	ErrLocked = errors.New("spool is in use by another process")
	// ErrClosed says that the spool was closed.
	ErrClosed = errors.New("spool is closed")
	// ErrTooLarge says that a record exceeds MaxRecord or its key MaxKey.
	ErrTooLarge = errors.New("record too large for the spool")
	// ErrFull says that the disk is full; the spool stays usable and the
	// record may be appended again later.
	ErrFull = errors.New("no space left for the spool")
)

// Limits of a record, in bytes.
const (
	MaxKey    = 1 << 10
	MaxRecord = 64 << 20
)

// DefaultSegmentSize is where a segment ends and the next begins, in bytes.
const DefaultSegmentSize = 8 << 20

// Config of a spool. The zero value is usable.
type Config struct {
	// SegmentSize in bytes; 0 means DefaultSegmentSize.
	SegmentSize int64
}

// A Record is one result.
type Record struct {
	Key  string
	Data []byte
}

// A Loss is a stretch of a segment that cannot be read.
type Loss struct {
	Segment string
	Offset  int64
	Bytes   int64
	Reason  string
}

// A Spool keeps records. Its methods may be called from many goroutines.
type Spool struct {
	dir  string
	size int64
	lock *os.File

	requests chan *request
	quit     chan struct{}
	done     chan struct{} // closed when the writer has ended

	mu       sync.Mutex
	closed   bool
	segments map[uint64]*segment
	index    map[string]place
	order    uint64
	losses   []Loss

	// Only the writer touches these.
	active *segment
	file   *os.File
	next   uint64
}

// place is where a record lies.
type place struct {
	segment *segment
	offset  int64
	length  int64
	order   uint64
}

// A segment is one file.
type segment struct {
	number uint64
	path   string
	size   int64
	// live counts the records that are not confirmed.
	live int
	// confirms counts the confirmations in this segment by the segment they
	// are about: it may not go before those do.
	confirms map[uint64]int
	sealed   bool
}

const (
	segmentSuffix = ".spool"
	lockName      = "lock"
)

// Open opens the spool in a folder, making the folder if need be, and reads
// what is pending. Torn ends are cut off; what cannot be read is skipped and
// listed by Losses. The error is ErrLocked or one of the file system.
func Open(dir string, c Config) (*Spool, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the spool: %w", err)
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return nil, err
	}
	s := &Spool{dir: dir, size: c.SegmentSize, lock: lock,
		requests: make(chan *request), quit: make(chan struct{}), done: make(chan struct{}),
		segments: map[uint64]*segment{}, index: map[string]place{}}
	if s.size <= 0 {
		s.size = DefaultSegmentSize
	}
	if err := s.load(); err != nil {
		lock.Close()
		return nil, fmt.Errorf("reading the spool: %w", err)
	}
	go s.write()
	return s, nil
}

func lockFolder(dir string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the spool: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		if err == unix.EWOULDBLOCK {
			return nil, fmt.Errorf("%w: %s", ErrLocked, dir)
		}
		return nil, fmt.Errorf("locking the spool: %w", err)
	}
	return lock, nil
}

// Append writes a record and returns when it is safe on disk. A pending record
// with the same key is replaced. When ctx ends first, the record may be kept
// or not. The error is ErrTooLarge, ErrFull, ErrClosed, that of the context or
// of the file system; after any of them the spool stays usable.
func (s *Spool) Append(ctx context.Context, key string, data []byte) error {
	if len(key) == 0 || len(key) > MaxKey || len(data) > MaxRecord {
		return fmt.Errorf("%w: key of %d bytes, data of %d", ErrTooLarge, len(key), len(data))
	}
	return s.submit(ctx, &request{kind: kindRecord, keys: []string{key}, data: data, done: make(chan error, 1)})
}

// Confirm drops records. Keys that are not pending are passed over. It does not
// wait for the disk: a confirmation lost in a crash brings the record back,
// and sending it again is harmless. On an error of the file system the records
// are dropped nevertheless, until the next start.
func (s *Spool) Confirm(keys ...string) error {
	return s.submit(context.Background(), &request{kind: kindConfirm, keys: keys, done: make(chan error, 1)})
}

func (s *Spool) submit(ctx context.Context, r *request) error {
	select {
	case <-s.quit:
		return ErrClosed
	default:
	}
	select {
	case s.requests <- r:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.quit:
		return ErrClosed
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Len is the number of pending records.
func (s *Spool) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.index)
}

// Has says whether a record is pending.
func (s *Spool) Has(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.index[key]
	return ok
}

// Losses lists what Open could not read.
func (s *Spool) Losses() []Loss { return slices.Clone(s.losses) }

// Pending yields the records that are not confirmed, oldest first, as they are
// when it is called. A record that cannot be read any more is yielded with its
// key and an error; one that is confirmed meanwhile is passed over.
func (s *Spool) Pending() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for _, key := range s.keys() {
			data, ok, err := s.read(key)
			if ok && !yield(Record{Key: key, Data: data}, err) {
				return
			}
		}
	}
}

func (s *Spool) keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := make([]string, 0, len(s.index))
	for key := range s.index {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b string) int { return int(s.index[a].order) - int(s.index[b].order) })
	return keys
}

// read holds the mutex so that the segment is not deleted under it.
func (s *Spool) read(key string) (data []byte, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.index[key]
	if !ok {
		return nil, false, nil
	}
	file, err := os.Open(at.segment.path)
	if err != nil {
		return nil, true, fmt.Errorf("reading the spool: %w", err)
	}
	defer file.Close()
	buf := make([]byte, at.length)
	if _, err := file.ReadAt(buf, at.offset); err != nil {
		return nil, true, fmt.Errorf("reading the spool: %w", err)
	}
	r, fault := decodeOne(buf, at.offset)
	if fault != "" {
		return nil, true, fmt.Errorf("reading the spool: record %s: %s", key, fault)
	}
	return r.data, true, nil
}

// Close waits for what is being written and gives the folder up.
func (s *Spool) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	close(s.quit)
	<-s.done
	return s.lock.Close()
}
