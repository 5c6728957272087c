package input

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/fleetune/fleetune/worker/load/conversation"
	"github.com/fleetune/fleetune/worker/load/token"
	"github.com/fleetune/fleetune/worker/load/tree"
)

func write(t testing.TB, name, text string) string {
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// promptTokens is the length of a turn's messages by the byte fallback.
func promptTokens(t *conversation.Turn) int {
	n := 0
	for _, m := range t.Messages {
		n += token.Bytes{}.Count(m.Render().Plain())
	}
	return n
}

func TestScenarios(t *testing.T) {
	for text, want := range map[string]Scenario{
		"D(100,1000)":          {Input: Length{Fixed, 100, 0}, Output: Length{Fixed, 1000, 0}},
		"N(480,240)/(300,150)": {Input: Length{Normal, 480, 240}, Output: Length{Normal, 300, 150}},
		"U(50,100)/(200,250)":  {Input: Length{Uniform, 50, 100}, Output: Length{Uniform, 200, 250}},
		"U(50, 100)":           {Input: Length{Uniform, 1, 50}, Output: Length{Uniform, 1, 100}},
		"E(64)":                {Input: Length{Fixed, 64, 0}},
		"R(1024,100)":          {Documents: 1024, Input: Length{Fixed, 100, 0}},
		"dataset":              {Dataset: true},
	} {
		got, err := ParseScenario(text)
		require.NoError(t, err, text)
		require.Equal(t, strings.ReplaceAll(text, " ", ""), got.String())
		got.text = ""
		require.Equal(t, want, got, text)
	}
	for _, bad := range []string{"", "D(1)", "D(1,2", "D(-1,2)", "U(9,1)/(1,2)", "N(1..2,3)/(4,5)", "D(99999999999,1)", "X(1,2)"} {
		_, err := ParseScenario(bad)
		require.Error(t, err, bad)
	}
}

func TestMixesAndMeans(t *testing.T) {
	mix, err := ParseMix("256,128:60; 1024|100,256|50:40")
	require.NoError(t, err)
	require.Equal(t, []Part{{60, Length{Fixed, 256, 0}, Length{Fixed, 128, 0}}, {40, Length{Normal, 1024, 100}, Length{Normal, 256, 50}}}, mix.Mix)
	long := 0
	for _, c := range (Synthetic{Scenario: mix, Seed: 3}).Take(1000) {
		if turn := &c.Turns[0]; turn.InputTokens != 256 {
			long++
			require.InDelta(t, 1024, turn.InputTokens, 600)
		} else {
			require.Equal(t, 128, turn.MaxTokens)
		}
	}
	require.InDelta(t, 400, long, 60)
	for bad, says := range map[string]string{"": "want INPUT", "1,1:50": "not to 100", "0,1:100": "at least 1", "1,1:x": "want INPUT", "1..2,1:100": "not a number"} {
		_, err := ParseMix(bad)
		require.ErrorContains(t, err, says, bad)
	}
	about := Around(10, 0, 5, 2)
	require.Equal(t, Length{Fixed, 10, 0}, about.Input)
	require.Equal(t, Length{Normal, 5, 2}, about.Output)
	require.Equal(t, "prompts of 10 tokens, replies of 5±2", about.String())
	require.Zero(t, (Synthetic{Scenario: Around(10, 0, 0, 0)}).Take(1)[0].Turns[0].MaxTokens)
}

func TestPausesAreMadeToMeasure(t *testing.T) {
	const text = `{"turns":[{"text":"a"},{"text":"b","delay":1000},{"text":"c","delay":4000}]}`
	for _, c := range []struct {
		opt  Options
		want [2]time.Duration
	}{
		{Options{}, [2]time.Duration{time.Second, 4 * time.Second}},
		{Options{DelayCap: 2}, [2]time.Duration{time.Second, 2 * time.Second}},
		{Options{DelayCap: 2, DelayRatio: 0.5}, [2]time.Duration{500 * time.Millisecond, time.Second}},
		{Options{IgnoreDelays: true}, [2]time.Duration{}},
	} {
		w, err := Load(write(t, "in", text), c.opt)
		require.NoError(t, err)
		turns := w.Conversations[0].Turns
		require.Equal(t, c.want, [2]time.Duration{turns[1].Delay, turns[2].Delay})
	}
}

func TestSyntheticConversations(t *testing.T) {
	s, err := ParseScenario("U(50,100)/(1,40)")
	require.NoError(t, err)
	spec := Synthetic{Scenario: s, Turns: Length{Uniform, 1, 4}, Delay: Length{Fixed, 0.5, 0}, SharedSystem: 20, UserContext: 7, Prefixes: 3, PrefixLength: 5, Seed: 9}
	first, again := spec.Take(50), spec.NewSource()
	heads := map[string]bool{}
	for i, c := range first {
		require.Equal(t, c, again.Next(), "the same from the source, in the same order")
		total := 0
		for k := range c.Turns {
			turn := &c.Turns[k]
			require.Equal(t, turn.InputTokens, total+promptTokens(turn))
			require.GreaterOrEqual(t, turn.MaxTokens, 2)
			require.LessOrEqual(t, turn.MaxTokens, 40)
			require.Equal(t, k > 0, turn.Delay == 500*time.Millisecond)
			total = turn.InputTokens + turn.MaxTokens
		}
		head := c.Turns[0].Messages[0].Render().Plain()
		heads[head[:25*token.FillerBytes]] = true
		require.Equal(t, first[0].Turns[0].Messages[0].Render().Plain()[:80], head[:80], "conversation %d shares the system prompt", i)
	}
	require.Len(t, heads, 3, "each prefix of the pool is used")
}

func TestFormats(t *testing.T) {
	for name, c := range map[string]struct {
		text   string
		format Format
		check  func(*testing.T, *Workload)
	}{
		"single": {`{"text":"hello","delay":5}` + "\n\n" + `{"texts":["a","b"],"image":"u","role":"x","timestamp":1500}`, SingleTurn, func(t *testing.T, w *Workload) {
			require.Len(t, w.Conversations, 2)
			require.Equal(t, 5*time.Millisecond, w.Conversations[0].Turns[0].Delay)
			require.Equal(t, 1500*time.Millisecond, *w.Conversations[1].Turns[0].At)
			require.JSONEq(t, `{"role":"x","content":[{"type":"text","text":"a"},{"type":"text","text":"b"},{"type":"image_url","image_url":{"url":"u"}}]}`, encode(t, w.Conversations[1].Turns[0].Messages[0].Render()))
		}},
		"multi": {`{"session_id":"s","turns":[{"text":"a"},{"text":"b","delay":10}]}`, MultiTurn, func(t *testing.T, w *Workload) {
			require.Equal(t, "s", w.Conversations[0].ID)
			require.Len(t, w.Conversations[0].Turns, 2)
		}},
		"mooncake": {`{"timestamp":0,"input_length":700,"output_length":5,"hash_ids":[1,2]}
{"timestamp":10,"input_length":1030,"output_length":6,"hash_ids":[1,3,4]}`, Mooncake, func(t *testing.T, w *Workload) {
			one, two := &w.Conversations[0].Turns[0], &w.Conversations[1].Turns[0]
			require.Equal(t, 700, promptTokens(one))
			require.Equal(t, 1030, promptTokens(two))
			a, b := one.Messages[0].Render().Plain(), two.Messages[0].Render().Plain()
			require.Equal(t, a[:512*4], b[:512*4])
			require.NotEqual(t, a[512*4:700*4], b[512*4:700*4])
			require.Equal(t, []int{2, 0, 3, 1}, []int{one.CacheBlocks, one.CacheHits, two.CacheBlocks, two.CacheHits})
		}},
		"mooncake sessions": {`{"session_id":"x","timestamp":0,"messages":[{"role":"user","content":"a"}],"tools":[{}],"extra":{"k":1}}
{"session_id":"x","delay":20,"messages":[{"role":"user","content":"a"},{"role":"user","content":"b"}]}`, Mooncake, func(t *testing.T, w *Workload) {
			require.Len(t, w.Conversations, 1)
			require.Equal(t, conversation.Whole, w.Conversations[0].Mode)
			require.Equal(t, 20*time.Millisecond, w.Conversations[0].Turns[1].Delay)
			require.Equal(t, `1`, string(w.Conversations[0].Turns[0].Extra["k"]))
		}},
		"bailian": {`{"chat_id":5,"parent_chat_id":-1,"timestamp":1.5,"input_length":20,"output_length":3,"type":"t","turn":1,"hash_ids":[1,2]}
{"chat_id":9,"parent_chat_id":-1,"timestamp":2,"input_length":3,"output_length":3,"type":"t","turn":1,"hash_ids":[9]}
{"chat_id":7,"parent_chat_id":6,"timestamp":9,"input_length":50,"output_length":3,"type":"t","turn":3,"hash_ids":[1,2,3,4]}
{"chat_id":6,"parent_chat_id":5,"timestamp":4,"input_length":33,"output_length":3,"type":"t","turn":2,"hash_ids":[1,2,3]}`, Bailian, func(t *testing.T, w *Workload) {
			require.Len(t, w.Conversations, 2)
			require.Equal(t, "chat-5", w.Conversations[0].ID)
			for i, in := range []int{20, 33, 50} {
				require.Equal(t, in, promptTokens(&w.Conversations[0].Turns[i]))
			}
			require.Equal(t, 4*time.Second, *w.Conversations[0].Turns[1].At)
		}},
		"sharegpt": {`[{"id":"a","conversations":[{"value":"how are you today my friend"},{"value":"very well thank you dear"}]},{"conversations":[{"value":"x"}]}]`, ShareGPT, func(t *testing.T, w *Workload) {
			require.Len(t, w.Conversations, 1)
			require.Equal(t, 1, w.Skipped)
			require.Equal(t, 6, w.Conversations[0].Turns[0].MaxTokens)
		}},
		"burst": {"Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,s1,1,m,20,3,23,x\n6.5,,1,m,10,0,10,x\n", BurstGPT, func(t *testing.T, w *Workload) {
			require.Len(t, w.Conversations, 1)
			require.Equal(t, 1, w.Skipped)
			require.Equal(t, "row-000000-s1", w.Conversations[0].ID)
			require.Equal(t, 5*time.Second, *w.Conversations[0].Turns[0].At)
		}},
		"raw": {`{"messages":[{"role":"user","content":"a"}],"temperature":0}`, RawPayload, func(t *testing.T, w *Workload) {
			require.JSONEq(t, `{"messages":[{"role":"user","content":"a"}],"temperature":0}`, string(w.Conversations[0].Turns[0].Raw))
		}},
		"request_body": {`{"request_body":"{\"messages\":[]}"}`, SingleTurn, func(t *testing.T, w *Workload) {
			require.Equal(t, `{"messages":[]}`, string(w.Conversations[0].Turns[0].Raw)) //nolint:testifylint // byte for byte
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w, err := Load(write(t, "in", c.text), Options{})
			require.NoError(t, err)
			require.Equal(t, c.format, w.Format, "detected")
			c.check(t, w)
		})
	}
}

func encode(t *testing.T, x any) string {
	b, err := json.Marshal(x)
	require.NoError(t, err)
	return string(b)
}

func TestErrorsSayWhere(t *testing.T) {
	for name, c := range map[string]struct {
		format Format
		text   string
		says   string
	}{
		"both times":     {SingleTurn, `{"text":"a"}` + "\n" + `{"text":"a","delay":1,"timestamp":2}`, "in:2"},
		"unknown":        {SingleTurn, `{"text":"a","colour":1}`, "colour: the format has no such field; it has audio"},
		"misspelt":       {MultiTurn, `{"turns":[{"text":"a"},{"txt":"a","dealy":1}]}`, "in:1: turns[1].dealy: the format has no such field; did you mean \"delay\"?\nturns[1].txt"},
		"all at once":    {SingleTurn, "{\"text\":5}\n{\"text\":\"a\"}\n{\"delay\":[]}", "in:1: text: want a text, not a JSON number\nin:3: delay: want a number, not a JSON array"},
		"two names":      {SingleTurn, `{"text":"a","prompt":"b"}`, "another name of text"},
		"two lengths":    {SingleTurn, `{"text":"a","max_tokens":1,"output_length":1}`, "want one of"},
		"beside turns":   {MultiTurn, `{"turns":[{"text":"a"}],"text":"b"}`, "text: the format has no such field"},
		"mixed rows":     {Mooncake, `{"session_id":"s","input_length":5}` + "\n" + `{"session_id":"s","messages":[{"role":"user","content":"a"}]}`, "in:2: session_id"},
		"no timestamp":   {Bailian, `{"parent_chat_id":-1}`, "chat_id is missing\ntimestamp is missing\ninput_length is missing"},
		"no such format": {"single_trun", "", "did you mean single_turn?"},
		"no format":      {"xyz", "", "there are single_turn, multi_turn"},
		"two kinds":      {Mooncake, `{"input_length":5,"text_input":"x"}`, "exactly one"},
		"too many ids":   {Mooncake, `{"input_length":5,"hash_ids":[1,2]}`, "more than 5 tokens need"},
		"empty turns":    {MultiTurn, `{"turns":[]}`, "not be empty"},
		"own ancestor":   {Bailian, `{"chat_id":1,"parent_chat_id":2,"input_length":1,"timestamp":0}` + "\n" + `{"chat_id":2,"parent_chat_id":1,"input_length":1,"timestamp":0}`, "in:2: chat 1 is its own ancestor"},
		"no column":      {Azure, "TIMESTAMP,ContextTokens\n", "GeneratedTokens"},
		"odd time":       {Azure, "TIMESTAMP,ContextTokens,GeneratedTokens\nyesterday,1,1\n", "in:2"},
		"dag unknown":    {DAG, `{"session_id":"a","turns":[{"messages":[{"role":"user","content":"x"}],"spawns":["b"]}]}`, `no session "b"`},
		"dag cycle":      {DAG, dagCycle, "ancestor"},
		"dag ring":       {DAG, `{"session_id":"r","turns":[{"messages":[{"role":"user","content":"x"}]}]}` + afterFirstLine(dagCycle), "in:2: session \"a\": no root leads here"},
		"dag nearest":    {DAG, `{"session_id":"child","turns":[{"messages":[{"role":"user","content":"x"}]}]}` + "\n" + `{"session_id":"r","turns":[{"messages":[],"spawns":["chidl"]}]}`, "in:2: session \"r\": turns[0]: messages must not be empty\nin:2: session \"r\": turns[0]: spawns: no session \"chidl\"; did you mean \"child\"?"},
		"dag system":     {DAG, `{"session_id":"a","turns":[{"messages":[{"role":"user","content":"x"}]},{"messages":[{"role":"system","content":"x"}]}]}`, "system message"},
		"dag join":       {DAG, `{"session_id":"a","turns":[{"messages":[{"role":"user","content":"x"}],"spawns":[{"children":["a"],"join_at":1}]}]}`, "join_at"},
		"dag plain fork": {DAG, `{"session_id":"a","turns":[{"messages":[{"role":"user","content":"x"}],"forks":["b"]},{"messages":[{"role":"user","content":"x"}]}]}` + "\n" + `{"session_id":"b","turns":[{"messages":[{"role":"user","content":"x"}]}]}`, "last turn"},
		"weka scope":     {Weka, `{"id":"x","block_size":64,"hash_id_scope":"galactic"}`, "local"},
		"not known":      {"", `{"colour":1}`, "not known"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(write(t, "in", c.text), Options{Format: c.format})
			require.ErrorContains(t, err, c.says)
		})
	}
}

