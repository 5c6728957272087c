package space_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fleetune/fleetune/proto/space"
)

func tiles() space.Space {
	return space.Space{
		Parameters: []space.Parameter{
			{Name: "tile_m", Type: space.Choice, Values: []any{int64(16), int64(32), int64(64)}},
			{Name: "tile-n", Type: space.Integer, Low: 8, High: 64, Step: 8},
			{Name: "algo", Type: space.Choice, Values: []any{"direct", "fft"}},
			{Name: "radix", Type: space.Choice, Values: []any{int64(2), int64(4)}, When: `algo == "fft"`},
			{Name: "fraction", Type: space.Continuous, Low: 0.1, High: 0.5, Step: 0.1},
			{Name: "fast", Type: space.Boolean},
			{Name: "limit", Type: space.Choice, Values: []any{"none", int64(8), true}},
		},
		Constraints: []string{"tile_m * tile_n <= 1024", "radix == 2 or fast"},
	}
}

func TestExpressionMeaning(t *testing.T) {
	point := space.Point{"tile_m": 32, "tile-n": 24, "algo": "fft", "radix": 4, "fraction": 0.3, "fast": true, "limit": "none"}
	for text, want := range map[string]bool{
		"tile_m % 32 == 0":                          true,
		"tile_m / 64 == 0.5":                        true,
		"floor(7 / 2) == 3 and -7 % 4 == 1":         true,
		"tile_m % 0 == 0":                           false,
		"tile_m % 0 != 0":                           false,
		"16 <= tile_m < 33":                         true,
		"tile_m in [16, 32] and tile_n not in [24]": false,
		`algo != "fft" or radix == 4`:               true,
		`limit == "none" and limit != 8`:            true,
		"limit == true":                             false,
		"fast ? tile_m > 1 : tile_m > 100":          true,
		"max(tile_m, tile_n) == 32 && not fast":     false,
		"pow(2, 5) == tile_m && 2 ** 5 == tile_m":   true,
		"log2(tile_m) == 5 and abs(-fraction) > 0":  true,
		"fraction == 0.3":                           true,
		"32 % ((tile_m * tile_n) / 24) == 0":        true,
	} {
		s := tiles()
		s.Constraints = []string{text}
		c, err := space.Compile(s)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := c.Contains(point) == nil; got != want {
			t.Errorf("%s is %v, want %v", text, got, want)
		}
	}
}

// TestQuantities reads from constraints what they compute from several
// parameters: the largest parts, each once, quotients for remainders.
func TestQuantities(t *testing.T) {
	s := space.Space{Constraints: []string{
		"32 <= a * b <= 1024", "a * b + 1 < 2048 or c == 1", "64 % ((a * b) / c) == 0", "b % (a * c) == 0",
		"a < 8", "2 * c > 1", "max(a * c, b) < 100", "c == 1 ? a + b < 9 : true", "(a + 2) * (b + 2) < 1000",
	}}
	for _, name := range []string{"a", "b", "c"} {
		s.Parameters = append(s.Parameters, space.Parameter{Name: name, Type: space.Integer, Low: 1, High: 64})
	}
	c, err := space.Compile(s)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{"a * b": 8, "a * b + 1": 9, "(64) / (a * b / c)": 32, "(b) / (a * c)": 0.5, "a * c": 8, "a + b": 6, "(a + 2) * (b + 2)": 24}
	for _, q := range c.Quantities() {
		value, ok := want[q.Source()]
		if !ok || q.Value([]float64{2, 4, 4}) != value || len(q.Params()) < 2 {
			t.Errorf("%q of %v is %v, want %v", q.Source(), q.Params(), q.Value([]float64{2, 4, 4}), value)
		}
		delete(want, q.Source())
	}
	if len(want) > 0 {
		t.Errorf("not found: %v", want)
	}
}

