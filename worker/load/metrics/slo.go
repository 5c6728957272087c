package metrics

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/fleetune/fleetune/proto/space"
)

// An SLO is a bound on one figure of every request, in the unit it is shown in.
type SLO struct {
	Tag   string  `json:"metric"`
	Bound float64 `json:"bound"`
}

// shortTags are names that other tools give to the figures most SLOs are of.
var shortTags = map[string]string{"ttft": TagTTFT, "tpot": TagITL, "itl": TagITL, "e2el": TagLatency, "e2e": TagLatency, "latency": TagLatency}

// ParseSLOs reads bounds such as "time_to_first_token:200 inter_token_latency:20",
// and tells everything that is wrong with them.
func ParseSLOs(text string) ([]SLO, error) {
	var out []SLO
	var errs []error
	for _, field := range strings.Fields(text) {
		s, err := parseSLO(field)
		out, errs = append(out, s), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return out, nil
}

func parseSLO(field string) (SLO, error) {
	tag, value, ok := strings.Cut(field, ":")
	if !ok {
		return SLO{}, fmt.Errorf("SLO %q: want metric:bound, such as %s:200", field, TagTTFT)
	}
	bound, err := strconv.ParseFloat(value, 64)
	if err != nil || math.IsNaN(bound) || math.IsInf(bound, 0) {
		return SLO{}, fmt.Errorf("SLO %q: bound %q is not a number", field, value)
	}
	if long := shortTags[tag]; long != "" {
		tag = long
	}
	if d := definition(tag); d == nil || d.Of == nil {
		near := space.Nearest(tag, requestTags())
		if near == "" {
			near = strings.Join([]string{TagTTFT, TagITL, TagLatency}, ", ")
		}
		return SLO{}, fmt.Errorf("SLO %q: no request has a metric %q; there are %s and others", field, tag, near)
	}
	return SLO{Tag: tag, Bound: bound}, nil
}

// requestTags are the figures that every request has one of.
func requestTags() []string {
	out := make([]string, len(perRequest))
	for i := range perRequest {
		out[i] = perRequest[i].Tag
	}
	return out
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
