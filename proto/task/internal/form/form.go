// Package form is the task file as a person writes it, short forms included.
// Its tags and comments are the one source of what a file may hold: the
// decoder binds by them, and the published JSON Schema and the reference are
// made from them. What a file means once it is read is package task.
package form

// A Task is a task file.
type Task struct {
	// Name of the task: lower-case letters, digits and dashes.
	TaskName string `json:"task_name" jsonschema:"pattern=^[a-z0-9]([-a-z0-9]*[a-z0-9])?$,maxLength=63,example=matmul" expected:"lower-case letters, digits and dashes, a letter or digit first and last, as in \"matmul-2\""`
	// What the task is for, in your own words.
	Description string `json:"description,omitempty" jsonschema:"maxLength=4000"`
	// What may vary, by name. A list gives the values; a single value fixes
	// the parameter; integer, continuous and boolean parameters are written as
	// mappings with a type. Grid search varies the last one fastest.
	Parameters Parameters `json:"parameters" expected:"what may vary, as in tile: [8, 16, 32]"`
	// Boolean expressions over parameters that every configuration must meet,
	// as in tile_m * tile_n <= 4096.
	Constraints Texts `json:"constraints,omitempty" jsonschema:"maxItems=256"`
	// When a parameter exists at all: its name and a boolean expression over
	// parameters that stand before it.
	Conditions Conditions `json:"conditions,omitempty" jsonschema:"maxItems=256"`
	// How to search, what for, and when to stop.
	Optimization Optimization `json:"optimization,omitempty"`
	// The programs of an experiment: build, check and measure a command.
	Command *Command `json:"command,omitempty"`
	// The engine to serve with, by the start of the word: vllm, sglang,
	// tensorrt-llm or llama.cpp. With it the task tunes an inference server, and
	// parameters are the engine's arguments without their dashes.
	BaseRuntime string `json:"base_runtime,omitempty" jsonschema:"maxLength=200"`
	// The model to serve, or several.
	Model Models `json:"model,omitempty"`
	// How the engine is started; ome is kubernetes with an InferenceService.
	DeploymentMode string `json:"deployment_mode,omitempty" jsonschema:"enum=local,enum=docker,enum=kubernetes,enum=ome,enum=endpoint,default=docker"`
	// Tag of the engine's container image.
	RuntimeImageTag string `json:"runtime_image_tag,omitempty" jsonschema:"maxLength=128"`
	// The whole name of a container image, instead of the engine's own.
	Image string `json:"image,omitempty" jsonschema:"maxLength=1000"`
	// The engine's version that the arguments are for.
	EngineVersion string `json:"engine_version,omitempty" jsonschema:"maxLength=63"`
	// What starts the engine locally: an interpreter or a program, with
	// leading arguments.
	Program []Word `json:"program,omitempty" jsonschema:"maxItems=64"`
	// Part of the GPU model's name, as resources.accelerator.
	GPUType string `json:"gpu_type,omitempty" jsonschema:"maxLength=100"`
	// Precision, mapped to the engine's arguments.
	QuantConfig *QuantConfig `json:"quant_config,omitempty"`
	// Parallelism, mapped to the engine's arguments.
	ParallelConfig *ParallelConfig `json:"parallel_config,omitempty"`
	// Environment of the engine.
	Env *Env `json:"env,omitempty"`
	// Environment variables that vary, by name.
	EnvParameters Parameters `json:"env_parameters,omitempty"`
	// How every configuration is loaded.
	Benchmark *Benchmark `json:"benchmark,omitempty"`
	// What users of the model are promised.
	SLO *SLO `json:"slo,omitempty"`
	// Whether the engine's defaults are measured first, or the configuration
	// to measure first.
	Baseline *Baseline `json:"baseline,omitempty"`
	// The server to load, where one runs already.
	Endpoint *Endpoint `json:"endpoint,omitempty"`
	// Rehearse on the simulated engine.
	Simulate *Simulate `json:"simulate,omitempty"`
	// Models on Kubernetes.
	Storage *Storage `json:"storage,omitempty"`
	// Which nodes of a Kubernetes cluster may serve, by label.
	NodeSelector map[string]Word `json:"node_selector,omitempty" jsonschema:"maxItems=64"`
	// OME's base model: a preset, or name and spec.
	ClusterBaseModelConfig Options `json:"clusterbasemodel_config,omitempty"`
	// OME's serving runtime: a preset, or name and spec.
	ClusterServingRuntimeConfig Options `json:"clusterservingruntime_config,omitempty"`
	// Experiments that do nothing, to measure Fleetune itself.
	Noop bool `json:"noop,omitempty"`
	// Where experiments may run.
	Resources Resources `json:"resources,omitempty"`
	// Whose experiments are offered first.
	Priority string `json:"priority,omitempty" jsonschema:"enum=high,enum=normal,enum=low,default=normal"`
	// What the measurements are kept as, and which earlier ones serve this task.
	Records *Records `json:"records,omitempty"`
	// Tasks that must complete before this one starts: a name or a list.
	DependsOn Texts `json:"depends_on,omitempty" jsonschema:"maxItems=64"`
}

