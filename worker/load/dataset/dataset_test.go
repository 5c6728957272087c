package dataset

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/fleetune/fleetune/worker/load/conversation"
	"github.com/fleetune/fleetune/worker/load/input"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func write(t testing.TB, name string, data []byte) string {
	p := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(p, data, 0o600))
	return p
}

func load(t testing.TB, name, text string, opt Options) *Dataset {
	d, err := Load(t.Context(), write(t, name, []byte(text)), opt)
	require.NoError(t, err)
	return d
}

// said is what a conversation sends: its messages as role:text, or its body.
func said(c *conversation.Conversation) string {
	var out []string
	for i := range c.Turns {
		turn := &c.Turns[i]
		if turn.Raw != nil {
			out = append(out, string(turn.Raw))
		}
		for _, m := range turn.Messages {
			out = append(out, m.Role+":"+m.Render().Plain())
		}
		out = append(out, fmt.Sprintf("→%d", turn.MaxTokens))
	}
	return strings.Join(out, " ")
}

func all(d *Dataset) (out []string) {
	for _, c := range d.Conversations {
		out = append(out, said(c))
	}
	return out
}

func TestFieldsAreFoundOrNamed(t *testing.T) {
	for name, c := range map[string]struct {
		file, text string
		opt        Options
		want       []string
	}{
		"csv":            {"a.csv", "id,prompt,output_len\n1,\"hi, you\",7\n2,\"two\nlines\",\n", Options{}, []string{"user:hi, you →7", "user:two\nlines →0"}},
		"tsv":            {"a.tsv", "question\tanswer\nwhy \"so\"\tbecause it is\n", Options{}, []string{"user:why \"so\" →4"}},
		"tabs, unnamed":  {"a.txt", "question\tanswer\nwhy\t\n", Options{}, []string{"user:why →0"}},
		"bom":            {"a.csv", "\xef\xbb\xbfprompt\nx\n", Options{}, []string{"user:x →0"}},
		"jsonl":          {"a.jsonl", `{"instruction":"do","output":"12345678","other":[1]}`, Options{}, []string{"user:do →2"}},
		"list":           {"a.json", `[{"prompt":"a","n":1},{"prompt":"b","n":2}]`, Options{}, []string{"user:a →0", "user:b →0"}},
		"list of texts":  {"a.json", `["a","b"]`, Options{}, []string{"user:a →0", "user:b →0"}},
		"wrapped":        {"a.json", `{"version":"1","rows":[{"question":"a"}]}`, Options{}, []string{"user:a →0"}},
		"one object":     {"a.json", "{\n\"prompt\":\"a\",\n\"more\":1}", Options{}, []string{"user:a →0"}},
		"messages":       {"a.jsonl", `{"id":"c1","messages":[{"role":"system","content":"s"},{"role":"user","content":"u"},{"role":"assistant","content":"known"}]}`, Options{}, []string{"system:s user:u →0"}},
		"conversations":  {"a.jsonl", `{"conversations":[{"from":"system","value":"s"},{"from":"human","value":"a"},{"from":"gpt","value":"12345"},{"from":"human","value":"b"}]}`, Options{}, []string{"system:s user:a →2 user:b →0"}},
		"prompts":        {"a.jsonl", `{"category":"x","turns":["a","b"],"reference":[]}`, Options{Map: Map{Prompts: "turns"}}, []string{"user:a →0 user:b →0"}},
		"in a table":     {"a.csv", "messages\n\"[{\"\"role\"\":\"\"user\"\",\"\"content\"\":\"\"u\"\"}]\"\n", Options{}, []string{"user:u →0"}},
		"request body":   {"log.csv", "when,request_body\n1,\"{\"\"prompt\"\":\"\"p\"\",\"\"top_p\"\":0.5}\"\n", Options{}, []string{`{"prompt":"p","top_p":0.5} →0`}},
		"whole requests": {"a.jsonl", `{"messages":[{"role":"user","content":"u"}],"temperature":0}`, Options{}, []string{`{"messages":[{"role":"user","content":"u"}],"temperature":0} →0`}},
		"mapped":         {"a.jsonl", `{"prompt":"not this","doc":{"q":"this"},"len":"9"}`, Options{Map: Map{Prompt: "doc.q", OutputLen: "len"}}, []string{"user:this →9"}},
		"system":         {"a.jsonl", `{"system":"be","prompt":"p"}`, Options{}, []string{"system:be user:p →0"}},
		"template":       {"a.jsonl", `{"q":"Q","ctx":{"a":1},"none":null}`, Options{Template: "{{ctx}} {{ q }}{{none}}?"}, []string{`user:{"a":1} Q? →0`}},
		"single_turn":    {"a.jsonl", `{"text":"t","output_length":3}`, Options{}, []string{"user:t →3"}},
		"duplicates":     {"a.jsonl", "{\"prompt\":\"a\",\"n\":1}\n{\"prompt\":\"b\",\"n\":1}\n{\"prompt\":\"a\",\"n\":2}\n", Options{Deduplicate: true}, []string{"user:a →0", "user:b →0"}},
		"of a trace too": {"a.jsonl", "{\"text\":\"a\"}\n{\"text\":\"a\"}\n", Options{Deduplicate: true}, []string{"user:a →0"}},
		"empty rows":     {"a.csv", "prompt\n\" \"\nx\n", Options{}, []string{"user:x →0"}},
		"too long":       {"a.csv", "prompt\nabcdefgh\nx\n", Options{Input: input.Options{MaxInput: 1}}, []string{"user:x →0"}},
		"first":          {"a.csv", "prompt\na\nb\nc\n", Options{Input: input.Options{Limit: 2}}, []string{"user:a →0", "user:b →0"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := load(t, c.file, c.text, c.opt)
			require.Equal(t, c.want, all(d))
			require.Equal(t, len(c.want), d.Stats.Conversations)
		})
	}
}

