//go:build unix

package postgres

import (
	"bufio"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// MinMajor is the oldest major version that Fleetune's schema works with.
const MinMajor = 14

// BinVariable names the environment variable that says where the binaries are.
const BinVariable = "FLEETUNE_POSTGRES_BIN"

// An install is a PostgreSQL on this machine.
type install struct {
	bin     string
	version version
}

type version struct{ major, minor int }

// String implements fmt.Stringer.
func (v version) String() string { return fmt.Sprintf("%d.%d", v.major, v.minor) }

// places where systems put the server's binaries, beyond PATH.
var places = []string{
	"/usr/lib/postgresql/*/bin", // Debian, Ubuntu, Gentoo
	"/usr/pgsql-*/bin",          // packages of the PostgreSQL project for Red Hat
	"/usr/lib/postgresql*/bin",  // SUSE
	"/usr/libexec/postgresql*",  // Alpine
	"/usr/local/pgsql/bin",      // built from source
	"/opt/homebrew/opt/postgresql*/bin",
	"/usr/local/opt/postgresql*/bin",
	"/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
	"/Applications/Postgres.app/Contents/Versions/*/bin",
	"/opt/local/lib/postgresql*/bin", // MacPorts
	"/run/current-system/sw/bin",     // NixOS
}

// findInstall picks the binaries: those in bin (or BinVariable) and no others
// if given, else the newest on the machine, but of the major version that the
// data was made by, unless that is 0.
func findInstall(bin string, major int) (install, error) {
	if bin == "" {
		bin = os.Getenv(BinVariable)
	}
	if bin != "" {
		found, err := inspect(bin)
		if err != nil {
			return install{}, fmt.Errorf("no PostgreSQL in %s: %w", bin, err)
		}
		return fitting([]install{found}, major)
	}
	var all []install
	for _, folder := range candidates() {
		if found, err := inspect(folder); err == nil {
			all = append(all, found)
		}
	}
	return fitting(all, major)
}

func fitting(all []install, major int) (install, error) {
	slices.SortFunc(all, func(a, b install) int {
		return cmp.Or(cmp.Compare(b.version.major, a.version.major), cmp.Compare(b.version.minor, a.version.minor))
	})
	for _, found := range all {
		if found.version.major >= MinMajor && (major == 0 || found.version.major == major) {
			return found, nil
		}
	}
	var seen strings.Builder
	for _, found := range all {
		fmt.Fprintf(&seen, " Found %s in %s.", found.version, found.bin)
	}
	if major != 0 {
		return install{}, fmt.Errorf("%w in version %d, which made the data here.%s %s",
			ErrNotInstalled, major, seen.String(), advice(strconv.Itoa(major)))
	}
	return install{}, fmt.Errorf("%w in version %d or newer.%s %s", ErrNotInstalled, MinMajor, seen.String(), advice(""))
}

func candidates() []string {
	var folders []string
	for _, folder := range filepath.SplitList(os.Getenv("PATH")) {
		// PATH may hold a link to one binary of several.
		if path, err := filepath.EvalSymlinks(filepath.Join(folder, "postgres")); err == nil {
			folders = append(folders, filepath.Dir(path))
		}
	}
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		folders = append(folders, strings.TrimSpace(string(out)))
	}
	for _, pattern := range places {
		matches, err := filepath.Glob(pattern)
		if err != nil {
			continue // the patterns are ours and well formed
		}
		folders = append(folders, matches...)
	}
	slices.Sort(folders)
	return slices.Compact(folders)
}

var versionPattern = regexp.MustCompile(`\(PostgreSQL\) (\d+)(?:\.(\d+))?`)

// inspect looks whether a folder holds all that a server needs.
func inspect(bin string) (install, error) {
	if _, err := exec.LookPath(filepath.Join(bin, "initdb")); err != nil {
		return install{}, err
	}
	out, err := exec.Command(filepath.Join(bin, "postgres"), "--version").Output()
	if err != nil {
		return install{}, fmt.Errorf("asking for the version: %w", err)
	}
	v, err := parseVersion(string(out))
	if err != nil {
		return install{}, err
	}
	return install{bin: bin, version: v}, nil
}

// parseVersion reads the output of postgres --version: "postgres (PostgreSQL)
// 15.18 (Debian 15.18-0+deb12u1)", "postgres (PostgreSQL) 19beta1".
func parseVersion(text string) (version, error) {
	m := versionPattern.FindStringSubmatch(text)
	if m == nil {
		return version{}, fmt.Errorf("unknown version %q", strings.TrimSpace(text))
	}
	major, err := strconv.Atoi(m[1])
	if err != nil {
		return version{}, fmt.Errorf("unknown version %q: %w", m[1], err)
	}
	minor := 0
	if m[2] != "" {
		if minor, err = strconv.Atoi(m[2]); err != nil {
			return version{}, fmt.Errorf("unknown version %q: %w", m[2], err)
		}
	}
	return version{major: major, minor: minor}, nil
}

// advice says how to install PostgreSQL on this system.
func advice(major string) string {
	return installCommand(runtime.GOOS, osFamily("/etc/os-release"), major) +
		" Or name the folder of its binaries in " + BinVariable +
		", or give the URL of a server that runs elsewhere with --postgres."
}

func installCommand(goos, family, major string) string {
	dashed, joined, at := "", "", "@17"
	if major != "" {
		dashed, joined, at = "-"+major, major, "@"+major
	}
	switch {
	case goos == "darwin":
		return "Install it with: brew install postgresql" + at + "."
	case strings.Contains(family, "debian") || strings.Contains(family, "ubuntu"):
		return "Install it with: sudo apt-get install -y --no-install-recommends postgresql" + dashed + "."
	case strings.Contains(family, "fedora") || strings.Contains(family, "rhel"):
		return "Install it with: sudo dnf install -y postgresql" + joined + "-server."
	case strings.Contains(family, "suse"):
		return "Install it with: sudo zypper install -y postgresql" + joined + "-server."
	case strings.Contains(family, "alpine"):
		if joined == "" {
			joined = "17"
		}
		return "Install it with: sudo apk add postgresql" + joined + "."
	case strings.Contains(family, "arch"):
		return "Install it with: sudo pacman -S postgresql."
	default:
		return "Install the PostgreSQL server (initdb and postgres) with your system's packages, see https://www.postgresql.org/download/."
	}
}

// osFamily is the ID and the ID_LIKE of an os-release file, or "".
func osFamily(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	var family []string
	for lines := bufio.NewScanner(file); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), "=")
		if key == "ID" || key == "ID_LIKE" {
			family = append(family, strings.ToLower(strings.Trim(value, `"'`)))
		}
	}
	return strings.Join(family, " ")
}
