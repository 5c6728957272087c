package spool

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// The test binary is also the writer that is killed.
const helperWord = "spool-test-helper"

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == helperWord {
		writeForever(os.Args[2], os.Args[3])
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

func open(t testing.TB, dir string, c Config) *Spool {
	t.Helper()
	s, err := Open(dir, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func add(t testing.TB, s *Spool, key, data string) {
	t.Helper()
	if err := s.Append(t.Context(), key, []byte(data)); err != nil {
		t.Fatal(err)
	}
}

// pending reads all pending records, as "key=data".
func pending(t testing.TB, s *Spool) []string {
	t.Helper()
	var all []string
	for r, err := range s.Pending() {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r.Key+"="+string(r.Data))
	}
	return all
}

func assertPending(t testing.TB, s *Spool, want ...string) {
	t.Helper()
	if got := pending(t, s); !slices.Equal(got, want) {
		t.Errorf("pending %q, want %q", got, want)
	}
	if s.Len() != len(want) {
		t.Errorf("length %d, want %d", s.Len(), len(want))
	}
}

func segments(t testing.TB, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"+segmentSuffix))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestSurvivesRestart(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Config{})
	add(t, s, "a", "1")
	add(t, s, "b", "2")
	add(t, s, "c", "")
	add(t, s, "b", "3")
	if err := s.Confirm("a", "unknown"); err != nil {
		t.Fatal(err)
	}
	assertPending(t, s, "c=", "b=3")
	if !s.Has("b") || s.Has("a") {
		t.Error("Has differs from Pending")
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(t.Context(), "d", nil); !errors.Is(err, ErrClosed) {
		t.Errorf("append to a closed spool: %v", err)
	}
	s = open(t, dir, Config{})
	assertPending(t, s, "c=", "b=3")
	if err := s.Confirm("b", "c"); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = open(t, dir, Config{})
	assertPending(t, s)
	if got := segments(t, dir); len(got) != 0 {
		t.Errorf("segments %v are left, all confirmed", got)
	}
}

func TestLocked(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, Config{})
	if _, err := Open(dir, Config{}); !errors.Is(err, ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
}

func TestTooLarge(t *testing.T) {
	s := open(t, t.TempDir(), Config{})
	for _, key := range []string{"", strings.Repeat("k", MaxKey+1)} {
		if err := s.Append(t.Context(), key, nil); !errors.Is(err, ErrTooLarge) {
			t.Errorf("key of %d bytes: %v", len(key), err)
		}
	}
	if err := s.Append(t.Context(), "k", make([]byte, MaxRecord+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("large record: %v", err)
	}
	add(t, s, strings.Repeat("k", MaxKey), "x")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Append(ctx, "k", nil); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestManyAppendersAndSegments(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Config{SegmentSize: 500})
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			for j := range 5 {
				if err := s.Append(t.Context(), fmt.Sprintf("%d/%d", i, j), bytes.Repeat([]byte{byte(i)}, 50)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if s.Len() != 100 {
		t.Fatalf("%d records, want 100", s.Len())
	}
	before := len(segments(t, dir))
	for _, key := range s.keys()[:99] {
		if err := s.Confirm(key); err != nil {
			t.Fatal(err)
		}
	}
	last := s.keys()
	s.Close()
	s = open(t, dir, Config{SegmentSize: 500})
	if got := s.keys(); !slices.Equal(got, last) {
		t.Errorf("pending %v, want %v", got, last)
	}
	if after := len(segments(t, dir)); before < 3 || after >= before {
		t.Errorf("%d segments before, %d after nearly all is confirmed", before, after)
	}
	if err := s.Confirm(last...); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if open(t, dir, Config{}); len(segments(t, dir)) != 0 {
		t.Errorf("segments left: %v", segments(t, dir))
	}
}

// TestModel compares the spool with a map, across restarts.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "spool")
		if err != nil {
			rt.Fatal(err)
		}
		c := Config{SegmentSize: 200}
		s, err := Open(dir, c)
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { s.Close() }()
		model := map[string]string{}
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			key := rapid.StringMatching("[a-e]").Draw(rt, "key")
			switch rapid.IntRange(0, 4).Draw(rt, "step") {
			case 0, 1:
				data := rapid.StringMatching("[x-z]{0,60}").Draw(rt, "data")
				model[key] = data
				err = s.Append(context.Background(), key, []byte(data))
			case 2, 3:
				delete(model, key)
				err = s.Confirm(key)
			default:
				s.Close()
				s, err = Open(dir, c)
			}
			if err != nil {
				rt.Fatal(err)
			}
			got := map[string]string{}
			for r, err := range s.Pending() {
				if err != nil {
					rt.Fatal(err)
				}
				got[r.Key] = string(r.Data)
			}
			if fmt.Sprint(got) != fmt.Sprint(model) {
				rt.Fatalf("pending %v, want %v", got, model)
			}
		}
	})
}

// spoiled writes three records, changes the one segment, and opens it again.
func spoiled(t *testing.T, change func([]byte) []byte) *Spool {
	t.Helper()
	dir := t.TempDir()
	s := open(t, dir, Config{})
	for _, key := range []string{"a", "b", "c"} {
		add(t, s, key, "data of "+key)
	}
	s.Close()
	name := segments(t, dir)[0]
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, change(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return open(t, dir, Config{})
}

func TestDamage(t *testing.T) {
	const size = headerSize + bodyPrefix + len("a") + len("data of a")
	all := []string{"a=data of a", "b=data of b", "c=data of c"}
	for name, c := range map[string]struct {
		change func([]byte) []byte
		want   []string
		losses int
	}{
		"none":            {func(b []byte) []byte { return b }, all, 0},
		"torn tail":       {func(b []byte) []byte { return b[:len(b)-1] }, all[:2], 0},
		"torn header":     {func(b []byte) []byte { return b[:2*size+5] }, all[:2], 0},
		"torn begin":      {func(b []byte) []byte { return append(b, 0xF1) }, all, 0},
		"zeros at end":    {func(b []byte) []byte { return append(b, make([]byte, 100)...) }, all, 0},
		"bit in data":     {func(b []byte) []byte { b[2*size-1] ^= 1; return b }, []string{all[0], all[2]}, 1},
		"bit in length":   {func(b []byte) []byte { b[size+6] ^= 0x80; return b }, []string{all[0], all[2]}, 1},
		"bit in marker":   {func(b []byte) []byte { b[0] ^= 1; return b }, all[1:], 1},
		"bit in the last": {func(b []byte) []byte { b[len(b)-1] ^= 1; return b }, all[:2], 1},
		"hole":            {func(b []byte) []byte { return append(b[:size:size], b[2*size:]...) }, all[:1], 1},
		"rubbish between": {func(b []byte) []byte { clear(b[size : 2*size]); return b }, []string{all[0], all[2]}, 1},
		"all gone":        {func([]byte) []byte { return nil }, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := spoiled(t, c.change)
			assertNothingBehind(t, s)
			assertPending(t, s, c.want...)
			if got := s.Losses(); len(got) != c.losses {
				t.Errorf("losses %+v, want %d", got, c.losses)
			}
			add(t, s, "d", "new")
			assertPending(t, s, append(slices.Clone(c.want), "d=new")...)
		})
	}
}

// assertNothingBehind sees that segments end where their records do: what could
// not be written whole takes no room.
func assertNothingBehind(t *testing.T, s *Spool) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, seg := range s.segments {
		if info, err := os.Stat(seg.path); err != nil || info.Size() != seg.size {
			t.Errorf("segment of %d bytes, want %d (%v)", info.Size(), seg.size, err)
		}
	}
}

// TestRecordInsideARecord: data that looks like records is never taken for one,
// even when the record around it is damaged.
func TestRecordInsideARecord(t *testing.T) {
	inner := encode(nil, 0, kindRecord, "inner", []byte("x"))
	content := encode(nil, 0, kindRecord, "outer", inner)
	content = encode(content, int64(len(content)), kindRecord, "next", nil)
	content[8] ^= 1
	var keys []string
	end, losses := decode(content, func(r raw) { keys = append(keys, string(r.key)) })
	if fmt.Sprint(keys) != "[next]" || len(losses) != 1 || end != int64(len(content)) {
		t.Errorf("keys %v, losses %+v, end %d", keys, losses, end)
	}
}

func FuzzDecode(f *testing.F) {
	whole := encode(encode(nil, 0, kindRecord, "key", []byte("data")), 22, kindConfirm, "key", nil)
	f.Add(whole)
	f.Add(whole[:len(whole)-3])
	f.Add(append([]byte{0xF1, 0xEE}, whole...))
	f.Fuzz(func(t *testing.T, content []byte) {
		last := int64(0)
		end, losses := decode(content, func(r raw) {
			if r.offset < last {
				t.Errorf("record at %d, the one before ended at %d", r.offset, last)
			}
			last = r.offset + r.length
			again := encode(nil, r.offset, r.kind, string(r.key), r.data)
			if !bytes.Equal(again, content[r.offset:last]) {
				t.Errorf("record at %d does not encode as it was", r.offset)
			}
		})
		if end < last || end > int64(len(content)) {
			t.Errorf("end %d, last record ends at %d of %d", end, last, len(content))
		}
		for _, l := range losses {
			if l.Bytes <= 0 || l.Offset < 0 || l.Offset+l.Bytes > int64(len(content)) {
				t.Errorf("loss %+v of %d bytes", l, len(content))
			}
		}
		// Cutting at the end that decode gives loses nothing and adds nothing.
		kept := 0
		if again, _ := decode(content[:end], func(raw) { kept++ }); again > end {
			t.Errorf("healed segment ends at %d, was %d", again, end)
		}
	})
}

// writeForever appends records and prints each key once it is safe.
func writeForever(dir, round string) {
	s, err := Open(dir, Config{SegmentSize: 4000})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	var out sync.Mutex
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for j := 0; ; j++ {
				key := fmt.Sprintf("%s/%d/%d", round, i, j)
				if err := s.Append(context.Background(), key, []byte(strings.Repeat(key, 20))); err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				out.Lock()
				fmt.Println(key)
				out.Unlock()
				if j%3 == 0 {
					_ = s.Confirm(key)
				}
			}
		})
	}
	all.Wait()
}

