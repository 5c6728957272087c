package records_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/fleetune/fleetune/manager/records"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func parse(t testing.TB, text string) records.Facts {
	t.Helper()
	var f records.Facts
	require.NoError(t, json.Unmarshal([]byte(text), &f), text)
	return f
}

func withWorkload(f records.Facts) string {
	k := keyOf("A100")
	k.Workload = f
	return k.Digest()
}

// What means the same has one digest, what does not has another.
func TestCanonicalForm(t *testing.T) {
	same := []string{`{"m":4096,"n":[1,2.5],"fast":true}`, `{"fast": true, "n": [1.0, 25e-1], "m": 4.096e3}`, `{"n":[1,2.50],"m":4096.0,"fast":true}`}
	for _, text := range same {
		require.Equal(t, withWorkload(parse(t, same[0])), withWorkload(parse(t, text)), text)
	}
	seen := map[string]string{}
	for _, text := range []string{`{}`, `{"m":1}`, `{"m":"1"}`, `{"m":true}`, `{"m":null}`, `{"m":[1]}`, `{"m":1.5}`, `{"m":-1}`, `{"n":1}`,
		`{"m":[1,2]}`, `{"m":[2,1]}`, `{"m":"1,2"}`, `{"m":9007199254740993}`, `{"m":9007199254740992}`, `{"m":""}`, `{"m":[]}`, `{"m":["1"]}`} {
		d := withWorkload(parse(t, text))
		require.Empty(t, seen[d], text)
		seen[d] = text
	}
	for _, text := range []string{`{"m":{}}`, `{"m":[[1]]}`, `{"m":[null]}`, `{"m":1e999}`, `[]`, `{"m":[{}]}`} {
		var f records.Facts
		require.Error(t, json.Unmarshal([]byte(text), &f), text)
	}
}

// A fact moved from one group to another is another key, and so is any change.
func TestEveryGroupIsPartOfTheKey(t *testing.T) {
	seen := map[string]bool{keyOf("A100").Digest(): true}
	for name, change := range map[string]func(*records.Key){
		"name":        func(k *records.Key) { k.Operation.Name = "conv" },
		"version":     func(k *records.Key) { k.Operation.Version = "2" },
		"runner":      func(k *records.Key) { k.Operation.Runner = "command:2" },
		"extras":      func(k *records.Key) { k.Operation.Extras = records.Facts{"layout": "4x8"} },
		"no extras":   func(k *records.Key) { k.Operation.Extras = nil },
		"workload":    func(k *records.Key) { k.Workload = records.Facts{"m": int64(1024)} },
		"moved":       func(k *records.Key) { k.Workload["layout"] = "8x4"; k.Operation.Extras = nil },
		"environment": func(k *records.Key) { k.Environment[records.FactDriver] = nil },
		"measurement": func(k *records.Key) { k.Measurement["repeats"] = int64(6) },
	} {
		k := keyOf("A100")
		change(&k)
		require.False(t, seen[k.Digest()], name)
		seen[k.Digest()] = true
	}
}

func fact(t *rapid.T, name string, lists bool) any {
	kinds := 5
	if lists {
		kinds = 6
	}
	switch rapid.IntRange(1, kinds).Draw(t, name+" kind") {
	case 1:
		return rapid.String().Draw(t, name)
	case 2:
		return rapid.Int64().Draw(t, name)
	case 3:
		return rapid.Float64().Draw(t, name)
	case 4:
		return rapid.Bool().Draw(t, name)
	case 5:
		if lists {
			return nil
		}
		return ""
	default:
		n := rapid.IntRange(0, 3).Draw(t, name+" length")
		out := make([]any, n)
		for i := range out {
			out[i] = fact(t, fmt.Sprint(name, i), false)
		}
		return out
	}
}

// The canonical form is a fixed point: written, read and written again it is
// the same text, whatever it held.
func TestCanonicalFormIsStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := records.Facts{}
		for _, name := range rapid.SliceOfNDistinct(rapid.String(), 0, 5, rapid.ID).Draw(t, "names") {
			name = strings.ToValidUTF8(name, "?")
			f[name] = fact(t, name, true)
		}
		once, err := f.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		var again records.Facts
		if err := json.Unmarshal(once, &again); err != nil {
			t.Fatalf("%s: %v", once, err)
		}
		twice, err := again.MarshalJSON()
		if err != nil || string(once) != string(twice) {
			t.Fatalf("%s then %s (%v)", once, twice, err)
		}
		if withWorkload(f) != withWorkload(again) {
			t.Fatalf("%s changes its digest", once)
		}
	})
}

func TestFactsAsTyped(t *testing.T) {
	for text, want := range map[string]any{"4096": int64(4096), "0.5": 0.5, "true": true, "fp16": "fp16", `"16"`: "16", "[1,2]": []any{int64(1), int64(2)},
		"": "", "8x4": "8x4", "null": "null", "{}": "{}", "1 2": "1 2", "NVIDIA H100": "NVIDIA H100", "*": "*"} {
		require.Equal(t, want, records.ParseFact(text), text)
	}
	require.Equal(t, "550.10", records.ParsePlace(records.FactDriver, "550.10"), "a version is no number")
	require.Equal(t, int64(2), records.ParsePlace(records.FactDevices, "2"))
}
