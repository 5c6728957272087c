package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// load reads every segment.
func (s *Spool) load() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	var numbers []uint64
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), segmentSuffix)
		if n, err := strconv.ParseUint(name, 16, 64); ok && err == nil {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		if err := s.loadSegment(n); err != nil {
			return err
		}
		s.next = n + 1
	}
	return s.collect()
}

func (s *Spool) loadSegment(n uint64) error {
	seg := &segment{number: n, path: s.path(n), confirms: map[uint64]int{}, sealed: true}
	content, err := os.ReadFile(seg.path)
	if err != nil {
		return err
	}
	s.segments[n] = seg
	end, losses := decode(content, func(r raw) {
		if r.kind == kindConfirm {
			s.drop(seg, string(r.key))
		} else {
			s.put(seg, string(r.key), r.offset, r.length)
		}
	})
	for _, l := range losses {
		l.Segment = seg.path
		s.losses = append(s.losses, l)
	}
	seg.size = end
	if end < int64(len(content)) {
		return os.Truncate(seg.path, end)
	}
	return nil
}

func (s *Spool) path(n uint64) string {
	return filepath.Join(s.dir, fmt.Sprintf("%016x%s", n, segmentSuffix))
}

// put enters a record into the index; one with the same key is replaced.
func (s *Spool) put(seg *segment, key string, offset, length int64) {
	s.drop(seg, key)
	s.order++
	s.index[key] = place{segment: seg, offset: offset, length: length, order: s.order}
	seg.live++
}

// drop takes a record out of the index because of what is written in seg.
func (s *Spool) drop(seg *segment, key string) {
	at, ok := s.index[key]
	if !ok {
		return
	}
	delete(s.index, key)
	at.segment.live--
	if seg != nil && at.segment != seg {
		seg.confirms[at.segment.number]++
	}
}

// collect deletes the segments that nobody needs.
func (s *Spool) collect() error {
	var errs []error
	for again := true; again; {
		again = false
		for n, seg := range s.segments {
			if !seg.sealed || seg.live > 0 || s.remembered(seg) {
				continue
			}
			if err := os.Remove(seg.path); err != nil && !errors.Is(err, os.ErrNotExist) {
				errs = append(errs, err)
				continue
			}
			delete(s.segments, n)
			again = true
		}
	}
	return errors.Join(errs...)
}

// remembered says whether a segment holds confirmations of records that still
// lie in another: without it they would come back on the next start.
func (s *Spool) remembered(seg *segment) bool {
	for n := range seg.confirms {
		if s.segments[n] != nil {
			return true
		}
	}
	return false
}