// What a format allows for and does not read is told: it may be a misspelt name.
func TestFieldsThatAreNotReadAreTold(t *testing.T) {
	w, err := Load(write(t, "in", `{"input_length":5,"ouptut_length":3}`+"\n"+`{"input_length":5}`), Options{})
	require.NoError(t, err)
	require.Equal(t, []string{`in: not read: ouptut_length: the format has no such field; did you mean "output_length"?`}, w.Notes)
}

// No more problems are told than help.
func TestAFileOfNothingButProblems(t *testing.T) {
	_, err := Load(write(t, "in", strings.Repeat("{\"text\":5}\n", 100)), Options{Format: SingleTurn})
	require.ErrorContains(t, err, "in:10: ")
	require.ErrorContains(t, err, "the first 10 problems")
	require.NotContains(t, err.Error(), "in:11: ")
}

// Rows of a session are what each turn adds; its prompts grow by them and by
// the replies. Rows that are whole prompts are told from those.
func TestRowsOfASession(t *testing.T) {
	const text = `{"session_id":"s","input_length":1024,"output_length":10,"hash_ids":[1,2]}
{"input_length":7,"output_length":1}
{"session_id":"s","input_length":1100,"output_length":10,"hash_ids":[1,2,3]}
{"session_id":"s","input_length":5}`
	w, err := Load(write(t, "in", text), Options{})
	require.NoError(t, err)
	turns := w.Conversations[0].Turns
	require.Equal(t, []int{1024, 2134, 2149}, []int{turns[0].InputTokens, turns[1].InputTokens, turns[2].InputTokens})
	require.Len(t, w.Notes, 1)
	require.Contains(t, w.Notes[0], "in 1 sessions rows begin with the blocks of the row before")
	require.Equal(t, 4, w.Rows)
	require.NotEqual(t, turns[1].Messages[0].Fill[2:], turns[2].Messages[0].Fill, "each row's own text is its own")

	whole, err := Load(write(t, "in", text), Options{WholePrompts: true})
	require.NoError(t, err)
	require.Empty(t, whole.Notes)
	require.Equal(t, 1100, whole.Conversations[0].Turns[1].InputTokens)
	require.Equal(t, 2, whole.Conversations[0].Turns[1].CacheHits)

	short, err := Load(write(t, "in", text), Options{MaxInput: 2000})
	require.NoError(t, err)
	require.Len(t, short.Conversations[0].Turns, 1, "a session ends before its first prompt that is too long")
	require.Equal(t, 2, short.TooLong)
}

