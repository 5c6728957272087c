// Package installed finds the engines of a node and their versions, in virtual
// environments and on the PATH, without starting what need not be started.
package installed

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/fleetune/fleetune/shared/engine"
)

// An Engine is one that can be started here.
type Engine struct {
	// Program starts it: its own program, or an interpreter that has it.
	Program []string
	// Version as its package or itself tells it; empty where neither does.
	Version string
}

// A known engine has a package of Python, a program, or both.
type known struct{ packages, programs []string }

func all() map[string]known {
	return map[string]known{
		engine.VLLM:     {packages: []string{"vllm"}, programs: []string{"vllm"}},
		engine.SGLang:   {packages: []string{"sglang"}},
		engine.TensorRT: {packages: []string{"tensorrt_llm", "tensorrt-llm"}, programs: []string{"trtllm-serve"}},
		engine.LlamaCpp: {programs: []string{"llama-server"}},
	}
}

// Find returns the engines that are given, by name and program, and those that
// a PATH has. A given program that is not there is an error: it is a mistake
// that would else be found by every experiment.
func Find(ctx context.Context, given map[string]string, path string) (map[string]Engine, error) {
	found := map[string]Engine{}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		e, err := engine.Lookup(name)
		if err != nil {
			return nil, err
		}
		program := given[name]
		if info, err := os.Stat(program); err != nil || info.IsDir() {
			return nil, fmt.Errorf("engine %s: there is no program %s", name, program)
		}
		found[e.Name()] = Engine{Program: []string{program}, Version: version(ctx, program, all()[e.Name()].packages)}
	}
	for name, k := range all() {
		if _, ok := found[name]; ok {
			continue
		}
		if e, ok := search(ctx, k, path); ok {
			found[name] = e
		}
	}
	return found, nil
}

func search(ctx context.Context, k known, path string) (Engine, bool) {
	for _, name := range k.programs {
		if program := look(name, path); program != "" {
			return Engine{Program: []string{program}, Version: version(ctx, program, k.packages)}, true
		}
	}
	if len(k.packages) == 0 {
		return Engine{}, false
	}
	for _, name := range []string{"python3", "python"} {
		program := look(name, path)
		if v := packaged(program, k.packages); program != "" && v != "" {
			return Engine{Program: []string{program}, Version: v}, true
		}
	}
	return Engine{}, false
}

// look finds a program in the folders of a PATH.
func look(name, path string) string {
	for _, dir := range filepath.SplitList(path) {
		file := filepath.Join(dir, name)
		if !filepath.IsAbs(dir) {
			continue
		}
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return file
		}
	}
	return ""
}

// versionTime bounds a program that is asked for its version.
const versionTime = 5 * time.Second

// versionLine is what llama.cpp's server prints: "version: 4711 (0123abc)".
var versionLine = regexp.MustCompile(`(?m)^version: (\S+)`)

// version of an engine: of its package beside the program, or of the program
// itself where it has no package.
func version(ctx context.Context, program string, packages []string) string {
	if len(packages) > 0 {
		return packaged(program, packages)
	}
	ctx, cancel := context.WithTimeout(ctx, versionTime)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, "--version").CombinedOutput()
	if err != nil {
		return ""
	}
	if m := versionLine.FindSubmatch(out); m != nil {
		return string(m[1])
	}
	return ""
}

// packaged reads the version of a Python package from the folder that its
// installer left in the environment of an interpreter or script.
func packaged(program string, packages []string) string {
	if program == "" {
		return ""
	}
	prefix := filepath.Dir(filepath.Dir(program))
	for _, name := range packages {
		for _, folder := range []string{"lib", "local/lib"} {
			for _, kind := range []string{"site-packages", "dist-packages"} {
				matches, err := filepath.Glob(filepath.Join(prefix, folder, "python3*", kind, name+"-*.dist-info"))
				if err != nil || len(matches) == 0 {
					continue
				}
				base := strings.TrimSuffix(filepath.Base(matches[len(matches)-1]), ".dist-info")
				return strings.TrimPrefix(base, name+"-")
			}
		}
	}
	return ""
}
