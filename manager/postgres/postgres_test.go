//go:build unix

package postgres

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
)

// folder is a folder that the server's account can reach, unlike t.TempDir
// for root.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "fleetune-postgres-test-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

func started(t *testing.T, o Options) *Server {
	t.Helper()
	o.Volatile = true
	s, err := Start(t.Context(), o)
	if errors.Is(err, ErrNotInstalled) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Stop()) })
	return s
}

func query[T any](t *testing.T, s *Server, sql string) T {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.URL())
	require.NoError(t, err)
	defer conn.Close(t.Context())
	rows, err := conn.Query(t.Context(), sql)
	require.NoError(t, err)
	value, err := pgx.CollectOneRow(rows, pgx.RowTo[T])
	require.NoError(t, err)
	return value
}

func keepSeven(t *testing.T, s *Server) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.URL())
	require.NoError(t, err)
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), `CREATE TABLE kept AS SELECT 7 AS n`)
	require.NoError(t, err)
}

func TestDataSurvivesARestart(t *testing.T) {
	dir := folder(t)
	s := started(t, Options{Dir: dir})
	keepSeven(t, s)
	require.NoError(t, s.Stop())
	require.NoError(t, s.Stop(), "stopping again is harmless")
	_, err := os.Stat(filepath.Join(dir, "data", "postmaster.pid"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.False(t, runsIn(s.process.cmd.Process.Pid, filepath.Join(dir, "data")))

	again := started(t, Options{Dir: dir})
	require.Equal(t, 7, query[int](t, again, `SELECT n FROM kept`))
}

func TestSettings(t *testing.T) {
	s := started(t, Options{Dir: folder(t), MaxConnections: 23})
	require.Equal(t, "23", query[string](t, s, `SHOW max_connections`))
	require.Empty(t, query[string](t, s, `SHOW listen_addresses`), "no port")
	require.Equal(t, "UTF8", query[string](t, s, `SHOW server_encoding`))
	require.True(t, strings.HasPrefix(query[string](t, s, `SHOW server_version`), s.Version()))
	info, err := os.Stat(s.socket)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o700), info.Mode().Perm(), "only the owner reaches the socket")
}

func TestDurabilityIsOnUnlessVolatile(t *testing.T) {
	durable, volatile := Options{}.settings("s"), Options{Volatile: true}.settings("s")
	for _, name := range []string{"fsync", "synchronous_commit", "full_page_writes"} {
		require.Equal(t, "on", durable[name])
		require.Equal(t, "off", volatile[name])
	}
}

func TestStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	dir := folder(t)
	s, err := Start(ctx, Options{Dir: dir, Volatile: true})
	if errors.Is(err, ErrNotInstalled) {
		t.Skip(err)
	}
	require.NoError(t, err)
	cancel()
	<-s.Ended()
	require.NoError(t, s.Stop())
	started(t, Options{Dir: dir}) // the folder is free again
}

func TestStopsEvenWhenStopped(t *testing.T) {
	s := started(t, Options{Dir: folder(t)})
	require.NoError(t, s.process.cmd.Process.Signal(syscall.SIGSTOP))
	require.NoError(t, s.Stop())
}

func TestOneOwnerAtATime(t *testing.T) {
	dir := folder(t)
	s := started(t, Options{Dir: dir})
	_, err := Start(t.Context(), Options{Dir: dir, Volatile: true})
	require.ErrorIs(t, err, ErrInUse)
	require.Equal(t, 1, query[int](t, s, `SELECT 1`), "the first is not disturbed")
}

// requireStartsWithPID starts a server where there is such a postmaster.pid.
func requireStartsWithPID(t *testing.T, dir, text string) {
	t.Helper()
	path := filepath.Join(dir, "data", "postmaster.pid")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	data, err := os.Stat(filepath.Dir(path))
	require.NoError(t, err)
	stat := data.Sys().(*syscall.Stat_t)
	require.NoError(t, os.Chown(path, int(stat.Uid), int(stat.Gid)))
	s := started(t, Options{Dir: dir})
	require.Equal(t, 7, query[int](t, s, `SELECT n FROM kept`))
	require.NoError(t, s.Stop())
}

// leftBehind is a server without an owner that holds the folder.
func leftBehind(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	h := &home{dir: dir}
	require.NoError(t, h.settle(""))
	var args []string
	for name, value := range (Options{Volatile: true}).settings(h.socket) {
		args = append(args, "-c", name+"="+value)
	}
	cmd := h.command(context.Background(), "postgres", append(args, "-D", h.data())...)
	require.NoError(t, cmd.Start())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for probe(ctx, h.socket) != nil {
		require.NoError(t, pause(ctx, 10*time.Millisecond))
	}
	return cmd
}

// owner runs a server in another process and returns that process and the
// server's number.
func owner(t *testing.T, dir string) (*exec.Cmd, int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), ownerVariable+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	require.NoError(t, err)
	t.Cleanup(func() {
		if runsIn(pid, filepath.Join(dir, "data")) {
			_ = syscall.Kill(pid, syscall.SIGQUIT)
		}
	})
	return cmd, pid
}

// gone waits until a process that is not our child has ended.
func gone(t *testing.T, pid int, dir string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for runsIn(pid, filepath.Join(dir, "data")) {
		require.NoError(t, pause(ctx, 10*time.Millisecond))
	}
}

