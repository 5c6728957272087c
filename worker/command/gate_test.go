package command

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

// The gate against the ways in which a wrong candidate could pass.
func TestGate(t *testing.T) {
	const right = kernel + "\n"
	once := func(then, afterwards string) string {
		return `if [ ! -e "$HOME/seen" ]; then touch "$HOME/seen"; ` + then + `; else ` + afterwards + `; fi`
	}
	for name, c := range map[string]struct {
		change  func(s *stand)
		outcome experiment.Outcome
		phase   string
		message string
	}{
		"wrong result": {func(s *stand) { s.point = space.Point{"scale": int64(3)} },
			experiment.OutcomeIncorrect, "check", "check out"},
		"wrong result, fast": {func(s *stand) {
			s.point = space.Point{"scale": int64(3)}
			s.file("run.sh", strings.ReplaceAll(run, "3,1,2", "0,0,0"))
		}, experiment.OutcomeIncorrect, "check", "check out"},
		"no output": {func(s *stand) { s.file("kernel.sh", ": {{scale}}") },
			experiment.OutcomeIncorrect, "check", "was not written"},
		"output is a link to the inputs": {func(s *stand) {
			s.file("kernel.sh", `ln -s "$EXP_INPUT_DIR/in" "$EXP_OUTPUT_DIR/out" # {{scale}}`)
		}, experiment.OutcomeIncorrect, "check", "not a plain file"},
		"replays the first result": {func(s *stand) {
			s.file("kernel.sh", once(right+`cp "$EXP_OUTPUT_DIR/out" "$HOME/out"`, `cp "$HOME/out" "$EXP_OUTPUT_DIR/out"`))
		}, experiment.OutcomeIncorrect, "check", "recheck out"},
		"drifts after the timing": {func(s *stand) {
			s.file("kernel.sh", strings.Replace(kernel, "{{scale}}", `({{scale}} + '"$(cat "$HOME/drift" 2>/dev/null || echo 0)"')`, 1))
			s.file("run.sh", run+"\necho 1 > $HOME/drift")
		}, experiment.OutcomeIncorrect, "check", "recheck out"},
		"timed run writes something else": {func(s *stand) {
			s.file("run.sh", run+"\necho 7 > $EXP_OUTPUT_DIR/out")
		}, experiment.OutcomeIncorrect, "check", "run out"},
		"changes its inputs": {func(s *stand) {
			s.file("kernel.sh", `for i in 1 2 3; do echo 0; done > "$EXP_INPUT_DIR/in"; `+right)
		}, experiment.OutcomeIncorrect, "check", "changed its inputs: in"},
		"adds an input": {func(s *stand) { s.file("kernel.sh", right+`touch "$EXP_INPUT_DIR/more"`) },
			experiment.OutcomeIncorrect, "check", "changed its inputs: more"},
		"rewrites the reference": {func(s *stand) {
			s.file("kernel.sh", `cp kernel.sh ../../trusted/work/reference.sh; `+right)
		}, experiment.OutcomeIncorrect, "reference", "changed the files of the trusted steps: work/reference.sh"},
		"plants a file for the reference's home": {func(s *stand) {
			s.file("kernel.sh", right+`echo exit > ../../trusted/home/.profile`)
		}, experiment.OutcomeIncorrect, "reference", "trusted steps: home/.profile"},
		"rewrites its own copy of the reference": {func(s *stand) {
			s.file("kernel.sh", right+`echo 'echo 1 > $EXP_OUTPUT_DIR/out' > reference.sh; echo > inputs.sh`)
		}, experiment.OutcomeSuccess, "", ""},
		"rewrites what the build linked to": {func(s *stand) {
			s.command.Build = step("sh", "-c", `mv reference.sh real.sh; ln -s "$PWD/real.sh" reference.sh`)
			s.file("kernel.sh", `cp kernel.sh real.sh; `+right)
			s.point = space.Point{"scale": int64(3)}
		}, experiment.OutcomeIncorrect, "check", "check out"},
		"constant inputs": {func(s *stand) {
			s.file("inputs.sh", `i=0; while [ $i -lt 512 ]; do printf 'abcdefg\n'; i=$((i+1)); done > $EXP_INPUT_DIR/in`)
		}, experiment.OutcomeFailed, "inputs", "one value over and over"},
		"inputs that ignore the seed": {func(s *stand) { s.file("inputs.sh", `seq 2000 > $EXP_INPUT_DIR/in`) },
			experiment.OutcomeFailed, "inputs", "same for different seeds"},
		"reference without output": {func(s *stand) { s.file("reference.sh", ":") },
			experiment.OutcomeFailed, "reference", "was not written"},
		"reference fails": {func(s *stand) { s.file("reference.sh", "exit 4") },
			experiment.OutcomeFailed, "reference", "exit code 4"},
		"candidate crashes": {func(s *stand) { s.file("kernel.sh", "kill -SEGV $$ # {{scale}}") },
			experiment.OutcomeFailed, "check", "segmentation fault"},
		"exit code is the gate": {func(s *stand) {
			s.command.Reference, s.command.Outputs = nil, nil
			s.file("kernel.sh", "exit {{scale}}")
		}, experiment.OutcomeIncorrect, "check", "exit code 2"},
		"exit code is the gate, crash": {func(s *stand) {
			s.command.Reference, s.command.Outputs = nil, nil
			s.file("kernel.sh", "kill -ABRT $$ # {{scale}}")
		}, experiment.OutcomeFailed, "check", "aborted"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStand(t)
			c.change(s)
			want(t, s.do(t.Context()), c.outcome, c.phase, c.message)
		})
	}
}

// No candidate program, at any time, finds trusted outputs anywhere in the
// attempt's folder.
func TestReferenceIsNeverInSight(t *testing.T) {
	s := newStand(t)
	spy := `find ../.. -path '*reference/*' >> ` + filepath.Join(s.logs, "spied") + "\n"
	s.file("kernel.sh", spy+kernel)
	s.file("run.sh", spy+run)
	want(t, s.do(t.Context()), experiment.OutcomeSuccess, "", "")
	spied, err := os.ReadFile(filepath.Join(s.logs, "spied"))
	if err != nil || len(spied) > 0 {
		t.Errorf("a candidate found %q (%v)", spied, err)
	}
}

// Every set of inputs has its own seed, different from one attempt to the next.
func TestSeedsAreFresh(t *testing.T) {
	seen := map[string]bool{}
	for range 3 {
		s := newStand(t)
		s.file("inputs.sh", inputs+"\necho $EXP_SEED >> "+filepath.Join(s.logs, "seeds"))
		want(t, s.do(t.Context()), experiment.OutcomeSuccess, "", "")
		text, err := os.ReadFile(filepath.Join(s.logs, "seeds"))
		if err != nil {
			t.Fatal(err)
		}
		for _, seed := range strings.Fields(string(text)) {
			if seen[seed] {
				t.Errorf("seed %s twice", seed)
			}
			seen[seed] = true
		}
	}
	if len(seen) != 9 { // check, run and recheck, three times
		t.Errorf("%d seeds, want 9", len(seen))
	}
}

func TestReferenceNeedsOutputs(t *testing.T) {
	s := newStand(t)
	s.command.Outputs = []task.Output{}
	want(t, s.do(t.Context()), experiment.OutcomeRenderError, "render", "outputs")
}