// Rows of every file are numbered on, so that two files make no prompt alike.
func TestFilesAreReadOneAfterAnother(t *testing.T) {
	one := File{"a.jsonl", []byte(`{"input_length":50}`)}
	w, err := Decode([]File{one, {"b.jsonl", one.Data}}, Options{})
	require.NoError(t, err)
	require.Equal(t, []string{"line-000000", "line-000001"}, []string{w.Conversations[0].ID, w.Conversations[1].ID})
	require.NotEqual(t, w.Conversations[0].Turns[0].Messages, w.Conversations[1].Turns[0].Messages)
	_, err = Decode([]File{one, {"c.jsonl", []byte(`{"text":"a"}`)}}, Options{})
	require.ErrorContains(t, err, "a.jsonl is mooncake_trace, c.jsonl is not")
	trace := File{"w.json", []byte(wekaText(17))}
	_, err = Decode([]File{trace, {"again.json", trace.Data}}, Options{})
	require.ErrorContains(t, err, `again.json: the trace "w" is in w.json already`)
}

// afterFirstLine is the text from its first line break on.
func afterFirstLine(text string) string {
	_, rest, _ := strings.Cut(text, "\n")
	return "\n" + rest
}

const dagCycle = `{"session_id":"r","turns":[{"messages":[{"role":"user","content":"x"}],"spawns":["a"]}]}
{"session_id":"a","turns":[{"messages":[{"role":"user","content":"x"}],"spawns":["b"]}]}
{"session_id":"b","turns":[{"messages":[{"role":"user","content":"x"}],"spawns":["a"]}]}`

