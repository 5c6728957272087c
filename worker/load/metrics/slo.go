package metrics

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// An SLO is a bound on one figure of every request, in the unit it is shown in.
type SLO struct {
	Tag   string  `json:"metric"`
	Bound float64 `json:"bound"`
}

// ParseSLOs reads bounds such as "time_to_first_token:200 inter_token_latency:20".
func ParseSLOs(text string) ([]SLO, error) {
	var out []SLO
	for _, field := range strings.Fields(text) {
		tag, value, ok := strings.Cut(field, ":")
		if !ok {
			return nil, fmt.Errorf("SLO %q: want metric:bound", field)
		}
		bound, err := strconv.ParseFloat(value, 64)
		if err != nil || math.IsNaN(bound) || math.IsInf(bound, 0) {
			return nil, fmt.Errorf("SLO %q: bound %q is not a number", field, value)
		}
		s := SLO{Tag: tag, Bound: bound}
		if definition(tag) == nil {
			return nil, fmt.Errorf("SLO %q: no request has a metric %q", field, tag)
		}
		out = append(out, s)
	}
	return out, nil
}

func definition(tag string) *Definition {
	for i := range perRequest {
		if perRequest[i].Tag == tag {
			return &perRequest[i]
		}
	}
	return nil
}

// good reports whether a valid request keeps every bound. A figure that the
// request does not have breaks its bound.
func good(r *Record, slos []SLO) bool {
	for _, s := range slos {
		d := definition(s.Tag)
		if d == nil {
			return false
		}
		x := d.Of(r)
		if d.Larger && !(x >= s.Bound) || !d.Larger && !(x <= s.Bound) {
			return false
		}
	}
	return true
}
