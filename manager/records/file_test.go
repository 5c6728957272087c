package records_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fleetune/fleetune/manager/records"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func write(t testing.TB, list ...records.Record) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, records.Write(&b, list))
	return b.String()
}

func same(a, b []records.Record) bool { return slices.EqualFunc(a, b, records.Record.Same) }

// Merging is commutative, associative and idempotent, conflicts included.
func TestMergeIsAUnion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := lists(t, "a"), lists(t, "b"), lists(t, "c")
		all, conflicts := records.Merge(a, b, c)
		for _, other := range [][]records.Record{first(records.Merge(c, a, b)), first(records.Merge(first(records.Merge(a, b)), c)),
			first(records.Merge(a, first(records.Merge(c, b)))), first(records.Merge(all, all, b))} {
			if !same(all, other) {
				t.Fatalf("%v and %v", all, other)
			}
		}
		if _, again := records.Merge(b, c, a); !slices.Equal(conflicts, again) {
			t.Fatalf("conflicts %v and %v", conflicts, again)
		}
	})
}

func first(list []records.Record, _ []uuid.UUID) []records.Record { return list }

// Wherever a file is torn, the whole lines are read, the torn one is dropped
// and reported, and what is saved then is whole again.
func TestTornFilesHeal(t *testing.T) {
	text := write(t, recordOf(1, 1), recordOf(2, 2), recordOf(3, 3))
	path := filepath.Join(t.TempDir(), "records.jsonl")
	for _, cut := range []int{0, len(text) / 3, len(text) / 2, len(text) - 2, len(text) - 1, len(text)} {
		require.NoError(t, os.WriteFile(path, []byte(text[:cut]), 0o600))
		whole := max(strings.Count(text[:cut], "\n")-1, 0)
		if cut == len(text)-1 {
			whole++ // only the line break is missing
		}
		saved, err := records.Save(t.Context(), path, []records.Record{recordOf(9, 9)})
		require.NoError(t, err, cut)
		require.Equal(t, whole+1, saved.Records, cut)
		torn := cut > 0 && cut < len(text)-1
		require.Equal(t, torn, len(saved.Dropped) == 1, cut)
		list, dropped, err := records.ReadFile(path)
		require.NoError(t, err)
		require.Empty(t, dropped, "it is healed")
		require.Len(t, list, whole+1)
	}
}

// A changed record costs itself and no other.
func TestDamageIsOneMiss(t *testing.T) {
	text := write(t, recordOf(1, 1.25), recordOf(2, 2), recordOf(3, 3))
	for name, damaged := range map[string]string{
		"value":  strings.Replace(text, `"scores":[1.25]`, `"scores":[0.25]`, 1),
		"key":    strings.Replace(text, `"A100"`, `"H100"`, 1),
		"sum":    strings.Replace(text, `"sum":"`, `"sum":"0`, 1),
		"digest": strings.Replace(text, `"digest":"`, `"digest":"0`, 1),
		"binary": strings.Replace(text, `{"digest"`, "\x00\xff{", 1),
		"other":  strings.Replace(text, `{"digest"`, `{"dig`, 1),
	} {
		list, dropped, err := records.Read(strings.NewReader(damaged))
		require.NoError(t, err, name)
		require.Len(t, list, 2, name)
		require.Len(t, dropped, 1, name)
	}
	lines := strings.Split(write(t, recordOf(1, 1), recordOf(2, 2), recordOf(3, 3)), "\n")
	lines[2] += strings.Repeat(" ", 5<<20) // a whole record, in a line that nobody should hold
	list, dropped, err := records.Read(strings.NewReader(strings.Join(lines, "\n")))
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.Len(t, dropped, 1)
	require.Equal(t, 3, dropped[0].Line)
	require.Contains(t, dropped[0].Reason, "longer than")
	for _, text := range []string{"a,b,c\n1,2,3\n", `{"format":"fleetune-records/2"}`, "[]"} {
		_, _, err := records.Read(strings.NewReader(text))
		require.ErrorIs(t, err, records.ErrFormat, text)
	}
	path := filepath.Join(t.TempDir(), "notes.txt")
	require.NoError(t, os.WriteFile(path, []byte("my notes\n"), 0o600))
	_, err = records.Save(t.Context(), path, []records.Record{recordOf(1, 1)})
	require.ErrorIs(t, err, records.ErrFormat, "another file is left alone")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "my notes\n", string(data))
}