// The recorded completions were written by pyarrow with zstd: six rows in three
// sessions, 700 ms apart.
func TestRecordedCompletions(t *testing.T) {
	w, err := Load("testdata/baseten.parquet", Options{})
	require.NoError(t, err)
	require.Equal(t, Baseten, w.Format)
	require.Len(t, w.Conversations, 3)
	c := w.Conversations[1]
	require.Equal(t, "s1", c.ID)
	require.Equal(t, conversation.Whole, c.Mode)
	require.Equal(t, "Question 3: what is 3 plus 3?", c.Turns[1].Messages[0].Plain())
	require.Equal(t, conversation.Turn{InputTokens: 10, MaxTokens: 7, Delay: 400 * time.Millisecond, CacheBlocks: 2, CacheHits: 2},
		conversation.Turn{InputTokens: c.Turns[1].InputTokens, MaxTokens: c.Turns[1].MaxTokens, Delay: c.Turns[1].Delay, CacheBlocks: c.Turns[1].CacheBlocks, CacheHits: c.Turns[1].CacheHits})
	require.Equal(t, 2100*time.Millisecond, *c.Turns[1].At)

	lines := []File{
		{"b", []byte(`{"timestamp_start_unix_ms":5000,"input_tokens":9,"output_tokens":3,"total_hashes":[1,2],"block_size":8,"poor_man_session_id":7,"request_canceled":1,"request_body":{"top_p":0.5}}`)},
		{"a", []byte(`{"timestamp_start_unix_ms":4000,"input_tokens":3,"output_tokens":2,"prompt":"a","poor_man_session_id":7}`)},
	}
	w, err = Decode(lines, Options{})
	require.NoError(t, err)
	require.Len(t, w.Conversations, 1, "a session goes on from file to file")
	turns := w.Conversations[0].Turns
	require.Equal(t, time.Second, *turns[1].At)
	require.Equal(t, 9, promptTokens(&turns[1]), "without its text a prompt is made of its blocks")
	require.JSONEq(t, "0.5", string(turns[1].Extra["top_p"]))
	require.Contains(t, w.Notes[0], "1 requests had been cancelled")

	_, err = Decode([]File{{"in", []byte(`{"timestamp_start_unix_ms":-1,"input_tokens":0,"output_tokens":3,"prompt":"a"}`)}}, Options{})
	require.ErrorContains(t, err, "in:1: timestamp_start_unix_ms")
	require.ErrorContains(t, err, "input_tokens 0")
}

