package v1

// An Engine is an inference server that tasks can tune, at one version of its
// arguments.
type Engine struct {
	Name            string   `json:"name" doc:"as base_runtime begins"`
	Version         string   `json:"version" doc:"whose arguments these are"`
	Versions        []string `json:"versions" nullable:"false" doc:"those whose arguments are known, oldest first"`
	Source          string   `json:"source" doc:"the engine's files that they were read from"`
	Image           string   `json:"image" doc:"container image that is started unless a task names another; empty where there is none"`
	Total           int      `json:"total" doc:"number of arguments that the version has"`
	Tuned           int      `json:"tuned" doc:"those of them that are commonly tuned"`
	QuantPresets    []string `json:"quant_presets" nullable:"false" doc:"what quant_config.presets takes"`
	ParallelPresets []string `json:"parallel_presets" nullable:"false" doc:"what parallel_config.presets takes"`
	QuantFields     []Field  `json:"quant_fields" nullable:"false" doc:"what the fields of quant_config take"`
	ParallelFields  []Field  `json:"parallel_fields" nullable:"false" doc:"what the fields of parallel_config usually take"`
	Simulated       bool     `json:"simulated" doc:"whether the simulated engine can stand in for it"`
}

// A Field of quant_config or parallel_config.
type Field struct {
	Name   string   `json:"name"`
	Values []string `json:"values" nullable:"false"`
}

// Arguments of an engine, all or some.
type Arguments struct {
	Engine  string     `json:"engine"`
	Version string     `json:"version" doc:"the newest one known that is not after the one asked for"`
	Items   []Argument `json:"items" nullable:"false"`
}

// An Argument is one parameter that an engine takes.
type Argument struct {
	Name       string   `json:"name" doc:"without dashes in front; a task file may write dashes or underscores"`
	Aliases    []string `json:"aliases" nullable:"false"`
	Type       string   `json:"type" enum:"switch,toggle,integer,number,text,json,list" doc:"a switch stands alone, a toggle also has the form --no-NAME, a list takes several words"`
	Default    string   `json:"default" doc:"as the engine writes it; empty is none, or the engine's own choice"`
	Choices    []string `json:"choices" nullable:"false" doc:"the values there are; empty is any of the type"`
	Open       bool     `json:"open" doc:"plugins may add to the choices"`
	Low        *float64 `json:"low" doc:"the least number that the engine takes"`
	High       *float64 `json:"high" doc:"the greatest"`
	Tuned      bool     `json:"tuned" doc:"commonly tuned"`
	File       bool     `json:"file" doc:"no argument of the command line: written into the engine's file, where the dots in the name lead"`
	Reserved   bool     `json:"reserved" doc:"set by Fleetune: no parameter of a task"`
	Deprecated string   `json:"deprecated" doc:"what to use instead, or only that it goes; empty where it stays"`
	First      string   `json:"first" doc:"the first known version that has it"`
	Last       string   `json:"last" doc:"the last known version that has it"`
}