// Optimization says how to search, what for, and when to stop.
type Optimization struct {
	// The sampler that chooses configurations: grid_search, random and others.
	Strategy string `json:"strategy,omitempty" jsonschema:"pattern=^[a-z][a-z0-9_]*$,maxLength=63,default=grid_search" expected:"the name of a sampler, as in \"grid_search\" or \"random\""`
	// What to optimise: "minimize_METRIC", "maximize_METRIC", or a metric and
	// a direction. A command measured by wall_time minimizes wall_time_s
	// unless told otherwise.
	Objective *Objective `json:"objective,omitempty"`
	// Several objectives, the most important first; instead of objective.
	Objectives []Objective `json:"objectives,omitempty" jsonschema:"maxItems=8"`
	// How many points the search measures at most. A baseline that is none of
	// them, such as an engine's defaults, and confirmations come on top.
	MaxIterations int64 `json:"max_iterations,omitempty" jsonschema:"minimum=1,maximum=1000000,default=100"`
	// How many experiments at a time; 0 for as many as the fleet can hold.
	MaxParallel int64 `json:"max_parallel,omitempty" jsonschema:"minimum=0,maximum=100000,default=0"`
	// How long one experiment may take on its devices; a confirmation has it for each of its measurements.
	TimeoutPerIteration Timeout `json:"timeout_per_iteration,omitempty" jsonschema:"default=300"`
	// How long the whole task may take from its first experiment on. Without
	// it: what max_iterations experiments and the confirmations may take.
	Timeout Timeout `json:"timeout,omitempty"`
	// Start of every random choice: the same seed and history, the same points.
	Seed int64 `json:"seed,omitempty" jsonschema:"default=0"`
	// How many samples a measurement needs: 10 from a result file and 5 of
	// wall_time unless told otherwise.
	Repeats int64 `json:"repeats,omitempty" jsonschema:"minimum=1,maximum=100000"`
	// How missed SLOs enter the score of a serving task: a continuous penalty,
	// or the formula of LLM Autotuner.
	Scoring string `json:"scoring,omitempty" jsonschema:"enum=penalty,enum=legacy,default=penalty"`
	// How long an engine may take until it serves; as long as the experiment
	// unless told otherwise.
	LoadTimeout Timeout `json:"load_timeout,omitempty"`
	// How long all cells together may take; as long as the experiment unless
	// told otherwise.
	BenchmarkTimeout Timeout `json:"benchmark_timeout,omitempty"`
	// How many leaders of a serving task are measured again beside the
	// baseline.
	Finalists int64 `json:"finalists,omitempty" jsonschema:"minimum=0,maximum=100,default=1"`
	// The first so many configurations are random: n_startup_trials of the
	// samplers that have it.
	NInitialRandom int64 `json:"n_initial_random,omitempty" jsonschema:"minimum=0,maximum=100000"`
	// A name that another tool gave the search; it means nothing here.
	StudyName string `json:"study_name,omitempty" jsonschema:"maxLength=200"`
	// Where another tool kept the search; results are kept by the manager.
	Storage string `json:"storage,omitempty" jsonschema:"maxLength=1000"`
	// Settings of the sampler.
	Options Options `json:"options,omitempty"`
	// When to stop before max_iterations.
	Stop *Stop `json:"stop,omitempty"`
	// What an hour of one device costs, in any currency; a worker's label of
	// this name goes before.
	CostPerDeviceHour float64 `json:"cost_per_device_hour,omitempty" jsonschema:"minimum=0,maximum=1000000"`
	// Ends an experiment early once it is surely worse than the incumbent:
	// true, or a mapping.
	Racing *Racing `json:"racing,omitempty"`
	// What an experiment can be measured with less of; for asha and hyperband.
	Fidelity *Fidelity `json:"fidelity,omitempty"`
}

// An ObjectiveForm names a metric and which end of it is better.
type ObjectiveForm struct {
	// The metric's name in the result file.
	Metric string `json:"metric" jsonschema:"pattern=^[A-Za-z][A-Za-z0-9_./-]*$,maxLength=100" expected:"the name of a metric, as in \"time_ms\""`
	// Which end is better.
	Direction string `json:"direction" jsonschema:"enum=minimize,enum=maximize" expected:"\"minimize\" or \"maximize\""`
}

// Resources say what a place must have.
type Resources struct {
	// The pool of workers.
	Pool string `json:"pool,omitempty" jsonschema:"pattern=^[A-Za-z0-9][A-Za-z0-9_-]*$,maxLength=48,default=default" expected:"letters, digits, dashes and underscores, as in \"h100\""`
	// any, gpu, a vendor (nvidia, amd, cpu), or part of a model name (h100).
	Accelerator string `json:"accelerator,omitempty" jsonschema:"pattern=[A-Za-z0-9],maxLength=100,default=any" expected:"any, gpu, a vendor or part of a model name, as in \"h100\""`
	// How many devices an experiment needs at once.
	Devices int64 `json:"devices,omitempty" jsonschema:"minimum=1,maximum=1024,default=1"`
	// Memory each device must have.
	Memory Memory `json:"memory,omitempty"`
	// Labels the worker must carry.
	Labels map[string]Word `json:"labels,omitempty" jsonschema:"maxItems=64"`
}
