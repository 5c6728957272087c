package v1

// Why an experiment waits.
type Why struct {
	Task    string `json:"task"`
	Number  int    `json:"number" doc:"0 when no experiment is queued"`
	Status  string `json:"status" doc:"of the experiment; of the task when none is queued"`
	Summary string `json:"summary"`
	// Causes lie with the task: they hold whatever the workers could do.
	Causes  []Cause    `json:"causes" nullable:"false" doc:"what holds it back whatever the workers could do"`
	Workers []Obstacle `json:"workers" nullable:"false" doc:"worker by worker, the first requirement that fails"`
}

// A Cause names one thing that holds an experiment back.
type Cause struct {
	Kind   string `json:"kind" doc:"task, dependency, window, priority or offer"`
	Reason string `json:"reason"`
}

// An Obstacle says why a worker does not run the experiment.
type Obstacle struct {
	Worker      string `json:"worker"`
	Requirement string `json:"requirement" doc:"the first that fails: online, drain, trouble, pool, kind, accelerator, devices, memory, labels, health, busy or hold; empty when none does"`
	Reason      string `json:"reason" doc:"reads well behind the worker's name"`
	Fits        bool   `json:"fits" doc:"the worker could serve it, now or once its devices are free"`
}
