package records

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Any stands for every value of a fact, in a question.
const Any = "*"

// A Difference is a fact in which a question and a record do not agree.
type Difference struct {
	Fact string `json:"fact" doc:"such as environment.driver"`
	// Asked and Recorded are null where unknown.
	Asked    any `json:"asked" doc:"null where the question does not say"`
	Recorded any `json:"recorded" doc:"null where the record does not say"`
}

func (d Difference) String() string {
	silence := "none" // extras and workload that are not said are absent
	if strings.HasPrefix(d.Fact, groupEnvironment+".") {
		silence = "unknown"
	}
	return fmt.Sprintf("%s: asked %s, recorded %s", d.Fact, or(silence, d.Asked), or(silence, d.Recorded))
}

func or(silence string, v any) string {
	if v == nil {
		return silence
	}
	return text(v)
}

// A Match is how a record's facts answer to those that were asked for. With a
// hard difference the record never serves; with soft ones it serves with a
// marking that names them.
type Match struct {
	Hard []Difference
	Soft []Difference
}

// matchFacts compares the facts of one group. A difference is soft when either
// side does not know, hard when both know and do not agree. "*" agrees with
// everything.
func matchFacts(group string, asked, recorded Facts) Match {
	var m Match
	names := slices.Sorted(maps.Keys(asked))
	for _, name := range slices.Sorted(maps.Keys(recorded)) {
		if _, both := asked[name]; !both {
			names = append(names, name)
		}
	}
	for _, name := range names {
		a, r := asked[name], recorded[name]
		d := Difference{Fact: group + "." + name, Asked: a, Recorded: r}
		switch {
		case a == Any || equal(a, r):
		case a == nil || r == nil:
			m.Soft = append(m.Soft, d)
		case group == groupEnvironment && name == FactDriver && sameMajor(a, r):
			m.Soft = append(m.Soft, d)
		default:
			m.Hard = append(m.Hard, d)
		}
	}
	return m
}

// strict compares groups in which silence means absence: extras and workload.
func strict(group string, asked, recorded Facts) Match {
	m := matchFacts(group, asked, recorded)
	m.Hard = append(m.Hard, m.Soft...)
	m.Soft = nil
	return m
}

// sameMajor says that two driver versions begin with the same number: such
// drivers run the same binaries alike, but not always as fast.
func sameMajor(a, b any) bool {
	x, _, _ := strings.Cut(text(a), ".")
	y, _, _ := strings.Cut(text(b), ".")
	return x == y
}
