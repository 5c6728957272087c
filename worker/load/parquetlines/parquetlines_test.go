package parquetlines

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

const plenty = 1 << 20

// The file was written by another library, pyarrow, in three row groups with
// snappy: testdata/rows.py.
func TestAFileOfAnotherWriter(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "rows.parquet"))
	require.NoError(t, err)
	require.True(t, Is(data))
	out, err := Lines(data, plenty)
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	require.Len(t, lines, 5)
	require.JSONEq(t, `{"question":"What is 1?","answer":"forty twoforty two","messages":[{"role":"user","content":"hi 1"},{"role":"assistant","content":"yo"}],
		"n":1,"f":0.3333333333333333,"b":false,"none":null,"when":1704164645000000,"raw":"\u0000\ufffd","tags":["a","b"],"day":19724,"big":9223372036854775807,"dec":null}`, lines[1])
}

// row has the kinds of values that datasets have.
type row struct {
	Text   string            `parquet:"text,dict"`
	Maybe  *int64            `parquet:"maybe,optional,zstd"`
	Number float64           `parquet:"number,gzip"`
	List   []int64           `parquet:"list,list"`
	Said   []message         `parquet:"said,list"`
	Labels map[string]string `parquet:"labels"`
}

type message struct {
	Role    string `parquet:"role"`
	Content string `parquet:"content,lz4"`
}

func file(t testing.TB, rows []row) []byte {
	var b bytes.Buffer
	w := parquet.NewGenericWriter[row](&b, parquet.MaxRowsPerRowGroup(7))
	_, err := w.Write(rows)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

// Whatever a table holds, its lines hold the same.
func TestRowsAreKept(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rows := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) row {
			r := row{Text: rapid.String().Draw(rt, "text"), Number: rapid.Float64().Draw(rt, "number"), List: rapid.SliceOf(rapid.Int64()).Draw(rt, "list"),
				Labels: rapid.MapOfN(rapid.StringN(1, 4, -1), rapid.String(), 0, 3).Draw(rt, "labels")}
			if rapid.Bool().Draw(rt, "there") {
				r.Maybe = rapid.Ptr(rapid.Int64(), false).Draw(rt, "maybe")
			}
			for range rapid.IntRange(0, 2).Draw(rt, "messages") {
				r.Said = append(r.Said, message{"user", rapid.String().Draw(rt, "content")})
			}
			return r
		}), 0, 20).Draw(rt, "rows")
		out, err := Lines(file(t, rows), 1<<30)
		require.NoError(rt, err)
		d := json.NewDecoder(bytes.NewReader(out))
		for _, want := range rows {
			var got struct {
				Text   string            `json:"text"`
				Maybe  *int64            `json:"maybe"`
				Number *float64          `json:"number"`
				List   []int64           `json:"list"`
				Said   []message         `json:"said"`
				Labels map[string]string `json:"labels"`
			}
			require.NoError(rt, d.Decode(&got))
			require.Equal(rt, strings.ToValidUTF8(want.Text, "\ufffd"), got.Text)
			require.Equal(rt, want.Maybe, got.Maybe)
			if math.IsInf(want.Number, 0) || math.IsNaN(want.Number) {
				require.Nil(rt, got.Number)
			} else {
				require.InDelta(rt, want.Number, *got.Number, 0)
			}
			require.Equal(rt, append([]int64{}, want.List...), append([]int64{}, got.List...))
			require.Equal(rt, append([]message{}, want.Said...), append([]message{}, got.Said...))
			require.Len(rt, got.Labels, len(want.Labels))
		}
		require.False(rt, d.More())
	})
}

func TestNumbersThatJSONHasNot(t *testing.T) {
	out, err := Lines(file(t, []row{{Text: "a", Number: math.NaN()}}), plenty)
	require.NoError(t, err)
	require.Contains(t, string(out), `"number":null`)
}

func TestTablesThatAreRefused(t *testing.T) {
	whole := file(t, []row{{Text: strings.Repeat("x", 5000)}})
	for name, c := range map[string]struct {
		data []byte
		most int64
		want error
	}{
		"cut":         {whole[:len(whole)-9], plenty, ErrDamaged},
		"two magics":  {[]byte("PAR1....PAR1"), plenty, ErrDamaged},
		"only one":    {[]byte("PAR1"), plenty, ErrDamaged},
		"large":       {whole, 1000, ErrTooLarge},
		"its columns": {whole, 10, ErrTooLarge},
	} {
		_, err := Lines(c.data, c.most)
		require.ErrorIs(t, err, c.want, name)
	}
	flipped := file(t, []row{{Text: "x", List: []int64{1, 2}}, {}})
	// No damage of one byte ends the program. (It is not fuzzed: a page that says
	// to have 2 GiB is given them by the library before it is read.)
	for i := range flipped {
		flipped[i] ^= 0xff
		_, _ = Lines(flipped, plenty)
		flipped[i] ^= 0xff
	}
}
