package form

// A Command says what an experiment runs.
type Command struct {
	// Files for the experiment's folder: names of files beside the task file,
	// which are copied, or mappings.
	Files []File `json:"files,omitempty" jsonschema:"maxItems=1000"`
	// Compiles the files, before the devices are taken.
	Build *Step `json:"build,omitempty"`
	// Writes fresh inputs for a seed into EXP_INPUT_DIR.
	Inputs *Step `json:"inputs,omitempty"`
	// Writes the outputs that are trusted into EXP_OUTPUT_DIR.
	Reference *Step `json:"reference,omitempty"`
	// Writes the candidate's outputs into EXP_OUTPUT_DIR, where the worker
	// compares them with the reference's; without a reference its exit code
	// decides.
	Check *Step `json:"check,omitempty"`
	// The files that reference and check both write.
	Outputs []Output `json:"outputs,omitempty" jsonschema:"maxItems=256"`
	// How far outputs may differ: |a-b| <= absolute + relative * |b|.
	Tolerance Tolerance `json:"tolerance,omitempty"`
	// The program that is measured.
	Run Step `json:"run" expected:"the program to measure, as in [./bench]"`
	// Where the metrics come from: a result file that the program writes, or
	// the wall time of the whole program (metric wall_time_s).
	Measure string `json:"measure,omitempty" jsonschema:"enum=result_file,enum=wall_time,default=result_file"`
	// Runs whose samples are thrown away.
	Warmups int64 `json:"warmups,omitempty" jsonschema:"minimum=0,maximum=10000,default=0"`
	// Measure at least so long, beyond repeats if need be.
	MinDuration Duration `json:"min_duration,omitempty" jsonschema:"default=0"`
	// Pause before each measured program.
	Cooldown Duration `json:"cooldown,omitempty" jsonschema:"default=0"`
	// What programs see of the environment.
	Env Env `json:"env,omitempty"`
	// The configuration measured first and compared with; without it the
	// first of the space.
	Baseline Point `json:"baseline,omitempty"`
	// How many leaders are measured again beside the baseline.
	Finalists int64 `json:"finalists,omitempty" jsonschema:"minimum=0,maximum=100,default=3"`
	// Speed-ups over the baseline.
	Thresholds Thresholds `json:"thresholds,omitempty"`
	// How the best configuration is put to use.
	Apply *Apply `json:"apply,omitempty"`
}

// A FileForm is a file of the experiment's folder.
type FileForm struct {
	// Where the file goes, inside the experiment's folder.
	Path Path `json:"path" expected:"where the file goes, as in \"kernel.c\""`
	// The file beside the task file that holds the content; without source
	// and content the same as path.
	Source Path `json:"source,omitempty"`
	// The content itself, instead of a source.
	Content string `json:"content,omitempty"`
	// Replace {{NAME}} placeholders; otherwise the file is copied as it is.
	Render bool `json:"render,omitempty" jsonschema:"default=false"`
	// How values are written into a rendered file; raw unless told otherwise.
	Encoding string `json:"encoding,omitempty" jsonschema:"enum=raw,enum=json,enum=shell,enum=python"`
	// Make the file executable.
	Executable bool `json:"executable,omitempty" jsonschema:"default=false"`
}

// A StepForm is a program with a time-out of its own.
type StepForm struct {
	// The program and its arguments, with {{NAME}} placeholders. No shell
	// reads them.
	Argv []Word `json:"argv" jsonschema:"maxItems=4096" expected:"the program and its arguments, as in [cc, -O2, kernel.c]"`
	// How long the program may take: 120 s unless told otherwise, and for run
	// as long as the experiment.
	Timeout Timeout `json:"timeout,omitempty"`
}

// An Output is an array that reference and check must agree on.
type Output struct {
	// The file in EXP_OUTPUT_DIR.
	Path Path `json:"path" expected:"the file in the output folder, as in \"c.bin\""`
	// The type of the elements; bytes compares exactly, npy reads the type
	// from the file.
	DType string `json:"dtype" jsonschema:"enum=float64,enum=float32,enum=float16,enum=bfloat16,enum=int8,enum=int16,enum=int32,enum=int64,enum=uint8,enum=uint16,enum=uint32,enum=uint64,enum=bool,enum=bytes,enum=npy" expected:"the type of the elements, as in \"float32\""`
	// The dimensions, the slowest first.
	Shape []int64 `json:"shape,omitempty" jsonschema:"maxItems=32"`
}

// Tolerance bounds how far an element may be from the reference's.
type Tolerance struct {
	// Absolute difference.
	Absolute float64 `json:"absolute,omitempty" jsonschema:"minimum=0,default=0.001"`
	// Difference relative to the reference's element.
	Relative float64 `json:"relative,omitempty" jsonschema:"minimum=0,default=0.001"`
}

// Env says what programs see of the environment. Everything else is withheld.
type Env struct {
	// Variables handed through from the worker.
	Pass []VariableName `json:"pass,omitempty" jsonschema:"maxItems=256"`
	// Variables with their values, which may hold {{NAME}} placeholders.
	Set map[string]Word `json:"set,omitempty" jsonschema:"maxItems=256"`
	// Variables with the name of a secret that the worker looks up.
	Secrets map[string]string `json:"secrets,omitempty" jsonschema:"maxItems=256"`
}

// Thresholds are speed-ups over the baseline: 1.05 is five per cent faster.
type Thresholds struct {
	// What counts as an improvement in reports.
	Improve float64 `json:"improve,omitempty" jsonschema:"minimum=1,maximum=1000,default=1.05"`
	// What an unattended apply asks for.
	Promote float64 `json:"promote,omitempty" jsonschema:"minimum=1,maximum=1000,default=1.1"`
}

// Apply says how the best configuration is put to use: a file is rendered with
// its values, tested, and put back if the test fails.
type Apply struct {
	// The file beside the task file that is rendered.
	Template Path `json:"template" expected:"a file beside the task file, as in \"config.h.in\""`
	// The file that is replaced, in the folder where apply is called.
	Target Path `json:"target" expected:"the file to replace, as in \"config.h\""`
	// How values are written; raw unless told otherwise.
	Encoding string `json:"encoding,omitempty" jsonschema:"enum=raw,enum=json,enum=shell,enum=python,default=raw"`
	// A program that tests the new file.
	Verify *Step `json:"verify,omitempty"`
}
