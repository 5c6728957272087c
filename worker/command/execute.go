package command

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/render"
	"github.com/fleetune/fleetune/worker/device"
	"github.com/fleetune/fleetune/worker/process"
)

// A program is one execution of a step.
type program struct {
	// phase of a failure, and the step whose limit it is.
	phase string
	// stream names the log, phase when empty.
	stream string
	// quiet programs log to a file of their own that is not kept: they run
	// many times, and a failure carries their output's end.
	quiet  bool
	realm  *realm
	step   *render.Step
	values map[string]string // builtins beside EXP_DIR and EXP_RUN_ID
	cores  []int
}

// execute runs a program within its own limit. A nil Result says that it ended
// with exit code 0 and is proven dead.
func (s *Staged) execute(ctx context.Context, p program) (process.Exit, *Result) {
	values := maps.Clone(p.values)
	if values == nil {
		values = map[string]string{}
	}
	values["EXP_DIR"], values["EXP_RUN_ID"] = p.realm.work(), s.job.Tag
	argv, err := p.step.Argv.Resolve(values)
	if err != nil {
		return process.Exit{}, infra(ctx, p.phase, err)
	}
	if t := p.step.Timeout.D(); t > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, t, &limit{name: p.phase, d: t})
		defer cancel()
	}
	stdout, stderr := s.captures(p)
	exit, err := s.runner.run.Run(ctx, process.Spec{Argv: argv, Dir: p.realm.work(), Env: s.environment(p, values),
		Stdout: stdout, Stderr: stderr, LogCap: s.runner.opts.LogCap, Tag: s.job.Tag, Cores: p.cores,
		Grace: s.runner.opts.Grace})
	if lerr := s.release(p, stdout, stderr); lerr != nil && err == nil {
		err = lerr
	}
	return exit, judge(ctx, p.phase, argv[0], exit, err, tailOf(stdout, stderr))
}

// captures names the files that a program writes its output to: the attempt's
// log, which others may follow while it grows, or files of our own where the
// output is not kept or may hold a secret.
func (s *Staged) captures(p program) (stdout, stderr string) {
	if p.quiet || s.job.Log == nil || len(s.masked) > 0 {
		return filepath.Join(s.job.Dir, "last.stdout"), filepath.Join(s.job.Dir, "last.stderr")
	}
	return s.logs(p)
}

// logs names the attempt's log of a program.
func (s *Staged) logs(p program) (stdout, stderr string) {
	stream := p.stream
	if stream == "" {
		stream = p.phase
	}
	if p.realm == s.baseline {
		stream = "baseline " + stream
	}
	return s.job.Log(stream + " stdout"), s.job.Log(stream + " stderr")
}

// release masks the secrets in what a program has written, and only then
// passes it on to the attempt's log.
func (s *Staged) release(p program, stdout, stderr string) error {
	if len(s.masked) == 0 {
		return nil
	}
	for _, path := range []string{stdout, stderr} {
		if err := s.masked.File(path); err != nil {
			return err
		}
	}
	if p.quiet || s.job.Log == nil {
		return nil
	}
	logOut, logErr := s.logs(p)
	for from, to := range map[string]string{stdout: logOut, stderr: logErr} {
		data, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to, data, 0o644)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("writing a log: %w", err)
		}
	}
	return nil
}

// environment is everything a program sees: a fixed small base, what the task
// passes, sets and keeps secret, the devices, and the builtins, which nothing
// overrides.
func (s *Staged) environment(p program, builtins map[string]string) []string {
	env := map[string]string{"PATH": defaultPath, "LANG": "C.UTF-8"}
	for _, name := range append([]string{"PATH"}, s.command.Env.Pass...) {
		if value, ok := lookupEnv(s.runner.opts.Environ, name); ok {
			env[name] = value
		}
	}
	env["HOME"], env["TMPDIR"] = p.realm.home(), p.realm.tmp()
	for name, segments := range p.realm.rendering.Env {
		// A variable built from something this step does not have is left out.
		if value, err := render.Resolve(segments, builtins); err == nil {
			env[name] = value
		}
	}
	maps.Copy(env, s.secrets)
	maps.Copy(env, device.Visible(s.devices))
	maps.Copy(env, builtins)
	out := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out = append(out, name+"="+env[name])
	}
	return out
}

// defaultPath is used where the worker itself has no PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// lookupEnv finds a variable in a list of NAME=value; the last one counts.
func lookupEnv(environ []string, name string) (value string, ok bool) {
	for _, e := range environ {
		if v, found := strings.CutPrefix(e, name+"="); found {
			value, ok = v, true
		}
	}
	return value, ok
}

func idsOf(devices []node.Device) string {
	ids := make([]string, len(devices))
	for i, d := range devices {
		ids[i] = d.ID
	}
	return strings.Join(ids, ",")
}

// seed derives a seed for one set of inputs from the offer's seed and the
// attempt's tag: repeatable by whoever knows both, different in every attempt.
// It fits what common generators accept, 1 to 2^31-1.
func (s *Staged) seed(round int) int64 {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d/%s/%d", s.job.Offer.Seed, s.job.Tag, round))
	return int64(binary.LittleEndian.Uint64(sum[:])%(1<<31-1)) + 1
}