func TestServerGoesWithAKilledOwner(t *testing.T) {
	if !namespaces {
		t.Skip("only Linux tells a process of its parent's death")
	}
	dir := folder(t)
	require.NoError(t, started(t, Options{Dir: dir}).Stop()) // or skip
	cmd, pid := owner(t, dir)
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	gone(t, pid, dir)
}

func TestHealsAfterAKilledOwner(t *testing.T) {
	dir := folder(t)
	s := started(t, Options{Dir: dir})
	keepSeven(t, s)
	require.NoError(t, s.Stop())

	t.Run("server still running", func(t *testing.T) {
		old := leftBehind(t, dir)
		again := started(t, Options{Dir: dir})
		require.NoError(t, old.Wait(), "it was stopped in an orderly way")
		require.Equal(t, 7, query[int](t, again, `SELECT n FROM kept`))
	})
	t.Run("server still there, but stopped", func(t *testing.T) {
		old := leftBehind(t, dir)
		require.NoError(t, old.Process.Signal(syscall.SIGSTOP))
		again := started(t, Options{Dir: dir})
		require.NoError(t, old.Wait())
		require.Equal(t, 7, query[int](t, again, `SELECT n FROM kept`))
	})
	t.Run("owner killed", func(t *testing.T) {
		cmd, _ := owner(t, dir)
		require.NoError(t, cmd.Process.Kill())
		require.Error(t, cmd.Wait())
		again := started(t, Options{Dir: dir})
		require.Equal(t, 7, query[int](t, again, `SELECT n FROM kept`))
	})
	t.Run("server killed", func(t *testing.T) {
		again := started(t, Options{Dir: dir})
		require.NoError(t, again.process.cmd.Process.Kill())
		<-again.Ended()
		require.NoError(t, again.Stop())
		_, err := os.Stat(filepath.Join(dir, "data", "postmaster.pid"))
		require.NoError(t, err, "it left its file behind")
		third := started(t, Options{Dir: dir})
		require.Equal(t, 7, query[int](t, third, `SELECT n FROM kept`))
	})
	t.Run("process number given to a stranger", func(t *testing.T) {
		// PostgreSQL is only wary of processes of its own account.
		h := &home{dir: dir}
		require.NoError(t, h.settle(""))
		stranger := exec.Command("sleep", "1000")
		stranger.SysProcAttr = &syscall.SysProcAttr{}
		h.account.apply(stranger.SysProcAttr)
		require.NoError(t, stranger.Start())
		defer func() { require.Error(t, stranger.Wait()) }()
		defer func() { require.NoError(t, stranger.Process.Kill(), "it is left alone") }()
		requireStartsWithPID(t, dir, strconv.Itoa(stranger.Process.Pid)+"\n"+dir+"/data\n")
	})
	t.Run("half-written files", func(t *testing.T) {
		for _, text := range []string{"", "\n", "x\n", "1\n"} {
			requireStartsWithPID(t, dir, text)
		}
	})
	t.Run("killed within initdb", func(t *testing.T) {
		half := folder(t)
		require.NoError(t, os.MkdirAll(filepath.Join(half, "data.new", "base"), 0o700))
		require.Equal(t, 1, query[int](t, started(t, Options{Dir: half}), `SELECT 1`))
	})
}

func TestLongPathsGetAShortSocket(t *testing.T) {
	dir := filepath.Join(folder(t), strings.Repeat("long", 30))
	require.NoError(t, os.Mkdir(dir, 0o755))
	s := started(t, Options{Dir: dir})
	require.LessOrEqual(t, len(socketPath(s.socket)), maxSocket)
	require.Equal(t, 1, query[int](t, s, `SELECT 1`))
	require.NoError(t, s.Stop())
	_, err := os.Stat(s.socket)
	require.ErrorIs(t, err, fs.ErrNotExist, "nothing is left outside the folder")
}

func TestForeignSocketFolderIsNotTrusted(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make another's folder")
	}
	long := filepath.Join(folder(t), strings.Repeat("long", 30))
	require.NoError(t, os.Mkdir(long, 0o755))
	h := home{dir: long}
	dir, err := h.socketDir()
	require.NoError(t, err)
	defer os.Remove(dir)
	require.NoError(t, os.Chown(dir, 12345, 12345))
	_, err = h.socketDir()
	require.ErrorContains(t, err, "belongs to somebody else")
}

func TestRootInAnUnreachableFolder(t *testing.T) {
	if os.Geteuid() != 0 || !namespaces {
		t.Skip("needs root on Linux")
	}
	closed := folder(t) // mode 0700, root's
	dir := filepath.Join(closed, "inner")
	a, err := chooseAccount(dir, filepath.Join(dir, "data"))
	require.NoError(t, err)
	require.True(t, a.namespace)
	s := started(t, Options{Dir: dir})
	require.Equal(t, 1, query[int](t, s, `SELECT 1`))
	require.NoError(t, s.Stop())
	// Opened later, the folder keeps the account that made the data.
	require.NoError(t, os.Chmod(closed, 0o755))
	require.Equal(t, 1, query[int](t, started(t, Options{Dir: dir}), `SELECT 1`))
}

func TestBadDataTellsWhy(t *testing.T) {
	dir := folder(t)
	require.NoError(t, started(t, Options{Dir: dir}).Stop())
	require.NoError(t, os.Remove(filepath.Join(dir, "data", "global", "pg_control")))
	_, err := Start(t.Context(), Options{Dir: dir, Volatile: true, Log: zerolog.Nop()})
	require.ErrorContains(t, err, "pg_control")
}
