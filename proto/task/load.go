package task

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/space"
)

// KindLoad experiments are the shares of one load: each puts its part on a
// server from a worker of its own, all at the same time. Such a task is made
// by `fleetune bench --workers`, not from a task file.
const KindLoad = "load"

// A Load is one load, shared out to workers.
type Load struct {
	// Shares is how many workers take part.
	Shares int `json:"shares"`
	// Arguments of the bench command for the whole load; each worker works its
	// share out.
	Arguments []string `json:"arguments"`
	// Files of the bundle, by which the arguments name the input.
	Files  []string `json:"files,omitempty"`
	Bundle string   `json:"bundle,omitempty"`
	// APIKey names the secret that is the server's key.
	APIKey string `json:"api_key,omitempty"`
}

// ShareParameter is the one parameter of a load's space: which share an
// experiment is, counted from 0.
const ShareParameter = "share"

// The bounds of a load.
const (
	MaxShares        = 1000
	maxLoadArguments = 500
	maxLoadTime      = 7 * 24 * time.Hour
)

// loadMetric is what every share measures at least.
const loadMetric = "request_throughput"

// NewLoad makes the task of a load that may take a time at most, on workers
// of the given requirements.
func NewLoad(name string, l Load, limit time.Duration, where node.Requirements) (*Task, error) {
	switch {
	case !taskName.MatchString(name):
		return nil, fmt.Errorf("%q cannot be a task's name", name)
	case l.Shares < 1 || l.Shares > MaxShares:
		return nil, fmt.Errorf("a load has 1 to %d shares, not %d", MaxShares, l.Shares)
	case len(l.Arguments) > maxLoadArguments:
		return nil, fmt.Errorf("a load has at most %d arguments", maxLoadArguments)
	case l.APIKey != "" && !secretName.MatchString(l.APIKey):
		return nil, errors.New("the API key is the name of a secret that the workers know: letters, digits, dots, dashes and underscores")
	case limit <= 0 || limit > maxLoadTime:
		return nil, fmt.Errorf("a load takes up to %v", maxLoadTime)
	}
	for _, a := range l.Arguments {
		if !strings.HasPrefix(a, "--") {
			return nil, fmt.Errorf("%q is no argument of the form --name=value", a)
		}
	}
	where.Kind, where.Devices = KindLoad, 1
	return &Task{
		Name: name, Description: "a load, shared out to workers", Load: &l, Resources: where, Priority: High,
		Space: space.Space{Parameters: []space.Parameter{{Name: ShareParameter, Type: space.Integer, Low: 0, High: float64(l.Shares - 1), Step: 1}}},
		Optimization: Optimization{
			Strategy: "grid_search", Objectives: []Objective{{Metric: loadMetric, Direction: Maximize}},
			MaxIterations: l.Shares, MaxParallel: l.Shares, Repeats: 1,
			IterationTimeout: Duration(limit), Timeout: Duration(limit),
		},
	}, nil
}

// Bundle is the digest of the files that travel with the task, or empty.
func (t *Task) Bundle() string {
	switch {
	case t.Command != nil:
		return t.Command.Bundle
	case t.Load != nil:
		return t.Load.Bundle
	}
	return ""
}