// TestKilledWriter kills a writer again and again while it appends; whatever it
// was told is safe is there.
func TestKilledWriter(t *testing.T) {
	dir := t.TempDir()
	acknowledged := map[string]bool{}
	for round := range 8 {
		cmd := exec.Command(os.Args[0], helperWord, dir, strconv.Itoa(round))
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			acknowledged[lines.Text()] = true
			if n == 10+5*round {
				_ = cmd.Process.Kill() // the lines already printed still arrive
			}
		}
		_ = cmd.Wait()

		s, err := Open(dir, Config{SegmentSize: 4000})
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Losses(); len(got) > 0 {
			t.Errorf("losses %+v", got)
		}
		found := map[string]bool{}
		for r, err := range s.Pending() {
			if err != nil || string(r.Data) != strings.Repeat(r.Key, 20) {
				t.Errorf("record %s: %q, %v", r.Key, r.Data, err)
			}
			found[r.Key] = true
		}
		for key := range acknowledged {
			number, _ := strconv.Atoi(key[strings.LastIndex(key, "/")+1:])
			if !found[key] && number%3 != 0 { // every third is confirmed
				t.Errorf("round %d: %s is acknowledged and lost", round, key)
			}
		}
		if len(acknowledged) == 0 {
			t.Fatal("nothing was acknowledged")
		}
		s.Close()
	}
}

