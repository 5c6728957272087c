package render

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestEncode(t *testing.T) {
	for _, c := range []struct {
		value                    any
		raw, json, shell, python string
	}{
		{int64(-3), "-3", "-3", "-3", "-3"},
		{2.5, "2.5", "2.5", "2.5", "2.5"},
		{1.0, "1", "1", "1", "1.0"},
		{1e-9, "1e-09", "1e-9", "1e-09", "1e-09"},
		{true, "true", "true", "true", "True"},
		{"plain", "plain", `"plain"`, "plain", `"plain"`},
		{"", "", `""`, "''", `""`},
		{`a "b" <c>`, `a "b" <c>`, `"a \"b\" <c>"`, `'a "b" <c>'`, `"a \"b\" <c>"`},
		{"it's $HOME", "it's $HOME", `"it's $HOME"`, `'it'\''s $HOME'`, `"it's $HOME"`},
		{"a\nb", "a\nb", `"a\nb"`, "'a\nb'", `"a\nb"`},
		{"{{b}}", "{{b}}", `"{{b}}"`, `'{{b}}'`, `"{{b}}"`},
	} {
		for encoding, want := range map[string]string{Raw: c.raw, "": c.raw, JSON: c.json, Shell: c.shell, Python: c.python} {
			if got, err := Encode(c.value, encoding); err != nil || got != want {
				t.Errorf("%v as %q is %q (%v), want %q", c.value, encoding, got, err, want)
			}
		}
	}
	for _, bad := range []any{"a\x00b", "\xff", nil, []int{1}, 3} {
		if got, err := Encode(bad, Raw); err == nil {
			t.Errorf("%#v became %q", bad, got)
		}
	}
	if _, err := Encode(true, "yaml"); err == nil {
		t.Error("an unknown encoding is taken")
	}
}