// A table is read by its columns, as a CSV is: packed or not, in an archive or
// by its name.
func TestParquetIsRows(t *testing.T) {
	data, err := os.ReadFile("../parquetlines/testdata/rows.parquet")
	require.NoError(t, err)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err = z.Write(data)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	for _, content := range [][]byte{data, packed.Bytes()} {
		d, err := Load(t.Context(), write(t, "in", content), Options{Map: Map{Prompt: "question", Output: "answer"}})
		require.NoError(t, err)
		require.Len(t, d.Conversations, 5)
		require.Equal(t, "What is 3?", d.Conversations[3].Turns[0].Messages[0].Plain())
		require.Equal(t, 9, d.Conversations[3].Turns[0].MaxTokens)
	}
	d, err := Load(t.Context(), write(t, "in", data), Options{})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"messages": "messages", "output": "answer"}, d.Stats.Fields)
	_, err = Load(t.Context(), write(t, "in", data), Options{Unpack: Unpack{MaxBytes: 100}})
	require.ErrorIs(t, err, ErrTooLarge)
}

func TestDatasetsThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		text, says string
		opt        Options
	}{
		"":              {"", "empty", Options{}},
		"two contents":  {`{"text":"a","texts":["b"]}`, "in:1: text and texts exclude each other", Options{}},
		"two times":     {`{"text":"a","timestamp":1,"delay":2}`, "in:1: timestamp and delay exclude each other", Options{}},
		"no prompt":     {"a,b\n1,2\n", "none of its fields (a, b)", Options{}},
		"only empty":    {"prompt\n\"\"\n", "of 1 rows 1 are empty", Options{}},
		"not a length":  {`{"prompt":"a","n":"x"}`, "no length", Options{Map: Map{OutputLen: "n"}}},
		"no such field": {`{"a":1}`, `"q" is not in the row`, Options{Template: "{{q}}"}},
		"ragged":        {"prompt\na,b\n", "2 fields under 1 columns", Options{}},
		"broken line":   {"{\"prompt\":\"a\",\"x\":1}\n{\n", ":2", Options{}},
		"two lists":     {`{"a":[{"prompt":"x"}],"b":[{"prompt":"y"}]}`, "a, b", Options{}},
		"not a row":     {`[1]`, "row 1", Options{}},
		"parquet":       {"PAR1....PAR1", "Parquet file is damaged", Options{}},
		"binary":        {"a\x00b", "no text", Options{}},
		"no rows":       {"hello there", "no rows below its first line", Options{}},
		"bad body":      {"request_body\nhello\n", "request_body", Options{}},
		"a trace":       {"prompt\na\n", "for rows", Options{Template: "x", Input: input.Options{Format: input.Mooncake}}},
		"not messages":  {`{"m":1}`, "list of messages", Options{Map: Map{Messages: "m"}}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(t.Context(), write(t, "in", []byte(c.text)), c.opt)
			require.ErrorContains(t, err, c.says)
		})
	}
	_, err := Load(t.Context(), filepath.Join(t.TempDir(), "no"), Options{})
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = Load(t.Context(), "file://elsewhere/x", Options{})
	require.ErrorContains(t, err, "on this machine")
}