// TestFullDisk fills a small file system, and frees it again.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("no file system can be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	folder := filepath.Join(dir, "spool")
	s := open(t, folder, Config{SegmentSize: 8 << 10})
	defer s.Close()
	var want []string
	data := strings.Repeat("x", 3000)
	var err error
	for i := 0; err == nil && i < 100; i++ {
		key := fmt.Sprintf("%03d", i)
		if err = s.Append(t.Context(), key, []byte(data)); err == nil {
			want = append(want, key+"="+data)
		}
	}
	if !errors.Is(err, ErrFull) {
		t.Fatalf("a full disk gives %v, want ErrFull", err)
	}
	assertPending(t, s, want...)
	if err := s.Append(t.Context(), "more", []byte(data)); !errors.Is(err, ErrFull) {
		t.Errorf("still full: %v", err)
	}
	assertNothingBehind(t, s)
	// Confirming makes room, whether or not the confirmations could be written.
	for _, r := range want[:len(want)-1] {
		_ = s.Confirm(r[:3])
	}
	add(t, s, "more", data)
	assertPending(t, s, want[len(want)-1], "more="+data)
	s.Close()
	again := open(t, folder, Config{})
	defer again.Close()
	if got := again.keys(); !slices.Contains(got, "more") || !slices.Contains(got, want[len(want)-1][:3]) {
		t.Errorf("after a restart: %v", got)
	}
}

func BenchmarkAppend(b *testing.B) {
	s := open(b, b.TempDir(), Config{})
	data := make([]byte, 1000)
	var mu sync.Mutex
	n := 0
	b.SetParallelism(32)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			mu.Lock()
			n++
			key := strconv.Itoa(n)
			mu.Unlock()
			if err := s.Append(context.Background(), key, data); err != nil {
				b.Error(err)
			}
		}
	})
}
