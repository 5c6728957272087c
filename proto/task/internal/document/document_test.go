package document

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Any JSON text means the same read as JSON, read as YAML, and written again.
func TestJSONIsYAML(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := genJSON(3).Draw(t, "json")
		asJSON, problems := Parse("a.json", []byte(text))
		if problems != nil {
			t.Fatalf("%s as JSON: %v", text, problems)
		}
		asYAML, problems := Parse("a.yaml", []byte(text))
		if problems != nil {
			t.Fatalf("%s as YAML: %v", text, problems)
		}
		a, err := asJSON.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		b, err := asYAML.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if string(a) != string(b) {
			t.Fatalf("%q: %s as JSON, %s as YAML", text, a, b)
		}
		var want, got any
		if json.Unmarshal([]byte(text), &want) != nil || json.Unmarshal(a, &got) != nil {
			t.Fatalf("%q became %s", text, a)
		}
		if fmt.Sprint(want) != fmt.Sprint(got) {
			t.Fatalf("%q became %s", text, a)
		}
	})
}

// genJSON writes JSON objects with unique keys, indented in several ways.
func genJSON(depth int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		var value func(depth int) any
		value = func(depth int) any {
			kind := rapid.IntRange(0, 7).Draw(t, "kind")
			if depth == 0 {
				kind %= 6
			}
			switch kind {
			case 0:
				return nil
			case 1:
				return rapid.Bool().Draw(t, "bool")
			case 2:
				return rapid.Int64Range(-1<<53, 1<<53).Draw(t, "int")
			case 3:
				return rapid.Float64Range(-1e15, 1e15).Draw(t, "float") + 0 // no -0, which is 0
			case 4, 5:
				return rapid.StringN(0, 12, -1).Draw(t, "text")
			case 6:
				return slice(rapid.IntRange(0, 3).Draw(t, "items"), func() any { return value(depth - 1) })
			default:
				m := map[string]any{}
				for range rapid.IntRange(0, 3).Draw(t, "keys") {
					m[rapid.StringN(0, 8, -1).Draw(t, "key")] = value(depth - 1)
				}
				return m
			}
		}
		object := map[string]any{"k": value(depth)}
		indent := rapid.SampledFrom([]string{"", " ", "  ", "\t"}).Draw(t, "indent")
		text, err := json.MarshalIndent(object, "", indent)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	})
}

func slice(n int, item func() any) []any {
	items := make([]any, n)
	for i := range items {
		items[i] = item()
	}
	return items
}

func TestScalars(t *testing.T) {
	for text, want := range map[string]any{
		"12": int64(12), "-7": int64(-7), "+5": int64(5), "0": int64(0), "0x1F": int64(31), "0o17": int64(15), "0b101": int64(5),
		"1_000": int64(1000), "1e3": 1000.0, "-.5": -0.5, "1.": 1.0, "2.50": 2.5, "true": true, "False": false,
		"yes": "yes", "on": "on", "1.2.3": "1.2.3", "2020-01-01": "2020-01-01", "1:30": "1:30", `"12"`: "12", `'true'`: "true",
		"~": nil, "null": nil, "": nil, "9223372036854775807": int64(math.MaxInt64), "-9223372036854775808": int64(math.MinInt64),
		"é": "é", `"\u00e9\x41"`: "éA", ".inf": math.Inf(1), "-.INF": math.Inf(-1), "_1": "_1", "1__0": "1__0", "0x": "0x", "e5": "e5",
	} {
		root, problems := Parse("a.yaml", []byte("k: "+text+"\n"))
		require.Empty(t, problems, text)
		require.Equal(t, want, root.Get("k").Value(), text)
	}
	for _, text := range []string{"010", "9223372036854775808", "1e999", "00", "0xFFFFFFFFFFFFFFFFF"} {
		_, problems := Parse("a.yaml", []byte("k: "+text+"\n"))
		require.Len(t, problems, 1, text)
		require.Equal(t, "k", problems[0].Field)
	}
}

func TestPlaces(t *testing.T) {
	for name, text := range map[string]string{
		"a.yaml": "é: {b: [1,\n  {c: 2}]}\nd:\n  - x\n",
		"a.json": "{\"é\": {\"b\": [1,\n  {\"c\": 2}]},\n\"d\": [\"x\"]}",
	} {
		root, problems := Parse(name, []byte(text))
		require.Empty(t, problems)
		index := NewIndex(root)
		line, _ := index.Place("é.b[1].c")
		require.Equal(t, 2, line, name)
		line, _ = index.Place("é.b[1].c.unknown[3]")
		require.Equal(t, 2, line, name)
		line, column := index.Place("nowhere.at.all")
		require.Equal(t, [2]int{1, 1}, [2]int{line, column}, name)
	}
	root, _ := Parse("a.yaml", []byte("é: [ß, {c: 2}]\n"))
	line, column := NewIndex(root).Place("é[1].c")
	require.Equal(t, [2]int{1, 12}, [2]int{line, column}, "columns count letters")
}

