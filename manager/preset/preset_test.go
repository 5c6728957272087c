package preset

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func named(name string, parameters string) Preset {
	p := Preset{Name: name}
	if err := json.Unmarshal([]byte(parameters), &p.Parameters); err != nil {
		panic(err)
	}
	return p
}

func text(t require.TestingT, v any) string {
	data, err := json.Marshal(v)
	require.NoError(t, err)
	return string(data)
}

func names(p Parameters) []string {
	var list []string
	for _, parameter := range p {
		list = append(list, parameter.Name)
	}
	return list
}

// The seeds are there, and their grids have the published sizes.
func TestSystemPresets(t *testing.T) {
	sizes := map[string]float64{}
	for _, p := range System() {
		require.True(t, p.System)
		sizes[p.Slug] = p.Parameters.Combinations()
	}
	require.Equal(t, map[string]float64{"memory-efficient": 2, "high-throughput": 2, "low-latency": 2, "balanced": 4,
		"vllm-performance-tuning": 648, "sglang-performance-tuning": 20736}, sizes)
}

func TestMerge(t *testing.T) {
	a := named("A", `{"x": [3, 1], "y": ["p"]}`)
	b := named("B", `{"x": [1, 2, 1.0], "z": [null, true]}`)

	m, err := Merge(Union, a, b)
	require.NoError(t, err)
	require.JSONEq(t, `{"x":[3,1,2],"y":["p"],"z":[null,true]}`, text(t, m.Parameters))
	require.Equal(t, []string{"x", "y", "z"}, names(m.Parameters), "in order of appearance")
	require.Empty(t, m.Conflicts)
	require.Equal(t, []string{"A", "B"}, m.Applied)

	m, err = Merge(Intersection, named("A", `{"x": [3, 2, 1], "y": [1]}`), named("B", `{"y": [2], "x": [1, 3]}`))
	require.NoError(t, err)
	require.JSONEq(t, `{"x":[1,3]}`, text(t, m.Parameters), "sorted")
	require.Equal(t, []Conflict{{Parameter: "y", Reason: "no value is in all presets"}}, m.Conflicts)
	m, err = Merge(Intersection, a, b)
	require.NoError(t, err)
	require.Equal(t, []Conflict{{Parameter: "y", Reason: "B has no such parameter"}, {Parameter: "z", Reason: "A has no such parameter"}}, m.Conflicts)

	m, err = Merge(LastWins, a, b)
	require.NoError(t, err)
	require.JSONEq(t, `{"x":[1,2,1],"y":["p"],"z":[null,true]}`, text(t, m.Parameters))
	require.Len(t, m.Conflicts, 1)
	require.Equal(t, "B", m.Conflicts[0].OverriddenBy)
	require.Equal(t, "[3,1]", text(t, m.Conflicts[0].PreviousValues))

	m, err = Merge("whatever", a)
	require.NoError(t, err, "one preset is itself")
	require.Equal(t, text(t, a.Parameters), text(t, m.Parameters))
	_, err = Merge("whatever", a, b)
	require.ErrorIs(t, err, ErrUnmergeable)
	_, err = Merge(Union)
	require.ErrorIs(t, err, ErrUnmergeable)
}

// A preset's engine is one there is, by its own name.
func TestRuntimeIsAnEngine(t *testing.T) {
	p := named("A", `{"x": [1]}`)
	p.Runtime = "vLLM-small"
	require.NoError(t, p.Check())
	require.Equal(t, "vllm", p.Runtime)
	p.Runtime = "sglng"
	require.ErrorIs(t, p.Check(), ErrInvalid)
	require.ErrorContains(t, p.Check(), `runtime: unknown engine "sglng": did you mean "sglang"?`)
}

// What presets of two engines make together, neither would start with.
func TestMergeIsOfOneEngine(t *testing.T) {
	of := func(name, runtime string) Preset {
		p := named(name, `{"x": [1]}`)
		p.Runtime = runtime
		return p
	}
	plain, a, b := of("Any", ""), of("A", "vllm"), of("B", "sglang")
	for _, strategy := range Strategies() {
		_, err := Merge(strategy, plain, a, plain, b)
		require.ErrorIs(t, err, ErrUnmergeable)
		require.ErrorContains(t, err, "A is for vllm and B for sglang")
		_, err = Merge(strategy, plain, a, a)
		require.NoError(t, err)
	}
}

// Whatever is imported again after an export is what it was; order included.
func TestExportImport(t *testing.T) {
	for _, list := range [][]Preset{System(), System()[:1]} {
		again, err := Import([]byte(text(t, Export(list...))))
		require.NoError(t, err)
		require.Len(t, again, len(list))
		for i := range again {
			require.Equal(t, text(t, list[i].Parameters), text(t, again[i].Parameters))
			require.Equal(t, list[i].Runtime, again[i].Runtime)
			require.False(t, again[i].System)
		}
	}
}

// Every mistake of a file is told at once.
func TestImportRefuses(t *testing.T) {
	_, err := Import([]byte(`{"version":"1.0","presets":[{"name":"!","parameters":{}},{"name":"b","parameters":{"x":[]}},{"name":"c","parameters":{"x y":[1]}}]}`))
	require.ErrorIs(t, err, ErrInvalid)
	for _, part := range []string{"preset 1", "needs a letter", "names nothing", "parameters.x: has no values", "is no name"} {
		require.ErrorContains(t, err, part)
	}
	for _, file := range []string{`{}`, `[]`, `{"preset":{"name":"a","parameters":[1]}}`, `{"preset":{"name":"a","parameters":{"x":[[1]]}}}`} {
		_, err := Import([]byte(file))
		require.ErrorIs(t, err, ErrInvalid, file)
	}
	_, err = Import([]byte("{\n  \"version\": \"1.0\",\n  preset: {}\n}"))
	require.ErrorIs(t, err, ErrInvalid)
	require.ErrorContains(t, err, "line 3")
	require.ErrorContains(t, err, `expected JSON such as {"version"`)
}

// Union and intersection do not depend on the order of the presets, but for
// the order of what they hold.
func TestMergeIsCommutative(t *testing.T) {
	values := rapid.SliceOfNDistinct(rapid.IntRange(0, 6), 1, 5, rapid.ID[int])
	draw := rapid.Custom(func(t *rapid.T) Preset {
		p := Preset{Name: "p"}
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d"}), 1, 4, rapid.ID[string]).Draw(t, "names") {
			var list []any
			for _, v := range values.Draw(t, "values") {
				list = append(list, int64(v))
			}
			p.Parameters = append(p.Parameters, Parameter{Name: name, Values: list})
		}
		return p
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := draw.Draw(t, "a"), draw.Draw(t, "b")
		for _, strategy := range []Strategy{Union, Intersection} {
			ab, err := Merge(strategy, a, b)
			require.NoError(t, err)
			ba, err := Merge(strategy, b, a)
			require.NoError(t, err)
			require.Len(t, ba.Parameters, len(ab.Parameters))
			for _, p := range ab.Parameters {
				other, ok := ba.Parameters.get(p.Name)
				require.True(t, ok)
				require.ElementsMatch(t, p.Values, other)
			}
		}
	})
}

func FuzzImport(f *testing.F) {
	seed, err := os.ReadFile("seeds.json")
	require.NoError(f, err)
	f.Add(seed)
	f.Add([]byte(`{"preset":{"name":"a","parameters":{"x":[1,null,"a",true,1.5]}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := Import(data)
		if err != nil {
			return
		}
		again, err := Import([]byte(text(t, Export(list...))))
		require.NoError(t, err)
		require.Len(t, again, len(list))
	})
}
