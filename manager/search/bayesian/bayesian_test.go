package bayesian_test

import (
	"strings"
	"testing"

	"github.com/fleetune/fleetune/manager/search/bayesian"
	"github.com/fleetune/fleetune/manager/search/sampler"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

func TestReasonNamesWhatWasChosen(t *testing.T) {
	p := sampler.Problem{Space: space.Space{Parameters: []space.Parameter{{Name: "a", Type: space.Integer, Low: 1, High: 64}}}}
	reason := func() string {
		s, err := bayesian.New(p)
		if err != nil {
			t.Fatal(err)
		}
		return s.Reason()
	}
	if got := reason(); !strings.Contains(got, "all 64 valid points") || strings.Contains(got, "objectives") || strings.Contains(got, "bounded") {
		t.Error(got)
	}
	for range 2 {
		p.Objectives = append(p.Objectives, task.Objective{Metric: "m", Direction: task.Minimize})
	}
	p.Constraints = []string{"latency"}
	if got := reason(); !strings.Contains(got, "the 2 objectives have a process each") || !strings.Contains(got, "bounded metrics (1)") {
		t.Error(got)
	}
	for range 3 {
		p.Objectives = append(p.Objectives, task.Objective{Metric: "m", Direction: task.Minimize})
	}
	p.Space.Parameters[0] = space.Parameter{Name: "a", Type: space.Continuous, Low: 1, High: 64}
	if got := reason(); !strings.Contains(got, "the 5 objectives are weighed anew") || !strings.Contains(got, "a sample of the valid points") {
		t.Error(got)
	}
}