func TestCheckNamesTheMistake(t *testing.T) {
	for _, test := range []struct {
		change func(*space.Space)
		want   string
	}{
		{func(s *space.Space) { s.Constraints = []string{"tile_k < 2"} }, `constraints[0]: no parameter is named "tile_k" (nearest is "tile_m")`},
		{func(s *space.Space) { s.Constraints = []string{"cel(tile_m) < 2"} }, `constraints[0]: no function is named "cel" (nearest is "ceil")`},
		{func(s *space.Space) { s.Constraints = []string{"tile_m + 1"} }, "constraints[0]: the expression gives a number, not true or false"},
		{func(s *space.Space) { s.Constraints = []string{"algo < 1"} }, "constraints[0]: < needs numbers, and algo is a text"},
		{func(s *space.Space) { s.Constraints = []string{"algo == 1"} }, "constraints[0]: a text and a number are never equal"},
		{func(s *space.Space) { s.Constraints = []string{"tile_m // 2 == 1"} }, `constraints[0]: "//" is not an operator: write floor(a / b) for integer division`},
		{func(s *space.Space) { s.Constraints = []string{"len([1]) == 1"} }, `constraints[0]: no function is named "len"`},
		{func(s *space.Space) { s.Constraints = []string{"(1 < 2"} }, "constraints[0]: unexpected token"},
		{func(s *space.Space) { s.Constraints = []string{" "} }, "constraints[0]: the expression is empty"},
		{func(s *space.Space) { s.Constraints = []string{"pow(1) > 1"} }, "constraints[0]: pow takes 2 arguments, not 1"},
		{func(s *space.Space) { s.Constraints = []string{strings.Repeat("(", 300)} }, "constraints[0]: the expression is nested too deep"},
		{func(s *space.Space) { s.Constraints = []string{"1" + strings.Repeat("+1", 600) + " > 0"} }, "constraints[0]: the expression is too large"},
		{func(s *space.Space) { s.Constraints = []string{"algo matches 'f'"} }, `constraints[0]: the operator "matches" is not allowed`},
		{func(s *space.Space) { s.Constraints = []string{"any(1..9, {# > 1})"} }, "constraints[0]: "},
		{func(s *space.Space) { s.Constraints = []string{"tile_m in 1..1000000000"} }, "constraints[0]: the right side of in must be a list"},
		{func(s *space.Space) { s.Parameters[3].When = "fast" }, `conditions.radix: "fast" must stand before`},
		{func(s *space.Space) { s.Parameters[1].Low = 100 }, "parameters.tile-n.low: low 100 is above high 64"},
		{func(s *space.Space) { s.Parameters[1].Low = 0.5 }, "parameters.tile-n.low: 0.5 is not a whole number"},
		{func(s *space.Space) { s.Parameters[1].Low, s.Parameters[1].Log = 0, true }, "parameters.tile-n.low: a log parameter needs a low above 0, not 0"},
		{func(s *space.Space) { s.Parameters[1].Step = -1 }, "parameters.tile-n.step: the step -1 is below 0"},
		{func(s *space.Space) { s.Parameters[1].Step = 1000 }, "parameters.tile-n.step: the step 1000 is wider"},
		{func(s *space.Space) { s.Parameters[4].High = math.Inf(1) }, "parameters.fraction.high: +Inf is not a finite number"},
		{func(s *space.Space) { s.Parameters[0].Values = nil }, "parameters.tile_m.values: a choice needs at least one value"},
		{func(s *space.Space) { s.Parameters[0].Values = []any{int64(1), 1.0} }, "parameters.tile_m.values[1]: 1 stands in the list already, at 0"},
		{func(s *space.Space) { s.Parameters[0].Values = []any{nil} }, "parameters.tile_m.values[0]: a value is a number"},
		{func(s *space.Space) { s.Parameters[0].Low = 1 }, "parameters.tile_m.low: a choice has no low"},
		{func(s *space.Space) { s.Parameters[0].Type = "integr" }, `parameters.tile_m.type: "integr" is not a type; the types are choice, integer, continuous and boolean (nearest is "integer")`},
		{func(s *space.Space) { s.Parameters[0].Name = "algo" }, "parameters.algo: the parameter is defined twice"},
		{func(s *space.Space) { s.Parameters[0].Name = "tile_n" }, `parameters.tile-n: "tile_n" and "tile-n" would both be written tile_n`},
		{func(s *space.Space) { s.Parameters[0].Name = "max" }, `parameters.max: "max" means something else`},
		{func(s *space.Space) { s.Parameters[0].Name = "1st" }, "parameters.1st: a name starts with a letter"},
		{func(s *space.Space) { s.Parameters[0].Name = "" }, "parameters[0]: the parameter has no name"},
	} {
		s := tiles()
		test.change(&s)
		issues := s.Check()
		if len(issues) == 0 {
			t.Errorf("no issue, want %s", test.want)
			continue
		}
		if got := issues[0].Error(); !strings.HasPrefix(got, test.want) {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
	}
	if issues := tiles().Check(); len(issues) != 0 {
		t.Errorf("a valid space has issues: %v", issues)
	}
}

func TestNormalizeGivesTheDomainsTypes(t *testing.T) {
	got, err := tiles().Normalize(space.Point{"tile_m": 16.0, "tile-n": 8.0, "algo": "fft", "radix": 2.0, "fraction": 0.30000000000000004, "fast": false, "limit": true})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"tile_m":16,"tile-n":8,"algo":"fft","radix":2,"fraction":0.3,"fast":false,"limit":true}`
	if key := tiles().Key(got); key != want {
		t.Errorf("key %s, want %s", key, want)
	}
	if _, ok := got["tile-n"].(int64); !ok {
		t.Errorf("tile-n is %T", got["tile-n"])
	}
	for change, want := range map[string]func(space.Point){
		"tile_m: 17 is not one of the values":                                 func(p space.Point) { p["tile_m"] = 17 },
		"tile-n: 9 is not 8 plus a multiple of 8":                             func(p space.Point) { p["tile-n"] = 9 },
		"fraction: 0.6 is outside 0.1 to 0.5":                                 func(p space.Point) { p["fraction"] = 0.6 },
		`fraction: "x" is not a number`:                                       func(p space.Point) { p["fraction"] = "x" },
		"fast is missing":                                                     func(p space.Point) { delete(p, "fast") },
		`no parameter is named "fastt" (nearest is "fast")`:                   func(p space.Point) { p["fastt"] = 1 },
		`radix does not exist here: its condition "algo == \"fft\"" is false`: func(p space.Point) { p["algo"] = "direct" },
	} {
		p := space.Point{}
		for k, v := range got {
			p[k] = v
		}
		want(p)
		if _, err := tiles().Normalize(p); err == nil || err.Error() != change {
			t.Errorf("got %v, want %s", err, change)
		}
	}
}

func TestConstraintOnAnAbsentParameterHolds(t *testing.T) {
	p := space.Point{"tile_m": 16, "tile-n": 8, "algo": "direct", "fraction": 0.1, "fast": false, "limit": 8}
	if err := tiles().Contains(p); err != nil {
		t.Error(err)
	}
	p["algo"], p["radix"] = "fft", 4
	if err := tiles().Contains(p); err == nil {
		t.Error("radix 4 without fast was accepted")
	}
}

func TestJSONKeepsTypes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.OneOf(rapid.Int64().AsAny(), rapid.Float64().AsAny(), rapid.String().AsAny(), rapid.Bool().AsAny())
		p := space.Point(rapid.MapOf(rapid.String(), value).Draw(t, "point"))
		data, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var back space.Point
		if err := json.Unmarshal(data, &back); err != nil {
			t.Fatal(err)
		}
		for name, v := range p {
			if back[name] != v && v != strings.ToValidUTF8(back[name].(string), "") {
				t.Fatalf("%s: %T %v became %T %v", name, v, v, back[name], back[name])
			}
		}
		param := space.Parameter{Name: "p", Type: space.Choice, Values: []any{int64(1), 2.0, "x", true}}
		data, err = json.Marshal(param)
		if err != nil {
			t.Fatal(err)
		}
		var again space.Parameter
		if err := json.Unmarshal(data, &again); err != nil {
			t.Fatal(err)
		}
		for i, v := range param.Values {
			if again.Values[i] != v {
				t.Fatalf("%v became %v in %s", v, again.Values[i], data)
			}
		}
	})
}

func TestRankAndValueAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		low := float64(rapid.IntRange(-1000, 1000).Draw(t, "low")) / 10
		step := float64(rapid.IntRange(1, 50).Draw(t, "step")) / 100
		n := rapid.IntRange(1, 200).Draw(t, "n")
		p := space.Parameter{Name: "p", Type: space.Continuous, Low: low, High: low + float64(n)*step, Step: step}
		d := p.Domain()
		if d.Size() != float64(n+1) {
			t.Fatalf("size %v, want %d", d.Size(), n+1)
		}
		for rank := range n + 1 {
			got, err := d.Rank(d.Value(float64(rank)))
			if err != nil || got != float64(rank) {
				t.Fatalf("rank %d came back as %v, %v", rank, got, err)
			}
		}
	})
}

func FuzzExpression(f *testing.F) {
	for _, text := range []string{
		"tile_m * tile_n <= 4096", `algo == "fft" and radix in [2, 4]`, "16 <= tile_m % 32 < 64", "fast ? 1 < 2 : false",
		"not fast or max(tile_m, 2, fraction) > log2(8)", "limit == 'none'", "((((1))))==1", "a // b", "1..9", "let x = 1; x > 0",
		"{\"a\": 1}.a == 1", "tile_m |> floor() == 1", "`x` == algo", "0x1F == 31", "1e308*10 > 1", "$env == 1", "len(algo) > 1",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s := tiles()
		s.Constraints = []string{text}
		c, err := space.Compile(s)
		if err != nil {
			return
		}
		// A compiled expression must evaluate on any point without a panic.
		_ = c.Contains(space.Point{"tile_m": 16, "tile-n": 8, "algo": "fft", "radix": 2, "fraction": 0.1, "fast": true, "limit": "none"})
		_ = c.Contains(space.Point{"tile_m": 16, "tile-n": 8, "algo": "direct", "fraction": 0.1, "fast": true, "limit": 8})
	})
}
