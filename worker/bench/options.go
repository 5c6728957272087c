package bench

import (
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/fleetune/fleetune/worker/load/input"
)

// options are the command's flags. As JSON they are the configuration that a
// report carries; secrets are not among them, only their names.
type options struct {
	targetOptions
	lengthOptions
	dataOptions
	synthesisOptions
	shapeOptions
	warmupOptions
	agenticOptions
	runOptions
	exportOptions
	fleetOptions

	broken []string // the rules of a scenario that the flags break
	fleet  Fleet
}

func (o *options) flags(f *pflag.FlagSet) {
	f.SetNormalizeFunc(ours)
	o.targetOptions.flags(f)
	o.lengthOptions.flags(f)
	o.dataOptions.flags(f)
	o.synthesisOptions.flags(f)
	o.shapeOptions.flags(f)
	o.warmupOptions.flags(f)
	o.agenticOptions.flags(f)
	o.fleetOptions.flags(f)
	o.runOptions.flags(f)
	o.exportOptions.flags(f)
}

// runOptions say which runs there are.
type runOptions struct {
	Sweep      string        `json:"sweep,omitempty"`
	Search     string        `json:"search,omitempty"`
	Good       float64       `json:"slo_attainment,omitempty"`
	Runs       int           `json:"num_profile_runs"`
	Confidence float64       `json:"confidence_level"`
	Slice      time.Duration `json:"slice_duration_ns,omitempty"`
	UI         string        `json:"-"`
	DryRun     bool          `json:"-"`
	Preview    int           `json:"-"`
}

func (r *runOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&r.Sweep, "sweep", "", "run several loads: concurrency=1,2,4 or rate=1,2.5,5")
	f.StringVar(&r.Search, "search", "", "find the highest load that meets the SLOs: concurrency=1:256 or rate=1:50")
	f.Float64Var(&r.Good, "slo-attainment", 0.95, "share of requests that must keep the SLOs")
	f.IntVar(&r.Runs, "num-profile-runs", 1, "runs to repeat, 1 to 10")
	f.Float64Var(&r.Confidence, "confidence-level", 0.95, "of the interval over runs")
	durationVar(f, &r.Slice, "slice-duration", 0, time.Second, "length of time slices")
	f.StringVar(&r.UI, "ui", "auto", "progress: auto, live, plain or none")
	f.BoolVar(&r.DryRun, "dry-run", false, "show what would be sent, and send nothing")
	f.IntVar(&r.Preview, "dry-run-requests", 1, "request bodies to show")
}

func formatNames() string {
	var out []string
	for _, f := range input.Formats() {
		out = append(out, string(f))
	}
	return strings.Join(out, ", ")
}