func TestDAG(t *testing.T) {
	const u = `"messages":[{"role":"user","content":"x"}]`
	w, err := Load(write(t, "in.jsonl", `{"session_id":"root","pre_session_spawns":["p"],"turns":[{`+u+`,"spawns":["a",{"children":["a","b"],"join_at":2}]},{`+u+`},{`+u+`,"delay":7,"forks":[{"child":"f","background":true}]}]}
{"session_id":"a","turns":[{`+u+`}]}
{"session_id":"b","turns":[{`+u+`}]}
{"session_id":"f","turns":[{`+u+`}]}
{"session_id":"p","turns":[{`+u+`}]}
`), Options{})
	require.NoError(t, err)
	require.Equal(t, DAG, w.Format)
	require.Len(t, w.Trees, 1)
	tr := w.Trees[0]
	require.Equal(t, []tree.Branch{
		{Parent: 0, Spawn: -1, Join: tree.NoJoin, Children: []int{1}},
		{Parent: 0, Spawn: 0, Join: 1, Children: []int{2}},
		{Parent: 0, Spawn: 0, Join: 2, Children: []int{3, 4}},
		{Parent: 0, Spawn: 2, Join: tree.NoJoin, Children: []int{5}},
	}, tr.Branches)
	require.True(t, tr.Streams[5].Fork)
	require.Equal(t, "a", tr.Streams[3].Conv.ID)
	require.Equal(t, 7*time.Millisecond, tr.Streams[0].Conv.Turns[2].Delay)
}

