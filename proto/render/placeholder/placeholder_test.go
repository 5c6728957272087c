package placeholder

import (
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for template, want := range map[string][]Segment{
		"":                     nil,
		"plain":                {{Text: "plain"}},
		"{{a}}":                {{Name: "a"}},
		"x{{ a }}y":            {{Text: "x"}, {Name: "a", Offset: 1}, {Text: "y", Offset: 8}},
		"{{a}}{{b}}":           {{Name: "a"}, {Name: "b", Offset: 5}},
		"{{a:-1}}":             {{Name: "a", Text: "1", Fallback: true}},
		"{{a:-}}":              {{Name: "a", Fallback: true}},
		"{{a.b-c_9}}":          {{Name: "a.b-c_9"}},
		"{{!a}}":               {{Text: "{{a}}"}},
		"<{{ !a }}>":           {{Text: "<{{ a }}>"}},
		"{{! a comment }}":     {{Text: "{{! a comment }}"}},
		"{{1, 2}, {3, 4}}":     {{Text: "{{1, 2}, {3, 4}}"}},
		"{{ }} {{}} {{9}} {a}": {{Text: "{{ }} {{}} {{9}} {a}"}},
		"{{{a}}}":              {{Text: "{"}, {Name: "a", Offset: 1}, {Text: "}", Offset: 6}},
		"{{a\n}}":              {{Text: "{{a\n}}"}},
		"{{ü}}":                {{Text: "{{ü}}"}},
	} {
		if got := Parse(template); !slices.Equal(got, want) {
			t.Errorf("%q: %+v, want %+v", template, got, want)
		}
	}
}

func TestNames(t *testing.T) {
	if got := Names("{{b}} {{a}} {{b:-2}} {{!c}}"); !slices.Equal(got, []string{"b", "a"}) {
		t.Errorf("names are %v", got)
	}
}

// Whatever the template, nothing of it is lost: literals and the source text
// of the placeholders between them make it up again.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"a{{b}}c", "{{!x}}{{x:-y}}", "{{{{a}}}}", "{{ a:-{}}", "}}{{", "{{a:-b:-c}}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, template string) {
		segments := Parse(template)
		end, literal := 0, ""
		for i, s := range segments {
			if s.Offset < end || s.Offset > len(template) {
				t.Fatalf("segment %d of %q is at %d, before %d", i, template, s.Offset, end)
			}
			end = s.Offset
			if s.Name == "" {
				literal += s.Text
			} else if !strings.Contains(template[s.Offset:], s.Name) {
				t.Fatalf("%q does not hold %q", template, s.Name)
			}
		}
		if len(Names(template)) == 0 && !strings.Contains(template, "{{!") && !strings.Contains(template, "!") && literal != template {
			t.Fatalf("%q became %q", template, literal)
		}
	})
}
