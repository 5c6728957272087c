//go:build unix

package postgres

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseVersion(t *testing.T) {
	for text, want := range map[string]string{
		"postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n": "15.18",
		"postgres (PostgreSQL) 14.2":                             "14.2",
		"postgres (PostgreSQL) 19beta1":                          "19.0",
		"postgres (PostgreSQL) 18devel":                          "18.0",
	} {
		got, err := parseVersion(text)
		require.NoError(t, err)
		require.Equal(t, want, got.String())
	}
	for _, text := range []string{"", "postgres", "postgres (EnterpriseDB) 15.1", "postgres (PostgreSQL) 99999999999999999999"} {
		_, err := parseVersion(text)
		require.Error(t, err, text)
	}
}

// installed makes a folder that answers like the binaries of a version.
func installed(t *testing.T, version string) string {
	t.Helper()
	bin := t.TempDir()
	script := "#!/bin/sh\necho 'postgres (PostgreSQL) " + version + "'\n"
	for _, name := range []string{"postgres", "initdb"} {
		require.NoError(t, os.WriteFile(filepath.Join(bin, name), []byte(script), 0o755))
	}
	return bin
}

func TestFittingInstall(t *testing.T) {
	at := func(major, minor int) install { return install{version: version{major, minor}} }
	all := []install{at(13, 9), at(16, 2), at(15, 18), at(16, 4)}
	got, err := fitting(all, 0)
	require.NoError(t, err)
	require.Equal(t, "16.4", got.version.String(), "the newest")
	got, err = fitting(all, 15)
	require.NoError(t, err)
	require.Equal(t, "15.18", got.version.String(), "the one that made the data")
	_, err = fitting(all, 17)
	require.ErrorIs(t, err, ErrNotInstalled)
	require.ErrorContains(t, err, "version 17")
	_, err = fitting([]install{at(13, 9)}, 0)
	require.ErrorIs(t, err, ErrNotInstalled)
	require.ErrorContains(t, err, "Found 13.9")
	_, err = fitting(nil, 0)
	require.ErrorContains(t, err, BinVariable)
}

func TestGivenBinariesAreTheOnlyOnes(t *testing.T) {
	got, err := findInstall(installed(t, "15.18"), 0)
	require.NoError(t, err)
	require.Equal(t, 15, got.version.major)
	_, err = findInstall(installed(t, "13.4"), 0)
	require.ErrorIs(t, err, ErrNotInstalled)
	_, err = findInstall(t.TempDir(), 0)
	require.ErrorContains(t, err, "no PostgreSQL in")
	t.Setenv(BinVariable, installed(t, "17.1"))
	got, err = findInstall("", 0)
	require.NoError(t, err)
	require.Equal(t, 17, got.version.major)
}

func TestAdviceFitsTheSystem(t *testing.T) {
	for _, c := range []struct{ goos, family, major, want string }{
		{"linux", "debian", "", "apt-get install -y --no-install-recommends postgresql."},
		{"linux", "ubuntu debian", "15", "postgresql-15."},
		{"linux", "rocky rhel centos fedora", "", "dnf install -y postgresql-server."},
		{"linux", "opensuse-leap suse opensuse", "16", "zypper install -y postgresql16-server."},
		{"linux", "alpine", "", "apk add postgresql17."},
		{"linux", "arch", "", "pacman -S postgresql."},
		{"darwin", "", "", "brew install postgresql@17."},
		{"linux", "", "", "https://www.postgresql.org/download/"},
	} {
		require.Contains(t, installCommand(c.goos, c.family, c.major), c.want)
	}
	release := filepath.Join(t.TempDir(), "os-release")
	require.NoError(t, os.WriteFile(release, []byte("NAME=\"Rocky\"\nID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n"), 0o600))
	require.Equal(t, "rocky rhel centos fedora", osFamily(release))
	require.Empty(t, osFamily(release+".not"))
}