// weka makes a trace of a root with one completed sub-agent from 12 to 17 s.
func wekaText(marker float64) string {
	return `{"id":"w","models":["a","b"],"block_size":4,"hash_id_scope":"local","tool_tokens":3,"system_tokens":3,"requests":[
{"t":0,"type":"n","model":"a","in":10,"out":5,"hash_ids":[1,2],"input_types":["text"],"output_types":["text"],"stop":"x","api_time":2},
{"t":10,"type":"s","model":"b","in":22,"out":5,"hash_ids":[1,2,3,4,5],"input_types":[],"output_types":[],"stop":"x","api_time":1.5,"ttft":0.1},
{"t":` + encodeFloat(marker) + `,"type":"subagent","agent_id":"s1","subagent_type":"e","status":"completed","duration_ms":5000,"models":["a"],"requests":[
 {"t":0,"type":"n","model":"a","in":9,"out":1,"hash_ids":[7,8],"input_types":[],"output_types":[],"stop":"x","api_time":1},
 {"t":3,"type":"n","model":"a","in":9,"out":1,"hash_ids":[7,8],"input_types":[],"output_types":[],"stop":"x","api_time":1}]},
{"t":18,"type":"n","model":"a","in":20,"out":5,"hash_ids":[1,2,3,4,6],"input_types":[],"output_types":[],"stop":"x"},
{"t":100,"type":"n","model":"a","in":20,"out":5,"hash_ids":[1,2,3,4,6],"input_types":[],"output_types":[],"stop":"x"}]}`
}

func encodeFloat(x float64) string { b, _ := json.Marshal(x); return string(b) }

// The same sub-agent is found whether its marker is its end or its start.
func TestWekaMarkerIsDecidedByTheCorpus(t *testing.T) {
	for marker, want := range map[float64]tree.Branch{
		17: {Parent: 0, Spawn: 1, Join: 2, Children: []int{1}, Start: 12 * time.Second},
		12: {Parent: 0, Spawn: 1, Join: 2, Children: []int{1}, Start: 12 * time.Second},
	} {
		w, err := Load(write(t, "w.json", wekaText(marker)), Options{Models: []string{"m1", "m2"}})
		require.NoError(t, err)
		require.Equal(t, []tree.Branch{want}, w.Trees[0].Branches, "marker at %v", marker)
		s := w.Trees[0].Streams
		require.Equal(t, []time.Duration{12 * time.Second, 15 * time.Second}, s[1].Starts)
		require.Equal(t, 2*time.Second, s[1].Conv.Turns[1].Delay)
		require.Equal(t, 8*time.Second, s[0].Conv.Turns[1].Delay)
		require.Equal(t, "m2", s[0].Conv.Turns[1].Model)
		require.Len(t, w.Notes, 1)
	}
}

func TestWekaPrompts(t *testing.T) {
	w, err := Load(write(t, "w.json", wekaText(17)), Options{})
	require.NoError(t, err)
	roles := func(turn int) (out []string) {
		for _, m := range w.Trees[0].Streams[0].Conv.Turns[turn].Messages {
			out = append(out, m.Role)
		}
		return out
	}
	// Turn 0 has two blocks, both of the system prompt, and a tail: the user's.
	require.Equal(t, []string{"system", "user"}, roles(0))
	// Turn 1 keeps the blocks, of which the user has none: all new is the user's.
	require.Equal(t, []string{"system", "user"}, roles(1))
	// Turn 2 has one new block, which the reply before would fill: it is given
	// back, for a prompt ends on the user.
	require.Equal(t, []string{"system", "user", "user"}, roles(2))
	require.Equal(t, roles(2), roles(3))
	require.Equal(t, 4, w.Trees[0].Streams[0].Conv.Turns[2].CacheHits)
}