// Texts built to exhaust a reader are refused by what they are, not by a
// time-out: each of these would take the parser seconds to hours.
func TestHostileTexts(t *testing.T) {
	for name, text := range map[string]string{
		"flow lists":    strings.Repeat("[", 30_000),
		"flow mappings": strings.Repeat("{a: ", 30_000),
		"dashes":        strings.Repeat("- ", 30_000),
		"anchors":       strings.Repeat("&a ", 30_000),
		"tags":          strings.Repeat("!a ", 30_000),
		"explicit keys": strings.Repeat("? ", 30_000),
		"keys":          strings.Repeat("k: 1\n", 30_000),
		"values":        "a: [" + strings.Repeat("1,", 201_000) + "]",
		"size":          strings.Repeat("x", MaxBytes+1),
		"blocks": func() string {
			var b strings.Builder
			for i := range 500 {
				b.WriteString(strings.Repeat(" ", i) + "a:\n")
			}
			return b.String()
		}(),
		"aliases": "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + strings.Join(func() []string {
			var lines []string
			for c := 'b'; c < 'p'; c++ {
				lines = append(lines, fmt.Sprintf("%c: &%c [%s]", c, c, strings.Repeat(fmt.Sprintf("*%c,", c-1), 10)))
			}
			return lines
		}(), "\n"),
	} {
		for _, suffix := range []string{".yaml", ".json"} {
			root, problems := Parse("a"+suffix, []byte(text))
			require.Nil(t, root, name+suffix)
			require.NotEmpty(t, problems, name+suffix)
		}
	}
	deep := `{"a":` + strings.Repeat("[", 30_000)
	_, problems := Parse("a.json", []byte(deep))
	require.Equal(t, errDepth.Error(), problems[0].Message)
}

func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"../../testdata/bad/*.*", "../../testdata/good/*.*"} {
		files, err := filepath.Glob(pattern)
		require.NoError(f, err)
		for _, file := range files {
			if filepath.Ext(file) == ".golden" {
				continue
			}
			data, err := os.ReadFile(file)
			require.NoError(f, err)
			f.Add(data, filepath.Ext(file) == ".json")
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, asJSON bool) {
		name := "a.yaml"
		if asJSON {
			name = "a.json"
		}
		root, problems := Parse(name, data)
		if (root == nil) != (len(problems) > 0) {
			t.Fatalf("%v with problems %v", root, problems)
		}
		for _, p := range problems {
			if p.Line < 1 || p.Column < 1 || p.Message == "" {
				t.Fatalf("problem %+v", p)
			}
		}
		if root == nil {
			return
		}
		if asJSON && !json.Valid(data) && !strings.HasPrefix(string(data), "\ufeff") {
			t.Fatalf("accepted what is not JSON: %q", data)
		}
		NewIndex(root)
		if text, err := root.MarshalJSON(); err == nil && !json.Valid(text) {
			t.Fatalf("wrote %q", text)
		}
	})
}

func TestKeysAreBounded(t *testing.T) {
	var many []string
	for i := range maxKeys + 1 {
		many = append(many, fmt.Sprintf("%q: 1", fmt.Sprint("k", i)))
	}
	long := fmt.Sprintf("{%q: [1, 2]}", strings.Repeat("k", maxKeyBytes+1))
	for _, name := range []string{"a.json", "a.yaml"} {
		_, problems := Parse(name, []byte("{"+strings.Join(many[1:], ", ")+"}"))
		require.Empty(t, problems, name)
		_, problems = Parse(name, []byte("{"+strings.Join(many, ", ")+"}"))
		require.Len(t, problems, 1, name)
		_, problems = Parse(name, []byte(long))
		require.Len(t, problems, 1, name)
	}
}

func TestProblemsAreBounded(t *testing.T) {
	var b Binder
	for range 2 * MaxProblems {
		b.Add(Problem{Warning: true})
	}
	require.Len(t, b.Problems, MaxProblems/2)
	require.False(t, b.Failed())
	for range 2 * MaxProblems {
		b.Fail("", "", "")
	}
	require.Len(t, b.Problems, MaxProblems, "warnings leave room for errors")
	require.True(t, b.Failed())
}
