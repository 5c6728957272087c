package records

import (
	"cmp"
	"slices"
)

// Related orders keys by how near their measurements are to those of another
// key, nearest first; keys of another operation or objective are left out. Each fact that differs counts one step, a number
// that differs as many as there are doublings in between, eight at most.
func Related(of Key, others []Key) []Key {
	metric, direction, err := of.Objective()
	if err != nil {
		return nil
	}
	type near struct {
		key    Key
		steps  float64
		digest string
	}
	var list []near
	for _, k := range others {
		m, d, err := k.Objective()
		if err != nil || m != metric || d != direction || k.Operation.Name != of.Operation.Name {
			continue
		}
		steps := distance(of.Workload, k.Workload) + distance(of.Environment, k.Environment) + distance(of.Operation.Extras, k.Operation.Extras)
		for _, pair := range [][2]string{{of.Operation.Version, k.Operation.Version}, {of.Operation.Runner, k.Operation.Runner}} {
			if pair[0] != pair[1] {
				steps++
			}
		}
		list = append(list, near{k, steps, k.Digest()})
	}
	slices.SortFunc(list, func(a, b near) int { return cmp.Or(cmp.Compare(a.steps, b.steps), cmp.Compare(a.digest, b.digest)) })
	out := make([]Key, len(list))
	for i, n := range list {
		out[i] = n.key
	}
	return out
}

const mostSteps = 8

func distance(a, b Facts) float64 {
	m := matchFacts("", a, b)
	total := 0.0
	for _, d := range slices.Concat(m.Hard, m.Soft) {
		if steps, numeric := ratio(d.Asked, d.Recorded); numeric {
			total += min(steps, mostSteps)
		} else {
			total++
		}
	}
	return total
}
