package engine

import "github.com/fleetune/fleetune/proto/task"

// ParseConfig reads a model's config.json.
func ParseConfig(config []byte) (task.Architecture, error) { return task.Architecture{}, nil }