// A trace ends before its first prompt that is too long, for what follows
// holds it; so do its sub-agents, by themselves.
func TestTracesEndBeforePromptsThatAreTooLong(t *testing.T) {
	path := write(t, "w.json", wekaText(17))
	w, err := Load(path, Options{MaxInput: 21})
	require.NoError(t, err)
	require.Len(t, w.Trees[0].Streams, 1, "the sub-agent came after the cut")
	require.Len(t, w.Trees[0].Streams[0].Conv.Turns, 1)
	require.Equal(t, 4, w.Skipped)
	require.Contains(t, w.Notes[len(w.Notes)-1], "more than 21 tokens")
	_, err = Load(path, Options{MaxInput: 9})
	require.ErrorContains(t, err, "no usable request")
	w, err = Load(path, Options{MaxInput: 22})
	require.NoError(t, err)
	require.Len(t, w.Trees[0].Streams, 2)
	require.Zero(t, w.Skipped)
}

func TestIdleGapsAreCutAlike(t *testing.T) {
	w, err := Load(write(t, "w.json", wekaText(17)), Options{IdleGap: 4})
	require.NoError(t, err)
	s := w.Trees[0].Streams
	require.Equal(t, []time.Duration{0, 4 * time.Second, 12 * time.Second}, s[0].Starts[:3])
	require.Equal(t, 4*time.Second, s[0].Starts[3]-s[0].Starts[2])
	require.Equal(t, []time.Duration{6 * time.Second, 9 * time.Second}, s[1].Starts)
	require.Equal(t, 6*time.Second, w.Trees[0].Branches[0].Start)
}

// Every prompt of a stream has the recorded length, ends on the user, and
// shares with the one before what the recorded blocks share.
func checkTrees(t *testing.T, trees []*tree.Tree) {
	for _, tr := range trees {
		for i := range tr.Streams {
			for k := range tr.Streams[i].Conv.Turns {
				turn := &tr.Streams[i].Conv.Turns[k]
				n := 0
				for _, m := range turn.Messages {
					for _, f := range m.Fill {
						n += f.Tokens
					}
				}
				require.Equal(t, turn.InputTokens, n, "%s turn %d", tr.Streams[i].Conv.ID, k)
				require.Equal(t, "user", turn.Messages[len(turn.Messages)-1].Role)
				require.LessOrEqual(t, turn.CacheHits, turn.CacheBlocks)
			}
		}
	}
}

func TestExcerpts(t *testing.T) {
	w, err := Load("testdata/trace_0026.json.gz", Options{})
	require.NoError(t, err)
	checkTrees(t, w.Trees)
	require.Equal(t, 3, w.Trees[0].Requests())
	w, err = Load("testdata/mooncake.jsonl", Options{})
	require.NoError(t, err)
	require.Len(t, w.Conversations, 40)
	require.Equal(t, 6758, promptTokens(&w.Conversations[0].Turns[0]))
	w, err = Load("testdata/azure.csv", Options{})
	require.NoError(t, err)
	require.Len(t, w.Conversations, 59)
	require.Equal(t, 52*time.Millisecond, *w.Conversations[1].Turns[0].At)
	require.Equal(t, 3180, promptTokens(&w.Conversations[1].Turns[0]))
}