func TestMaps(t *testing.T) {
	m, err := ParseMap([]string{"prompt=q", " output_len = a.b "})
	require.NoError(t, err)
	require.Equal(t, Map{Prompt: "q", OutputLen: "a.b"}, m)
	for _, bad := range [][]string{{"prompt"}, {"prompt="}, {"promt=a"}, {"prompt=a", "messages=b"}} {
		_, err := ParseMap(bad)
		require.Error(t, err, bad)
	}
	_, err = ParseChoice("best")
	require.ErrorContains(t, err, "best")
}

// A sample has its size, no row twice, the file's order, and is the same for
// the same seed; strata have their shares.
func TestSamples(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 60).Draw(t, "rows")
		var text strings.Builder
		strata := map[string]int{}
		for i := range n {
			s := rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "stratum")
			strata[s]++
			fmt.Fprintf(&text, "{\"prompt\":\"%04d\",\"kind\":%q}\n", i, s)
		}
		want := rapid.IntRange(1, n).Draw(t, "sample")
		for _, by := range []Choice{First, Random, Stratified} {
			opt := Options{Choice: by, Stratum: "kind", Input: input.Options{Limit: want, Seed: rapid.Int64().Draw(t, "seed")}}
			draw := func() *Dataset {
				d := &Dataset{Workload: &input.Workload{}}
				var rows []row
				err := records(input.File{Name: "in", Data: []byte(text.String())}, func(r record) error {
					p, _ := r.text("prompt")
					k, _ := r.text("kind")
					rows = append(rows, row{&conversation.Conversation{ID: p, Turns: []conversation.Turn{{}}}, k})
					return nil
				})
				require.NoError(t, err)
				d.choose(rows, opt)
				return d
			}
			d := draw()
			require.Len(t, d.Conversations, want)
			for i := 1; i < want; i++ {
				require.Less(t, d.Conversations[i-1].ID, d.Conversations[i].ID)
			}
			again := draw()
			for i := range d.Conversations {
				require.Equal(t, d.Conversations[i].ID, again.Conversations[i].ID)
			}
			if by == Stratified {
				for s, count := range strata {
					require.InDelta(t, float64(count*want)/float64(n), float64(d.Stats.Strata[s]), 1)
				}
			}
		}
	})
}

func gz(t testing.TB, data string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte(data))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return b.Bytes()
}

type member struct {
	name, text string
	link       string
}

func tarball(t testing.TB, members ...member) string {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		h := &tar.Header{Name: m.name, Size: int64(len(m.text)), Mode: 0o644, Typeflag: tar.TypeReg}
		if m.link != "" {
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, m.link, 0
		}
		require.NoError(t, w.WriteHeader(h))
		_, err := w.Write([]byte(m.text[:h.Size]))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.String()
}

