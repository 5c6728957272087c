package engine

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// degree adds the argument of a degree of parallelism. A 1 that stands for the
// engine's default is left out, where nothing else gives the argument.
func (m *mapping) degree(flag string, n int, field string) {
	if n == 0 || !m.has(flag) {
		return
	}
	if f, _ := m.engine.flags.find(flag); n == 1 && (f.Default == "1" || f.Default == "") {
		if _, given := m.given(flag); !given {
			return
		}
	}
	m.set(flag, n, "parallel_config."+field)
}

// tp is the degree of tensor parallelism so far.
func (m *mapping) tp() int {
	if given, ok := m.given("tensor-parallel-size"); ok {
		if n, err := strconv.Atoi(given); err == nil && n > 0 {
			return n
		}
	}
	return max(m.parallel.TP, 1)
}

// known refuses degrees above 1 whose flag the engine's version lacks.
func (m *mapping) known(degrees map[string]int) error {
	for _, flag := range slices.Sorted(maps.Keys(degrees)) {
		if degrees[flag] > 1 && !m.has(flag) {
			return fmt.Errorf("%w: %s %s has no --%s", ErrInvalid, m.engine.Name(), m.engine.Version(), flag)
		}
	}
	return nil
}

// meaningless notes degrees that the engine has no setting for.
func (m *mapping) meaningless(degrees map[string]int, why string) error {
	for _, field := range slices.Sorted(maps.Keys(degrees)) {
		if n := degrees[field]; n > 1 {
			m.note("%s %d has no effect: %s", field, n, why)
		}
	}
	return nil
}

// degrees reads several degrees; one whose flag the version lacks is 1.
func (a arguments) degrees(names ...string) ([]int, error) {
	list := make([]int, len(names))
	for i, name := range names {
		n, err := a.degree(name)
		if err != nil {
			return nil, err
		}
		list[i] = n
	}
	return list, nil
}