// A record whose parts contradict each other is none, whoever wrote it.
func TestContradictionsAreNoRecords(t *testing.T) {
	whole := recordOf(1, 1)
	require.NoError(t, whole.Check())
	for name, change := range map[string]func(*records.Record){
		"no id":               func(r *records.Record) { r.ID = uuid.Nil },
		"no operation":        func(r *records.Record) { r.Key.Operation.Name = "" },
		"a long name":         func(r *records.Record) { r.Key.Operation.Name = strings.Repeat("x", 201) },
		"no point":            func(r *records.Record) { r.Point = nil },
		"no outcome":          func(r *records.Record) { r.Outcome = "" },
		"no time":             func(r *records.Record) { r.MeasuredAt = time.Time{} },
		"no score":            func(r *records.Record) { r.Scores = nil },
		"a failure's score":   func(r *records.Record) { r.Outcome = experiment.OutcomeIncorrect },
		"a score of nothing":  func(r *records.Record) { r.Scores[0] = math.NaN() },
		"an endless score":    func(r *records.Record) { r.Scores[0] = math.Inf(1) },
		"no objective":        func(r *records.Record) { delete(r.Key.Measurement, records.FactObjectives) },
		"an unknown device":   func(r *records.Record) { r.Key.Environment[records.FactDevice] = nil },
		"a device left out":   func(r *records.Record) { delete(r.Key.Environment, records.FactDevice) },
		"a device of numbers": func(r *records.Record) { r.Key.Environment[records.FactDevice] = int64(1) },
	} {
		r := recordOf(1, 1)
		change(&r)
		require.ErrorIs(t, r.Check(), records.ErrInvalid, name)
		var b bytes.Buffer
		if records.Write(&b, []records.Record{r}) != nil {
			continue // no file can hold it
		}
		list, dropped, err := records.Read(&b)
		require.NoError(t, err, name)
		require.Empty(t, list, name)
		require.Len(t, dropped, 1, name)
	}
}

// Writers take turns and lose nothing; a reader never sees a part.
func TestWritersAndReaders(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.jsonl")
	const writers, each = 4, 20
	done := make(chan struct{})
	errs := make([]error, writers+1)
	var writing, reading sync.WaitGroup
	reading.Go(func() {
		most := 0
		for {
			list, dropped, err := records.ReadFile(path)
			switch {
			case errors.Is(err, os.ErrNotExist):
			case err != nil || len(dropped) > 0 || len(list) < most:
				errs[writers] = fmt.Errorf("%d of %d records, %v, %w", len(list), most, dropped, err)
				return
			default:
				most = len(list)
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	for w := range writers {
		writing.Go(func() {
			for i := range each {
				if _, err := records.Save(context.Background(), path, []records.Record{recordOf(w*each+i, 1)}); err != nil {
					errs[w] = err
					return
				}
			}
		})
	}
	writing.Wait()
	close(done)
	reading.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	list, _, err := records.ReadFile(path)
	require.NoError(t, err)
	require.Len(t, list, writers*each)
	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, left, 1, "neither a lock nor a temporary file is left")
}

// Whatever a file holds, reading it ends, and what was read survives being
// written.
func FuzzRead(f *testing.F) {
	f.Add([]byte(write(f, recordOf(1, 1), recordOf(2, 2))))
	f.Add([]byte(write(f, recordOf(1, 1), recordOf(1, 2))))
	f.Add([]byte("{\"format\":\"fleetune-records/1\"}\n{\"digest\":\"\",\"sum\":\"\",\"record\":{}}\n\x00"))
	f.Add([]byte("{\"format\":\"fleetune-records/1\"}\n\n[]\n{\"record\":null}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, _, err := records.Read(bytes.NewReader(data))
		if err != nil {
			require.ErrorIs(t, err, records.ErrFormat)
			return
		}
		again, dropped, err := records.Read(strings.NewReader(write(t, list...)))
		require.NoError(t, err)
		require.Empty(t, dropped)
		require.True(t, same(list, again))
	})
}

func FuzzFacts(f *testing.F) {
	for _, text := range []string{`{"m":1}`, `{"a":[1,"x",true,0.5],"b":null}`, `{"m":1e400}`, `{"m":{}}`, `{"\ud800":1}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var facts records.Facts
		if facts.UnmarshalJSON(data) != nil {
			return
		}
		once, err := facts.MarshalJSON()
		require.NoError(t, err)
		var again records.Facts
		require.NoError(t, again.UnmarshalJSON(once))
		twice, err := again.MarshalJSON()
		require.NoError(t, err)
		require.Equal(t, string(once), string(twice))
	})
}
