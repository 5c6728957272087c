package roofline

import (
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/fleetune/fleetune/proto/task"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An operator that was measured on an H200 under vLLM 0.22: its size by four or
// five numbers, and its time.
type operator struct {
	name    string
	bits    int
	size    [5]int
	seconds float64
}

func operators(t *testing.T) []operator {
	t.Helper()
	f, err := os.Open("../testdata/measured/operators.csv")
	require.NoError(t, err)
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	require.NoError(t, err)
	var list []operator
	for _, row := range rows[1:] {
		o := operator{name: row[0]}
		o.bits, err = strconv.Atoi(row[1])
		require.NoError(t, err)
		for i := range o.size {
			o.size[i], err = strconv.Atoi(row[2+i])
			require.NoError(t, err)
		}
		ms, err := strconv.ParseFloat(row[7], 64)
		require.NoError(t, err)
		o.seconds = ms / 1e3
		list = append(list, o)
	}
	return list
}

// modelled is the time that the model gives an operator.
func (o operator) modelled(t *testing.T) float64 {
	t.Helper()
	n := func(i int) float64 { return float64(o.size[i]) }
	a := llama8B()
	a.Layers = 1
	switch o.name {
	case "matrix": // tokens × (rows, columns)
		m := on(t, "h200-sxm", a, func(c *Config) { c.ComputeBits = o.bits })
		return m.operator(matrixFloor, 2*n(0)*n(1)*n(2), m.matrices, n(1)*n(2)*float64(o.bits)/8)
	case "experts": // tokens, hidden, inner, experts of a token, experts
		m := on(t, "h200-sxm", task.Architecture{Name: "x", Layers: 1, Hidden: o.size[1], Heads: 1, Vocabulary: 1,
			MoEIntermediate: o.size[2], ExpertsPerToken: o.size[3], Experts: o.size[4]}, nil)
		s := m.shape
		return m.operator(expertFloor, 2*n(0)*n(3)*s.expert, m.experts, s.touched(n(0))*s.expert*2)
	}
	a.Heads, a.KVHeads = o.size[2], o.size[3] // sequences, context, heads, KV heads
	m, b := on(t, "h200-sxm", a, nil), Batch{}
	for range o.size[0] {
		if o.name == "decode" {
			b.AddDecode(o.size[1])
		} else {
			b.AddChunk(0, o.size[1])
		}
	}
	return m.attentionTime(b)
}

// Where the constants come from: the time of each operator by the model, over
// what was measured. The rows of the table in shared/docs/simulated-engine.md are
// these.
func TestMeasuredOperatorsAreMet(t *testing.T) {
	doc, err := os.ReadFile("../../../shared/docs/simulated-engine.md")
	require.NoError(t, err)
	ratios := map[string][]float64{}
	for _, o := range operators(t) {
		group := fmt.Sprintf("%s, %d bits", o.name, o.bits)
		ratios[group] = append(ratios[group], o.modelled(t)/o.seconds)
	}
	for _, c := range []struct {
		group       string
		least, most float64
	}{
		{"matrix, 16 bits", 0.9, 1.1},
		{"matrix, 8 bits", 0.2, 1.1}, // few tokens with 8-bit blocks are slower than their memory, see the page
		{"experts, 16 bits", 0.85, 1.15},
		{"decode, 16 bits", 0.85, 1.15},
		{"prefill, 16 bits", 0.8, 1.2},
	} {
		list := ratios[c.group]
		slices.Sort(list)
		at := func(q float64) float64 { return list[int(math.Round(q*float64(len(list)-1)))] }
		row := fmt.Sprintf("| %s | %d | %.2f | %.2f–%.2f |", c.group, len(list), at(0.5), at(0.1), at(0.9))
		t.Log(row)
		assert.Contains(t, string(doc), row, "shared/docs/simulated-engine.md")
		require.GreaterOrEqual(t, at(0.5), c.least, c.group)
		require.LessOrEqual(t, at(0.5), c.most, c.group)
	}
}
