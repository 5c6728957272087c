package spool

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A request asks the writer for records or confirmations.
type request struct {
	kind byte
	keys []string
	data []byte
	done chan error // buffered

	// Where the writer put the record.
	offset, length int64
}

// maxBatch bounds the bytes of one write.
const maxBatch = 4 << 20

// write is the one goroutine that changes the disk. Everything that asks while
// it syncs shares the next sync.
func (s *Spool) write() {
	defer close(s.done)
	for {
		select {
		case r := <-s.requests:
			s.commit(s.batch(r))
		case <-s.quit:
			if s.file != nil {
				s.file.Close()
			}
			return
		}
	}
}

// batch collects what waits already.
func (s *Spool) batch(first *request) []*request {
	batch, size := []*request{first}, len(first.data)
	for size < maxBatch {
		select {
		case r := <-s.requests:
			batch, size = append(batch, r), size+len(r.data)
		default:
			return batch
		}
	}
	return batch
}

// commit writes a batch, and tells each request how it went.
func (s *Spool) commit(batch []*request) {
	err := s.store(batch)
	for _, r := range batch {
		r.done <- err
	}
}

// store puts a batch on disk and then into the index.
func (s *Spool) store(batch []*request) error {
	err := s.rotate()
	if err == nil {
		err = s.extend(batch)
	}
	s.apply(batch, err == nil)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT), errors.Is(err, unix.EFBIG):
		return fmt.Errorf("%w: %w", ErrFull, err)
	default:
		return fmt.Errorf("writing the spool: %w", err)
	}
}

// rotate sees to it that there is a segment with room.
func (s *Spool) rotate() error {
	if s.active != nil && s.active.size < s.size {
		return nil
	}
	s.seal()
	seg := &segment{number: s.next, path: s.path(s.next), confirms: map[uint64]int{}}
	file, err := os.OpenFile(seg.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	s.next++
	if err := syncFolder(s.dir); err != nil {
		file.Close()
		_ = os.Remove(seg.path)
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active, s.file = seg, file
	s.segments[seg.number] = seg
	return nil
}

// seal ends the active segment.
func (s *Spool) seal() {
	if s.active == nil {
		return
	}
	s.file.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active.sealed = true
	s.active, s.file = nil, nil
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// extend appends a batch to the active segment. On an error nothing of it is
// left there.
func (s *Spool) extend(batch []*request) error {
	var buf []byte
	sync := false
	for _, r := range batch {
		sync = sync || r.kind == kindRecord
		for i, key := range r.keys {
			at := s.active.size + int64(len(buf))
			buf = encode(buf, at, r.kind, key, r.data)
			if i == 0 {
				r.offset, r.length = at, s.active.size+int64(len(buf))-at
			}
		}
	}
	_, err := s.file.WriteAt(buf, s.active.size)
	if err == nil && sync {
		err = s.file.Sync()
	}
	if err != nil {
		// After a failed sync nobody knows what the disk holds: cut the batch
		// off and write no more behind it.
		err = errors.Join(err, s.file.Truncate(s.active.size))
		s.seal()
		return err
	}
	s.active.size += int64(len(buf))
	return nil
}

// apply enters a batch into the index. Confirmations count even if they could
// not be written: deleting what they set free may be what makes room again.
func (s *Spool) apply(batch []*request, stored bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range batch {
		switch {
		case r.kind == kindConfirm:
			for _, key := range r.keys {
				s.drop(s.active, key)
			}
		case stored:
			s.put(s.active, r.keys[0], r.offset, r.length)
		}
	}
	// A file that cannot be deleted now is tried again after the next batch.
	_ = s.collect()
}
