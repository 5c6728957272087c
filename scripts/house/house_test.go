package house

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// ours is the prefix of every package of this repository.
const ours = "github.com/fleetune/fleetune/"

// modules of the workspace.
func modules() []string { return []string{"proto", "shared", "worker", "manager"} }

// A goPackage is what go list says of a package.
type goPackage struct {
	ImportPath   string
	Name         string
	Doc          string
	Dir          string
	GoFiles      []string
	CgoFiles     []string
	TestGoFiles  []string
	XTestGoFiles []string
	Imports      []string
	Deps         []string
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// list runs go list for the patterns in one module of the workspace.
func list(t *testing.T, module string, flags ...string) []goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-json=ImportPath,Name,Doc,Dir,GoFiles,CgoFiles,TestGoFiles,XTestGoFiles,Imports,Deps"}, flags...)...)
	cmd.Dir = filepath.Join(root(t), module)
	cmd.Env = append(os.Environ(), "GOWORK="+filepath.Join(root(t), "go.work"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list in %s: %v\n%s", module, err, &stderr)
	}
	var packages []goPackage
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

// Every package with code says what its part is.
func TestPackageDocs(t *testing.T) {
	for _, module := range modules() {
		for _, p := range list(t, module, "./...") {
			if len(p.GoFiles)+len(p.CgoFiles) == 0 {
				continue // tests only
			}
			switch {
			case strings.TrimSpace(p.Doc) == "":
				t.Errorf("%s has no package comment", p.ImportPath)
			case p.Name == "main" && !strings.HasPrefix(p.Doc, "Command "):
				t.Errorf("%s: the comment of a command begins with \"Command\"", p.ImportPath)
			case p.Name != "main" && !strings.HasPrefix(p.Doc, "Package "+p.Name+" "):
				t.Errorf("%s: the package comment begins with \"Package %s\"", p.ImportPath, p.Name)
			}
		}
	}
}

// A package is named for what it does.
func TestPackageNames(t *testing.T) {
	empty := []string{"util", "utils", "common", "helper", "helpers", "types", "misc", "lib", "base"}
	for _, module := range modules() {
		for _, p := range list(t, module, "./...") {
			if slices.Contains(empty, p.Name) {
				t.Errorf("%s: the name says nothing", p.ImportPath)
			}
		}
	}
}

// manager → shared → proto and worker → shared → proto. Only the binary that
// carries both may join manager and worker: its main package, and the package
// with its commands, which nothing else may import.
func TestWalls(t *testing.T) {
	const (
		binary   = ours + "manager/cmd/fleetune"
		commands = ours + "manager/serve"
	)
	may := map[string][]string{
		"proto":   {"proto"},
		"shared":  {"shared", "proto"},
		"worker":  {"worker", "shared", "proto"},
		"manager": {"manager", "shared", "proto"},
	}
	for _, module := range modules() {
		for _, p := range list(t, module, "./...") {
			joins := p.ImportPath == binary || p.ImportPath == commands
			for _, imported := range p.Imports {
				rest, isOurs := strings.CutPrefix(imported, ours)
				room, _, _ := strings.Cut(rest, "/")
				switch {
				case !isOurs:
				case imported == commands && p.ImportPath != binary:
					t.Errorf("%s imports %s, which is for %s alone", p.ImportPath, imported, binary)
				case slices.Contains(may[module], room), joins && room == "worker":
				default:
					t.Errorf("%s imports %s", p.ImportPath, imported)
				}
			}
		}
	}
}

// The programs of a GPU node carry neither the database driver nor the NATS
// server, whatever way they may come in.
func TestWorkerIsSlim(t *testing.T) {
	heavy := []string{"github.com/jackc/pgx", "github.com/nats-io/nats-server", ours + "manager"}
	for _, p := range list(t, "worker", "./...") {
		for _, dep := range p.Deps {
			for _, prefix := range heavy {
				if strings.HasPrefix(dep, prefix) {
					t.Errorf("%s links %s", p.ImportPath, dep)
				}
			}
		}
	}
}

// Test libraries stay out of programs.
func TestProgramsCarryNoTestLibraries(t *testing.T) {
	libraries := []string{"github.com/stretchr/testify", "go.uber.org/goleak", "pgregory.net/rapid", "testing", "github.com/rogpeppe/go-internal/testscript"}
	for _, module := range modules() {
		for _, p := range list(t, module, "./...") {
			if p.Name != "main" {
				continue
			}
			for _, library := range libraries {
				if slices.Contains(p.Deps, library) {
					t.Errorf("%s links %s", p.ImportPath, library)
				}
			}
		}
	}
}

// Packages that start goroutines prove in their tests that none is left.
func TestGoroutinesAreAccountedFor(t *testing.T) {
	starts := regexp.MustCompile(`(?m)^\s+go (func\b|[a-z]\w*(\.\w+)*\()|\.Go\(func`)
	for _, module := range modules() {
		for _, p := range list(t, module, "./...") {
			tests := slices.Concat(p.TestGoFiles, p.XTestGoFiles)
			if len(tests) == 0 || !contains(t, p.Dir, p.GoFiles, starts) {
				continue
			}
			// pgtest.Main and pgtest.Run look once the database is down.
			if !contains(t, p.Dir, tests, regexp.MustCompile(`goleak\.Verify|pgtest\.(Main|Run)\(\S+, goleak\.`)) {
				t.Errorf("%s starts goroutines; its tests need goleak in TestMain", p.ImportPath)
			}
		}
	}
}

func contains(t *testing.T, dir string, files []string, pattern *regexp.Regexp) bool {
	for _, name := range files {
		source, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if pattern.Match(source) {
			return true
		}
	}
	return false
}

// All modules are built by the same version of the language.
func TestOneGoVersion(t *testing.T) {
	line := regexp.MustCompile(`(?m)^go (\S+)$`)
	versions := map[string][]string{}
	for _, file := range []string{"go.work", "proto/go.mod", "shared/go.mod", "worker/go.mod", "manager/go.mod", "scripts/house/go.mod"} {
		text, err := os.ReadFile(filepath.Join(root(t), file))
		if err != nil {
			t.Fatal(err)
		}
		found := line.FindSubmatch(text)
		if found == nil {
			t.Fatalf("%s has no go line", file)
		}
		version := string(found[1])
		versions[version] = append(versions[version], file)
	}
	if len(versions) != 1 {
		t.Errorf("go lines differ: %v", versions)
	}
}

// The modules' own requirements lead to the folders beside them, so that each
// also builds outside the workspace.
func TestModulesReplaceEachOther(t *testing.T) {
	for _, module := range modules() {
		text, err := os.ReadFile(filepath.Join(root(t), module, "go.mod"))
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range modules() {
			required := bytes.Contains(text, fmt.Appendf(nil, "%s%s v0.0.0", ours, other))
			replaced := bytes.Contains(text, fmt.Appendf(nil, "replace %s%s => ../%s", ours, other, other))
			if required != replaced {
				t.Errorf("%s/go.mod: require and replace of %s disagree", module, other)
			}
		}
	}
}
