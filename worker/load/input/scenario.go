package input

import (
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
)

// A Length is a law of prompt or reply lengths in tokens.
type Length struct {
	Law  Law
	A, B float64 // fixed: A; normal: mean A, deviation B; uniform: from A to B
}

// Law names the form of a Length.
type Law string

// The laws of lengths.
const (
	Fixed   Law = "fixed"
	Normal  Law = "normal"
	Uniform Law = "uniform"
)

// Draw draws a length, at least least. Samples are truncated to whole tokens.
func (l Length) Draw(rng *rand.Rand, least int) int {
	x := l.A
	switch l.Law {
	case Normal:
		x = l.A + l.B*rng.NormFloat64()
	case Uniform:
		x = l.A + rng.Float64()*(l.B-l.A+1)
		x = math.Min(x, l.B)
	}
	return max(least, int(x))
}

// A Scenario is a traffic scenario in genai-bench's notation.
type Scenario struct {
	Input, Output Length
	// Documents is the length of each document to rank; 0 outside rerank.
	Documents int
	// Dataset is set where prompts come from a dataset, at their own lengths.
	Dataset bool
	// Mix holds laws of which each turn draws one, by its share.
	Mix  []Part
	text string
}

// A Part of a mix of scenarios.
type Part struct {
	Share         float64 // of all, of any unit
	Input, Output Length
}

// String is the scenario as it was written.
func (s Scenario) String() string { return s.text }

var (
	fixedForm   = regexp.MustCompile(`^D\((\d+),(\d+)\)$`)
	normalForm  = regexp.MustCompile(`^N\(([\d.]+),([\d.]+)\)/\(([\d.]+),([\d.]+)\)$`)
	uniformForm = regexp.MustCompile(`^U\((\d+),(\d+)\)(?:/\((\d+),(\d+)\))?$`)
	embedForm   = regexp.MustCompile(`^E\((\d+)\)$`)
	rerankForm  = regexp.MustCompile(`^R\((\d+),(\d+)\)$`)
)

const maxLength = 1 << 24

// around is a law of a mean and a deviation, fixed where it has none.
func around(mean, deviation float64) Length {
	switch {
	case mean == 0:
		return Length{}
	case deviation == 0:
		return Length{Law: Fixed, A: mean}
	}
	return Length{Law: Normal, A: mean, B: deviation}
}

// Around is the scenario of lengths about their means. An output of 0 is left
// to the server.
func Around(in, inDeviation, out, outDeviation float64) Scenario {
	return Scenario{Input: around(in, inDeviation), Output: around(out, outDeviation),
		text: fmt.Sprintf("prompts of %s tokens, replies of %s", spread(in, inDeviation), spread(out, outDeviation))}
}

func spread(mean, deviation float64) string {
	switch {
	case mean == 0:
		return "any length"
	case deviation == 0:
		return fmt.Sprint(mean)
	}
	return fmt.Sprintf("%v±%v", mean, deviation)
}

var mixForm = regexp.MustCompile(`^([\d.]+)(?:\|([\d.]+))?,([\d.]+)(?:\|([\d.]+))?:([\d.]+)$`)

// ParseMix reads parts such as 256,128:60;1024|100,256|50:40: lengths of prompts
// and replies with their deviations, and shares in per cent.
func ParseMix(text string) (Scenario, error) {
	s := Scenario{text: strings.ReplaceAll(text, " ", "")}
	sum := 0.0
	for _, part := range strings.Split(s.text, ";") {
		groups := mixForm.FindStringSubmatch(part)
		if groups == nil {
			return Scenario{}, fmt.Errorf("%q: want INPUT,OUTPUT:PERCENT or INPUT|DEVIATION,OUTPUT|DEVIATION:PERCENT, with ; between", part)
		}
		var n [5]float64
		for i, g := range groups[1:] {
			if g == "" {
				continue
			}
			x, err := strconv.ParseFloat(g, 64)
			if err != nil || x > maxLength {
				return Scenario{}, fmt.Errorf("%q: %q is not a number, or too large", part, g)
			}
			n[i] = x
		}
		if n[0] < 1 || n[2] < 1 {
			return Scenario{}, fmt.Errorf("%q: lengths are at least 1", part)
		}
		s.Mix = append(s.Mix, Part{Share: n[4], Input: around(n[0], n[1]), Output: around(n[2], n[3])})
		sum += n[4]
	}
	if math.Abs(sum-100) > 0.01 {
		return Scenario{}, fmt.Errorf("the shares of %q add up to %v, not to 100", text, sum)
	}
	return s, nil
}

// draw is the law of one turn.
func (s *Scenario) draw(rng *rand.Rand) (in, out Length) {
	if len(s.Mix) == 0 {
		return s.Input, s.Output
	}
	x := rng.Float64() * 100
	for _, p := range s.Mix {
		if x -= p.Share; x < 0 {
			return p.Input, p.Output
		}
	}
	last := s.Mix[len(s.Mix)-1]
	return last.Input, last.Output
}

// ParseScenario reads D(in,out), N(μ,σ)/(μ,σ), U(a,b)/(c,d), U(in,out) with
// least 1, E(tokens), R(document,query) and dataset.
func ParseScenario(text string) (Scenario, error) {
	s := Scenario{text: strings.ReplaceAll(text, " ", "")}
	fail := func(why string) (Scenario, error) {
		return Scenario{}, fmt.Errorf("scenario %q: %s", text, why)
	}
	if s.text == "dataset" {
		s.Dataset = true
		return s, nil
	}
	var n []float64
	read := func(form *regexp.Regexp) bool {
		groups := form.FindStringSubmatch(s.text)
		if groups == nil {
			return false
		}
		n = n[:0]
		for _, g := range groups[1:] {
			if g == "" {
				continue
			}
			x, err := strconv.ParseFloat(g, 64)
			if err != nil || x > maxLength {
				x = math.NaN()
			}
			n = append(n, x)
		}
		return true
	}
	switch {
	case read(fixedForm):
		s.Input, s.Output = Length{Fixed, n[0], 0}, Length{Fixed, n[1], 0}
	case read(normalForm):
		s.Input, s.Output = Length{Normal, n[0], n[1]}, Length{Normal, n[2], n[3]}
	case read(uniformForm):
		if len(n) == 2 {
			n = []float64{1, n[0], 1, n[1]}
		}
		s.Input, s.Output = Length{Uniform, n[0], n[1]}, Length{Uniform, n[2], n[3]}
	case read(embedForm):
		s.Input = Length{Fixed, n[0], 0}
	case read(rerankForm):
		s.Documents, s.Input = int(n[0]), Length{Fixed, n[1], 0}
	default:
		return fail("want D(in,out), N(μ,σ)/(μ,σ), U(a,b)/(c,d), E(tokens), R(document,query) or dataset")
	}
	for _, x := range n {
		if math.IsNaN(x) {
			return fail("a length is not a number, or too large")
		}
	}
	for _, l := range []Length{s.Input, s.Output} {
		if l.Law == Uniform && l.A > l.B {
			return fail("a uniform law's least is above its most")
		}
	}
	return s, nil
}