func zipped(t testing.TB, members ...member) string {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, m := range members {
		h := &zip.FileHeader{Name: m.name, Method: zip.Deflate}
		h.SetMode(0o644)
		if m.link != "" {
			h.SetMode(0o777 | os.ModeSymlink)
			m.text = m.link
		}
		f, err := w.CreateHeader(h)
		require.NoError(t, err)
		_, err = f.Write([]byte(m.text))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.String()
}

// Every way to pack gives the same rows, and the largest CSV is taken.
func TestArchives(t *testing.T) {
	const csv = "prompt\nfrom the archive\n"
	members := []member{
		{name: "./data/README.md", text: "prompt\nno\n"}, {name: "data/small.csv", text: "prompt\nno\n"}, {name: "data/link.csv", link: "/etc/passwd"},
		{name: "data/.hidden.csv", text: "prompt\n" + strings.Repeat("no\n", 50)}, {name: "data/big.csv", text: csv},
		{name: "data/bigger.jsonl", text: strings.Repeat("{\"prompt\":\"no\",\"x\":1}\n", 50)}, {name: "__MACOSX/data/big.csv", text: strings.Repeat("no\n", 99)},
	}
	for name, data := range map[string]string{
		"a.csv.gz": string(gz(t, csv)), "a.tar": tarball(t, members...), "a.tar.gz": string(gz(t, tarball(t, members...))),
		"a.tgz": string(gz(t, tarball(t, member{name: "x.csv.gz", text: string(gz(t, csv))}))),
		"a.zip": zipped(t, members...), "no-extension": zipped(t, members...),
	} {
		d := load(t, name, data, Options{})
		require.Equal(t, []string{"user:from the archive →0"}, all(d), name)
		if len(data) > 400 && name != "a.tgz" {
			require.Equal(t, []string{"of the archive's 3 data files, data/big.csv was taken"}, d.Notes, name)
		}
		if strings.Contains(name, "zip") || strings.Contains(name, "tar") {
			d = load(t, name, data, Options{Unpack: Unpack{Member: "*.jsonl"}})
			require.Equal(t, "user:no →0", said(d.Conversations[0]), name)
			_, err := Load(t.Context(), write(t, name, []byte(data)), Options{Unpack: Unpack{Member: "*.tsv"}})
			require.ErrorIs(t, err, ErrArchive, name)
		}
	}
}

// Names that lead out of an archive are refused, and a link is no data.
func TestArchivesThatReachOut(t *testing.T) {
	for _, name := range []string{"../evil.csv", "/etc/evil.csv", "a/../../evil.csv", `..\evil.csv`} {
		for kind, data := range map[string]string{"tar": tarball(t, member{name: name, text: "prompt\nx\n"}), "zip": zipped(t, member{name: name, text: "prompt\nx\n"})} {
			_, err := Load(t.Context(), write(t, "a", []byte(data)), Options{})
			require.ErrorIs(t, err, ErrArchive, "%s in %s", name, kind)
		}
	}
	for kind, data := range map[string]string{"tar": tarball(t, member{name: "a.csv", link: "/etc/passwd"}), "zip": zipped(t, member{name: "a.csv", link: "/etc/passwd"})} {
		_, err := Load(t.Context(), write(t, "a", []byte(data)), Options{})
		require.ErrorIs(t, err, ErrArchive, kind)
	}
}

// What would unpack to more than the limit is stopped at it, however small it
// is packed, one file or many.
func TestBombs(t *testing.T) {
	const most = 1 << 20
	zeros := strings.Repeat("0", 8*most)
	var many []member
	for i := range 9 {
		many = append(many, member{name: fmt.Sprintf("%d.txt", i), text: zeros[:most/2]})
	}
	for name, data := range map[string]string{
		"gz": string(gz(t, zeros)), "zip": zipped(t, member{name: "a.csv", text: zeros}), "tar.gz": string(gz(t, tarball(t, member{name: "a.csv", text: zeros}))),
		"gz in zip": zipped(t, member{name: "a.csv.gz", text: string(gz(t, zeros))}), "many": string(gz(t, tarball(t, many...))),
	} {
		require.Less(t, len(data), most)
		_, err := Load(t.Context(), write(t, "in", []byte(data)), Options{Unpack: Unpack{MaxBytes: most}})
		require.ErrorIs(t, err, ErrTooLarge, name)
	}
}

// The figures of a dataset, for people and for programs.
func TestFigures(t *testing.T) {
	var b strings.Builder
	for i := range 40 {
		fmt.Fprintf(&b, "{\"question\":%q,\"lang\":%q,\"max_tokens\":%d}\n", strings.Repeat("word ", i%13), []string{"en", "de", "fr"}[i%3], 10*(i%5))
	}
	d := load(t, "figures.jsonl", b.String(), Options{Deduplicate: true, Choice: Stratified, Stratum: "lang", Input: input.Options{Limit: 9, MaxInput: 14, Seed: 3}})
	var text bytes.Buffer
	require.NoError(t, d.Stats.Write(&text))
	doc, err := json.MarshalIndent(d.Stats, "", "  ")
	require.NoError(t, err)
	for name, got := range map[string][]byte{"figures.txt": text.Bytes(), "figures.json": append(doc, '\n')} {
		at := filepath.Join("testdata", name)
		if *update {
			require.NoError(t, os.WriteFile(at, got, 0o644))
		}
		want, err := os.ReadFile(at)
		require.NoError(t, err)
		require.Equal(t, string(want), string(got))
	}
}

// Nothing that others wrote makes the reader panic, packed or not.
func FuzzDecode(f *testing.F) {
	f.Add([]byte("prompt,output_len\na,1\n"))
	f.Add([]byte(`{"messages":[{"role":"user","content":[{"type":"text","text":"a"}]}]}`))
	f.Add([]byte(`[{"conversations":[{"from":"human","value":"a"}]}]`))
	f.Add([]byte(`{"data":[{"session_id":"a","payloads":[{"prompt":"x"}]}]}`))
	f.Add(gz(f, "prompt\na\n"))
	f.Add([]byte(tarball(f, member{name: "a.csv", text: "prompt\na\n"})))
	f.Add([]byte(zipped(f, member{name: "a.jsonl", text: `{"turns":["a"],"x":1}`})))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		file, _, err := Unpack{MaxBytes: 1 << 20}.open(bytes.NewReader(data), int64(len(data)), "in")
		if err != nil {
			return
		}
		d, err := Load(t.Context(), write(t, "in", file.Data), Options{Deduplicate: true, Choice: Stratified, Input: input.Options{Limit: 3}})
		if err == nil && d.Stats.Requests == 0 && len(d.Trees) == 0 {
			t.Error("a dataset without a request")
		}
	})
}
