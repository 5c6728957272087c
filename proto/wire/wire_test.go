package wire

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write the golden messages anew")
	flag.Parse()
	os.Exit(m.Run())
}

// messages lists every type of this package.
func messages() map[string]any {
	return map[string]any{
		"Offer": &Offer{}, "Claim": &Claim{}, "ClaimItem": &ClaimItem{}, "ClaimReply": &ClaimReply{}, "Grant": &Grant{},
		"Beat": &Beat{}, "Held": &Held{}, "BeatReply": &BeatReply{}, "Queue": &Queue{}, "Report": &Report{},
		"Confirm": &Confirm{}, "Attempted": &Attempted{}, "Control": &Control{}, "Hint": &Hint{}, "Fetch": &Fetch{},
		"FetchReply": &FetchReply{}, "LogChunk": &LogChunk{},
		"LoadCall": &LoadCall{}, "LoadClock": &LoadClock{}, "LoadProgress": &LoadProgress{},
		"LoadPart": &LoadPart{}, "LoadReply": &LoadReply{}, "Fidelity": &Fidelity{}, "Progress": &Progress{}, "Enough": &Enough{},
	}
}

func TestEveryTypeIsTested(t *testing.T) {
	packages, err := filepath.Glob("*.go")
	require.NoError(t, err)
	var types []string
	for _, file := range packages {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		require.NoError(t, err)
		ast.Inspect(tree, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok && spec.Name.IsExported() {
				types = append(types, spec.Name.Name)
			}
			return true
		})
	}
	slices.Sort(types)
	require.Equal(t, types, slices.Sorted(maps.Keys(messages())))
}

// fill sets every field of a message to a value made from its name, so that a
// new field changes no other's.
func fill(v reflect.Value, name string) {
	var n int64
	for _, c := range name {
		n += int64(c) % 50
	}
	switch v.Interface().(type) {
	case uuid.UUID:
		v.Set(reflect.ValueOf(uuid.NewSHA1(uuid.NameSpaceOID, []byte(name))))
		return
	case time.Time:
		v.Set(reflect.ValueOf(time.Date(2026, 1, 2, 3, 4, int(n%60), 5_000_000, time.UTC)))
		return
	case json.RawMessage:
		v.Set(reflect.ValueOf(json.RawMessage(`{"argv":["a"]}`)))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(name)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(n)
	case reflect.Uint8, reflect.Uint64:
		v.SetUint(uint64(n))
	case reflect.Float64:
		v.SetFloat(float64(n) + 0.5)
	case reflect.Interface:
		v.Set(reflect.ValueOf(n))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), name)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), name)
	case reflect.Map:
		item := reflect.New(v.Type().Elem()).Elem()
		fill(item, name)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("key").Convert(v.Type().Key()), item)
	case reflect.Struct:
		for i := range v.NumField() {
			if field := v.Type().Field(i).Name; field == "Version" && v.Field(i).CanInt() {
				v.Field(i).SetInt(Version)
			} else {
				fill(v.Field(i), strings.ToLower(field))
			}
		}
	default:
		panic("no value for " + v.Type().String())
	}
}

func filled(name string) any {
	message := messages()[name]
	fill(reflect.ValueOf(message).Elem(), name)
	return message
}

// The bytes of version 1. A change here is a change on the wire: a worker and a
// manager of neighbouring versions must still understand each other.
func TestGoldenMessages(t *testing.T) {
	for name := range messages() {
		t.Run(name, func(t *testing.T) {
			want := filled(name)
			text, err := json.Marshal(want)
			require.NoError(t, err)
			path := filepath.Join("testdata", "v1", name+".json")
			if flag.Lookup("update").Value.String() == "true" {
				require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
				require.NoError(t, os.WriteFile(path, append(text, '\n'), 0o644))
			}
			golden, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, string(golden), string(text)+"\n")

			got := messages()[name]
			require.NoError(t, json.Unmarshal(golden, got))
			require.Equal(t, want, got)

			newer := bytes.Replace(golden, []byte("{"), []byte(`{"from_a_later_version": {"a": [1]},`), 1)
			got = messages()[name]
			require.NoError(t, json.Unmarshal(newer, got), "an unknown field is ignored")
			require.Equal(t, want, got)

			older := messages()[name]
			require.NoError(t, json.Unmarshal([]byte("{}"), older), "a missing field is its zero value")
			require.Equal(t, messages()[name], older)
		})
	}
}

// Decoding any bytes ends in an error or in a message that is written and read
// again without change.
func FuzzMessages(f *testing.F) {
	names := slices.Sorted(maps.Keys(messages()))
	for i, name := range names {
		text, err := json.Marshal(filled(name))
		require.NoError(f, err)
		f.Add(uint8(i), text)
		f.Add(uint8(i), []byte("{}"))
	}
	f.Add(uint8(slices.Index(names, "Offer")), []byte(`{"parameters":{"a":1.0,"b":1e30,"c":"x","d":false,"e":-0}}`))
	f.Fuzz(func(t *testing.T, kind uint8, data []byte) {
		name := names[int(kind)%len(names)]
		message := messages()[name]
		if json.Unmarshal(data, message) != nil {
			return
		}
		first, err := json.Marshal(message)
		if err != nil {
			t.Fatalf("%s from %q cannot be written: %v", name, data, err)
		}
		again := messages()[name]
		if err := json.Unmarshal(first, again); err != nil {
			t.Fatalf("%s written as %s cannot be read: %v", name, first, err)
		}
		second, err := json.Marshal(again)
		if err != nil || !bytes.Equal(first, second) {
			t.Fatalf("%s written as %s, then as %s: %v", name, first, second, err)
		}
	})
}

func TestSubjects(t *testing.T) {
	id := uuid.MustParse("00000000-0000-4000-8000-000000000001")
	for subject, filters := range map[string][]string{
		WorkSubject("default_any_1", "high", id): {WorkSubjects, QueueSubjects("default_any_1", "high")},
		ReportSubject("w-1"):                     {ReportSubjects},
		ClaimSubject("w-1"):                      {ClaimSubjects},
		BeatSubject("w-1"):                       {BeatSubjects},
		FetchSubject("w-1"):                      {FetchSubjects},
		ProgressSubject("w-1"):                   {ProgressSubjects},
		HintSubject("default_any_1"):             {HintSubjects},
		LogSubject("w-1", id):                    {LogSubjects, ExperimentLogs(id)},
		LoadSubject(id, "w-1"):                   {LoadSubjects, GatherSubject(id), WorkerLoads("w-1")},
	} {
		for _, filter := range filters {
			require.True(t, matches(filter, subject), "%s, %s", filter, subject)
		}
	}
	require.False(t, matches(QueueSubjects("default_any_1", "low"), WorkSubject("default_any_1", "high", id)))
	require.False(t, matches(QueueSubjects("default_any", "high"), WorkSubject("default_any_1", "high", id)))
	require.Equal(t, "fleetune.control.w-1", ControlSubject("w-1"))
	require.Equal(t, "default_any_1_high", ConsumerName("default_any_1", "high"))
}

// matches compares a subject with a filter as the bus does.
func matches(filter, subject string) bool {
	want, got := strings.Split(filter, "."), strings.Split(subject, ".")
	for i, w := range want {
		switch {
		case w == ">":
			return len(got) > i
		case i >= len(got) || w != "*" && w != got[i]:
			return false
		}
	}
	return len(want) == len(got)
}