// The whole public traces, where FLEETUNE_TRACES names their folder.
func TestWholeTraces(t *testing.T) {
	dir := os.Getenv("FLEETUNE_TRACES")
	if dir == "" {
		t.Skip("FLEETUNE_TRACES is not set")
	}
	for name, want := range map[string]int{
		"mooncake_conversation.jsonl.gz": 12031, "mooncake_synthetic.jsonl.gz": 3993,
		"azure_2023_code.csv.gz": 8819, "azure_2023_conv.csv.gz": 19366,
	} {
		w, err := Load(filepath.Join(dir, name), Options{})
		require.NoError(t, err)
		require.Equal(t, want, len(w.Conversations)+w.Skipped, name)
		hits, blocks := 0, 0
		for _, c := range w.Conversations {
			hits, blocks = hits+c.Turns[0].CacheHits, blocks+c.Turns[0].CacheBlocks
		}
		switch name { // the ideal hit rates that the trace's own users found
		case "mooncake_conversation.jsonl.gz":
			require.InDelta(t, 36.6, 100*float64(hits)/float64(blocks), 0.1)
		case "mooncake_synthetic.jsonl.gz":
			require.InDelta(t, 64.0, 100*float64(hits)/float64(blocks), 0.1)
		}
	}
	w, err := Load(filepath.Join(dir, "agentic"), Options{})
	require.NoError(t, err)
	require.Len(t, w.Trees, 27)
	checkTrees(t, w.Trees)
	agents, onNext := 0, 0
	for _, tr := range w.Trees {
		for _, b := range tr.Branches {
			agents += len(b.Children)
			if b.Join == b.Spawn+1 {
				onNext += len(b.Children)
			}
		}
	}
	t.Log(w.Notes, agents, "sub-agents,", onNext, "join at the turn after their spawn")
	require.Greater(t, onNext*10, agents*7)
}

func TestLimits(t *testing.T) {
	path := write(t, "in", `{"input_length":5,"output_length":1}`+"\n"+`{"input_length":50,"output_length":1}`+"\n"+`{"input_length":6,"output_length":1}`)
	w, err := Load(path, Options{MaxInput: 10, Limit: 1})
	require.NoError(t, err)
	require.Len(t, w.Conversations, 1)
	require.Equal(t, 1, w.Skipped)
}

// A prompt woven of random blocks always has its recorded length.
func TestWovenPromptsHaveTheirLength(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 5).Draw(t, "block")
		n := rapid.IntRange(1, 8).Draw(t, "requests")
		var requests []*wekaRequest
		for range n {
			ids := rapid.SliceOfN(rapid.Int64Range(0, 3), 0, 6).Draw(t, "ids")
			in := max(1, len(ids)*size+rapid.IntRange(0, size-1).Draw(t, "tail"))
			requests = append(requests, &wekaRequest{In: in, Out: rapid.IntRange(0, 20).Draw(t, "out"), HashIDs: ids})
		}
		w := &weaver{size: size, models: map[string]int{}}
		c, starts := w.stream("x", requests, rapid.IntRange(0, 20).Draw(t, "system"), func(r *wekaRequest) float64 { return r.T })
		require.Len(t, starts, n)
		for k := range c.Turns {
			turn := &c.Turns[k]
			require.Equal(t, requests[k].In, promptTokens(turn))
			require.Equal(t, "user", turn.Messages[len(turn.Messages)-1].Role)
			for i := 1; i < len(turn.Messages); i++ {
				require.NotEqual(t, "system", turn.Messages[i].Role)
			}
		}
	})
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(`{"text":"hello","delay":5}`), 0)
	f.Add([]byte(`{"timestamp":0,"input_length":700,"output_length":5,"hash_ids":[1,2]}`), 2)
	f.Add([]byte(dagCycle), 8)
	f.Add([]byte(wekaText(17)), 7)
	f.Add([]byte("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n"), 6)
	f.Add([]byte(`[{"id":"a","conversations":[{"value":"how are you today my friend"},{"value":"very well thank you dear"}]}]`), 4)
	f.Add([]byte(`{"chat_id":5,"parent_chat_id":-1,"timestamp":1.5,"input_length":20,"turn":1,"hash_ids":[1,2]}`), 3)
	f.Add([]byte(`{"data":[{"session_id":"s","payloads":[{"messages":[{"role":"user","content":"a"}]}]}]}`), 10)
	f.Add([]byte(`{"text":"a","images":["u"]}`), 11)
	f.Add([]byte(`{"timestamp_start_unix_ms":5000,"input_tokens":9,"output_tokens":3,"total_hashes":[1,2],"block_size":8,"poor_man_session_id":7}`), 12)
	f.Fuzz(func(t *testing.T, data []byte, format int) {
		longer, shorter := 1.5, 0.5
		opt := Options{Format: Formats()[uint(format)%uint(len(Formats()))], Counter: token.Bytes{}}
		for _, opt.Synthesis = range []Synthesis{{}, {PrefixLength: &longer, PromptLength: &shorter}, {Roots: 2, OutputLength: &longer, MaxOutput: 9}} {
			loadFuzzed(t, data, opt)
		}
	})
}

func loadFuzzed(t *testing.T, data []byte, opt Options) {
	w, err := Decode([]File{{"in", data}}, opt)
	if err != nil {
		return
	}
	for _, tr := range w.Trees {
		require.NoError(t, tr.Validate())
	}
	_, _ = Detect(data)
}
