package result

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
)

const good = `{"schema": 1, "run_id": "r1", "correct": true,
 "checks": [{"name": "shape", "ok": true}],
 "metrics": {"time_ms": {"unit": "ms", "samples": [1.5, 2]}}}`

var expected = Expectation{RunID: "r1", Samples: 2, Metrics: []string{"time_ms"}}

func TestDecode(t *testing.T) {
	f, err := Decode([]byte(good), expected)
	if err != nil {
		t.Fatal(err)
	}
	m := f.Metrics["time_ms"]
	if !f.Correct || len(f.Checks) != 1 || f.Checks[0].Name != "shape" || m.Unit != "ms" || !reflect.DeepEqual(m.Samples, []float64{1.5, 2}) {
		t.Errorf("decoded %+v", f)
	}
}

// Every way in which a file can break the contract has an error that says how.
func TestDecodeRefuses(t *testing.T) {
	edit := func(old, with string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("no %q in the good file", old)
		}
		return strings.Replace(good, old, with, 1)
	}
	for name, c := range map[string]struct{ text, message string }{
		"empty":                {"", "not JSON"},
		"not an object":        {"[1]", "not a JSON object"},
		"truncated":            {good[:len(good)-1], "not JSON"},
		"two objects":          {good + "{}", "something follows"},
		"schema missing":       {edit(`"schema": 1, `, ""), `"schema" is missing`},
		"other schema":         {edit(`"schema": 1`, `"schema": 2`), "schema is 2"},
		"schema as text":       {edit(`"schema": 1`, `"schema": "1"`), `"schema"`},
		"other run":            {edit(`"r1"`, `"r2"`), "run_id"},
		"run missing":          {edit(`"run_id": "r1", `, ""), `"run_id" is missing`},
		"correct missing":      {edit(`"correct": true,`, ""), `"correct" is missing`},
		"correct null":         {edit(`true,`, "null,"), `"correct" is null`},
		"correct as text":      {edit(`true,`, `"true",`), `"correct"`},
		"key in other case":    {edit(`"correct"`, `"Correct"`), `"Correct" is not part`},
		"unknown key":          {edit(`"schema"`, `"speedup": 9, "schema"`), `"speedup" is not part`},
		"key twice":            {edit(`"correct": true`, `"correct": false, "correct": true`), "there twice"},
		"metric twice":         {edit(`"time_ms": {`, `"time_ms": {"unit": "ms", "samples": [0, 0]}, "time_ms": {`), "there twice"},
		"metrics missing":      {strings.Split(good, ",\n \"metrics\"")[0] + "}", `"metrics" is missing`},
		"metrics null":         {strings.Split(good, "\"metrics\"")[0] + `"metrics": null}`, `"metrics" is null`},
		"objective missing":    {edit("time_ms", "time_s"), `metric "time_ms"`},
		"too few samples":      {edit("[1.5, 2]", "[1.5]"), "1 samples, 2 are needed"},
		"no samples":           {edit("[1.5, 2]", "[]"), "0 samples, 2 are needed"},
		"NaN":                  {edit("1.5", "NaN"), "not JSON"},
		"beyond a float":       {edit("1.5", "1e400"), "samples"},
		"null sample":          {edit("1.5", "null"), "samples[0] is null"},
		"sample as text":       {edit("1.5", `"1.5"`), "samples"},
		"unit missing":         {edit(`"unit": "ms", `, ""), `"unit" is missing`},
		"metric not an object": {edit(`{"unit": "ms", "samples": [1.5, 2]}`, "[1, 2]"), "not a JSON object"},
		"metric without name":  {edit("time_ms", ""), "empty"},
		"check null":           {edit(`{"name": "shape", "ok": true}`, "null"), "checks[0]"},
		"check without ok":     {edit(`, "ok": true`, ""), `"ok" is missing`},
		"too large":            {good + strings.Repeat(" ", MaxSize), "are allowed"},
		"too many checks":      {edit(`[{"name"`, "["+strings.Repeat(`{"name":"x","ok":true},`, MaxChecks)+`{"name"`), "checks"},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := Decode([]byte(c.text), expected)
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("decoded %+v, error %v", f, err)
			}
			message := c.message
			if strings.HasPrefix(message, "not JSON") {
				message = "" // the wording is the JSON decoder's
			}
			if !strings.Contains(err.Error(), message) {
				t.Errorf("error is %q, want %q in it", err, c.message)
			}
		})
	}
}

// A file that admits trouble needs no metrics.
func TestDecodeAdmission(t *testing.T) {
	for _, text := range []string{
		`{"schema": 1, "run_id": "r1", "correct": false}`,
		`{"schema": 1, "run_id": "r1", "correct": true, "error": "no memory"}`,
	} {
		if f, err := Decode([]byte(text), expected); err != nil || f.Metrics != nil || f.Correct && f.Error == "" {
			t.Errorf("%s: decoded %+v, error %v", text, f, err)
		}
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("good", good)
	write("large", strings.Repeat(" ", MaxSize+1))
	if err := os.Symlink("good", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{"good": nil, "absent": ErrMissing, "large": ErrInvalid, "link": ErrInvalid,
		"fifo": ErrInvalid, ".": ErrInvalid} {
		if _, err := Read(root, name, expected); !errors.Is(err, want) {
			t.Errorf("%s: error %v, want %v", name, err, want)
		}
	}
}

// Whatever the bytes, a file that passes holds what its reader relies on.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{good, `{}`, `{"schema":1,"run_id":"r1","correct":false,"error":"x"}`, `{1:2}`,
		`{"schema":1,"run_id":"r1","correct":true,"metrics":{"time_ms":{"unit":"","samples":[1,1e308,-0]}}}`, "[[[", `{"a":{"a":1}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := Decode(data, expected)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("error %v is not ErrInvalid", err)
			}
			return
		}
		if !got.Correct || got.Error != "" {
			if got.Metrics != nil {
				t.Fatal("metrics of a run that is not correct")
			}
			return
		}
		if _, ok := got.Metrics["time_ms"]; !ok {
			t.Fatal("the objective's metric is missing")
		}
		for name, m := range got.Metrics {
			if len(m.Samples) < expected.Samples {
				t.Fatalf("%s has %d samples", name, len(m.Samples))
			}
			for _, v := range m.Samples {
				if math.IsNaN(v) || math.IsInf(v, 0) {
					t.Fatalf("%s has sample %v", name, v)
				}
			}
		}
	})
}
