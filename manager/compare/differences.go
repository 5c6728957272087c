package compare

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/proto/task"
)

// Differences lists what differs between the sides and is no parameter. Those
// that block mean that figures over all cells are of different work, or of
// different worlds.
func Differences(sides []Side) []v1.Disparity {
	list := []v1.Disparity{}
	check := func(what string, blocks bool, value func(*Side) string) {
		d := v1.Disparity{What: what, Blocks: blocks}
		for i := range sides {
			d.Values = append(d.Values, value(&sides[i]))
		}
		if len(slices.Compact(slices.Sorted(slices.Values(d.Values)))) > 1 {
			list = append(list, d)
		}
	}
	check("kind", true, func(s *Side) string { return s.Task.Kind() })
	check("command", false, command)
	check("cells", true, cellSet)
	check("benchmark", true, benchmark)
	check("simulated", true, func(s *Side) string {
		if gpu := s.simulated(); gpu != "" {
			return gpu
		}
		return "no"
	})
	check("fidelity", true, func(s *Side) string {
		if s.Fidelity == nil {
			return "full"
		}
		return strconv.FormatFloat(*s.Fidelity, 'g', -1, 64)
	})
	serving := func(f func(*Side, *task.Serving) string) func(*Side) string {
		return func(s *Side) string {
			if s.Task.Serving == nil {
				return ""
			}
			return f(s, s.Task.Serving)
		}
	}
	check("model", false, serving(func(s *Side, v *task.Serving) string { return v.Model(s.Point).ID }))
	check("engine", false, serving(func(_ *Side, v *task.Serving) string { return v.Engine }))
	check("version", false, serving(func(s *Side, _ *task.Serving) string {
		if s.Serving == nil {
			return ""
		}
		return s.Serving.Version
	}))
	check("image", false, serving(func(s *Side, _ *task.Serving) string {
		if s.Serving == nil {
			return ""
		}
		return strings.TrimSpace(s.Serving.Image + " " + s.Serving.ImageDigest)
	}))
	check("world_size", false, serving(func(s *Side, _ *task.Serving) string {
		if s.Serving == nil {
			return ""
		}
		return strconv.Itoa(s.Serving.WorldSize)
	}))
	check("devices", false, func(s *Side) string { return s.Devices })
	check("worker", false, func(s *Side) string { return s.Worker })
	return list
}

// command is what a side's task runs, in short.
func command(s *Side) string {
	if s.Task.Command == nil {
		return ""
	}
	runner, err := s.Task.Runner()
	if err != nil {
		return err.Error()
	}
	return runner
}

// cellSet is the fixed set of a side's task, in any order: an order says
// nothing about the work.
func cellSet(s *Side) string {
	if s.Task.Serving == nil {
		return ""
	}
	var words []string
	for _, c := range s.Task.Serving.Benchmark.Cells() {
		words = append(words, c.String())
	}
	slices.Sort(words)
	return strings.Join(words, ", ")
}

// benchmark is how a side's cells are loaded.
func benchmark(s *Side) string {
	if s.Task.Serving == nil {
		return ""
	}
	b := s.Task.Serving.Benchmark
	text := fmt.Sprintf("%s, %d requests or %v a cell, %d to warm up", b.Task, b.CellRequests, b.CellTime.D(), b.Warmup)
	if len(b.Extra) > 0 {
		data, _ := json.Marshal(b.Extra) //nolint:errchkjson // raw messages in a map marshal, in order of their names
		text += ", " + string(data)
	}
	if b.Dataset != nil {
		text += ", dataset " + b.Dataset.URL
	}
	return text
}
