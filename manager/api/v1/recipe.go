package v1

import "github.com/fleetune/fleetune/proto/space"

// A Recipe is a configuration in the form in which it will be run.
type Recipe struct {
	Task       string      `json:"task"`
	Number     int         `json:"number" doc:"of the experiment"`
	Parameters space.Point `json:"parameters"`
	Format     string      `json:"format"`
	File       string      `json:"file" doc:"usual name of such a file"`
	Text       string      `json:"text"`
}