// What the JSON, shell and Python encoders write is read back unchanged by
// JSON, a shell and Python.
func TestEncodeRoundTrip(t *testing.T) {
	text := rapid.StringMatching(`[^\x00]{0,20}`)
	rapid.Check(t, func(t *rapid.T) {
		s := text.Draw(t, "text")
		encoded, err := Encode(s, JSON)
		if err != nil {
			t.Fatal(err)
		}
		var back string
		if err := json.Unmarshal([]byte(encoded), &back); err != nil || back != s {
			t.Fatalf("%q came back as %q (%v)", s, back, err)
		}
	})
	samples := []string{"", "a b", "it's", `\`, "$(x) `y`", "-n", "*", "ü\n\t", "~", "a;b|c&d", "#", "\u2028"}
	for encoding, program := range map[string][]string{Shell: {"sh", "-c"}, Python: {"python3", "-c"}} {
		if _, err := exec.LookPath(program[0]); err != nil {
			t.Logf("no %s here", program[0])
			continue
		}
		for _, s := range samples {
			encoded, err := Encode(s, encoding)
			if err != nil {
				t.Fatal(err)
			}
			script := "printf %s " + encoded
			if encoding == Python {
				script = "import sys; sys.stdout.buffer.write((" + encoded + ").encode())"
			}
			out, err := exec.CommandContext(t.Context(), program[0], program[1], script).Output()
			if err != nil || string(out) != s {
				t.Errorf("%s: %q came back as %q (%v)", encoding, s, out, err)
			}
		}
	}
}

func command() *task.Command {
	return &task.Command{
		Files: []task.File{
			{Path: "config.h", Content: "#define N {{n}}\nint a[1][1] = {{1}};\n", Render: true},
			{Path: "sub/config.py", Content: "name = {{name}}\n", Render: true, Encoding: Python},
			{Path: "data", Source: "./in/data", Executable: true},
		},
		Build:   &task.Step{Argv: []string{"cc", "-O{{n}}", ""}},
		Check:   &task.Step{Argv: []string{"./check", "--out={{EXP_OUTPUT_DIR}}/x"}},
		Run:     task.Step{Argv: []string{"./run", "{{name}}", "{{tile:-none}}", "{{EXP_SEED}}"}},
		Env:     task.Env{Set: map[string]string{"MODE": "m {{n}}", "OUT": "{{EXP_RESULT_PATH}}"}},
		Measure: task.MeasureResultFile,
	}
}

var point = space.Point{"n": int64(2), "name": "it's {{n}}"}

func TestCommand(t *testing.T) {
	r, err := Command(command(), point, map[string][]byte{"in/data": []byte("{{n}}")})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []File{
		{Path: "config.h", Content: []byte("#define N 2\nint a[1][1] = {{1}};\n")},
		{Path: "sub/config.py", Content: []byte("name = \"it's {{n}}\"\n")},
		{Path: "data", Content: []byte("{{n}}"), Executable: true},
	} {
		got := r.Files[i]
		if got.Path != want.Path || string(got.Content) != string(want.Content) || got.Executable != want.Executable {
			t.Errorf("file is %+v (%s), want %+v (%s)", got, got.Content, want, want.Content)
		}
	}
	argv, err := r.Run.Argv.Resolve(map[string]string{"EXP_SEED": "{{name}}"})
	if err != nil || !slices.Equal(argv, []string{"./run", "it's {{n}}", "none", "{{name}}"}) {
		t.Errorf("argv is %q (%v)", argv, err)
	}
	if _, err := r.Run.Argv.Resolve(nil); !errors.Is(err, ErrRender) {
		t.Errorf("a builtin without a value: %v", err)
	}
	golden(t, "preview", r.Preview())
}

// Every error is reported, and all of them at once.
func TestCommandErrors(t *testing.T) {
	c := command()
	c.Files = append(c.Files, task.File{Path: "../up"}, task.File{Path: "/abs"}, task.File{Path: "."},
		task.File{Path: "lost", Source: "lost"}, task.File{Path: "t", Render: true, Content: "{{EXP_SEED}}"},
		task.File{Path: "e", Render: true, Encoding: "xml", Content: "{{n}}"})
	c.Build.Argv = append(c.Build.Argv, "{{EXP_OUTPUT_DIR}}", "{{EXP_RUN_ID}}")
	c.Run.Argv = append(c.Run.Argv, "{{missing}}")
	c.Inputs = &task.Step{}
	_, err := Command(c, space.Point{"n": int64(2), "name": "x\x00", "idle": true, "unused": 1.5}, nil)
	if !errors.Is(err, ErrRender) {
		t.Fatalf("error is %v", err)
	}
	golden(t, "errors", err.Error()+"\n")
}

// A point renders only when it uses exactly the names its templates need.
func TestUsedAndKnown(t *testing.T) {
	names := []string{"a", "b", "c", "d"}
	rapid.Check(t, func(t *rapid.T) {
		given := rapid.SliceOfDistinct(rapid.SampledFrom(names), rapid.ID[string]).Draw(t, "given")
		asked := rapid.SliceOfDistinct(rapid.SampledFrom(names), rapid.ID[string]).Draw(t, "asked")
		p := space.Point{}
		for _, name := range given {
			p[name] = int64(1)
		}
		c := &task.Command{Run: task.Step{Argv: []string{"run"}}}
		for _, name := range asked {
			c.Run.Argv = append(c.Run.Argv, "--"+name+"={{"+name+"}}")
		}
		slices.Sort(given)
		slices.Sort(asked)
		if _, err := Command(c, p, nil); (err == nil) != slices.Equal(given, asked) {
			t.Fatalf("given %v, asked %v: %v", given, asked, err)
		}
	})
}

func TestText(t *testing.T) {
	got, err := Text("#define N {{n}}\n", space.Point{"n": int64(4), "other": true}, Raw)
	if err != nil || got != "#define N 4\n" {
		t.Errorf("text is %q (%v)", got, err)
	}
	if _, err := Text("{{n}}", space.Point{}, Raw); !errors.Is(err, ErrRender) {
		t.Errorf("error is %v", err)
	}
}

func TestProgram(t *testing.T) {
	s, err := Program(task.Step{Argv: []string{"sh", "{{EXP_DIR}}/verify.sh", "{{n}}"}}, space.Point{"n": int64(4), "other": true})
	if err != nil {
		t.Fatal(err)
	}
	argv, err := s.Argv.Resolve(map[string]string{"EXP_DIR": "/x"})
	if err != nil || !slices.Equal(argv, []string{"sh", "/x/verify.sh", "4"}) {
		t.Errorf("argv is %q (%v)", argv, err)
	}
	for _, argv := range [][]string{nil, {"{{m}}"}, {"{{EXP_SEED}}"}} {
		if _, err := Program(task.Step{Argv: argv}, space.Point{}); !errors.Is(err, ErrRender) {
			t.Errorf("%v: error is %v", argv, err)
		}
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != strings.ReplaceAll(string(want), "\r\n", "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
