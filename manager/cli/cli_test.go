package cli_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fleetune/fleetune/manager/api/apitest"
	"github.com/fleetune/fleetune/manager/cli"
	"github.com/fleetune/fleetune/manager/cli/terminal"
	"github.com/fleetune/fleetune/manager/postgres/pgtest"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
	"go.uber.org/goleak"
)

// TestMain makes this binary a fleetune for the scripts, at a fixed moment of
// the seeded stand.
func TestMain(m *testing.M) {
	testscript.Main(suite{m}, map[string]func(){
		"fleetune": func() {
			os.Exit(cli.Run(context.Background(), cli.Environment{
				Args: os.Args[1:], In: os.Stdin, Out: terminal.Open(os.Stdout, os.Getenv), Err: terminal.Open(os.Stderr, os.Getenv),
				Getenv: os.Getenv, Now: func() time.Time { return apitest.At(10) }, Version: "test",
				Commands: []*cobra.Command{{Use: "up", Short: "stands for the long-running commands", Run: func(*cobra.Command, []string) {}}},
			}))
		},
	})
}

// suite is the tests with the database that they share.
type suite struct{ m *testing.M }

func (s suite) Run() int { return pgtest.Run(s.m, goleak.IgnoreCurrent()) }

// TestScripts runs every script against a stand of its own: a real database,
// bus and API server. -update rewrites what the scripts compare with.
func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(scripts) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, script := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(script), ".txt"), func(t *testing.T) {
			s := apitest.Start(t)
			seed(t, s)
			testscript.Run(t, testscript.Params{
				Files:         []string{script},
				UpdateScripts: os.Getenv("UPDATE") != "",
				Cmds:          map[string]func(*testscript.TestScript, bool, []string){"exitcode": exitcode},
				Setup: func(e *testscript.Env) error {
					e.Setenv("FLEETUNE_URL", s.URL)
					e.Setenv("FLEETUNE_TOKEN", apitest.Token)
					e.Setenv("FLEETUNE_HOME", filepath.Join(e.WorkDir, "home"))
					return nil
				},
			})
		})
	}
}

// exitcode CODE fleetune ARGS… asserts the code that fleetune ends with.
func exitcode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exitcode CODE COMMAND [ARGS…]")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		code = ended.ExitCode()
	} else if err != nil {
		ts.Fatalf("running: %v", err)
	}
	if want, err := strconv.Atoi(args[0]); err != nil || code != want {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// seed fills a stand: alpha is under way, omega has ended, broken was
// cancelled, waits depends on alpha, and two workers are known.
func seed(t *testing.T, s *apitest.Stand) {
	t.Helper()
	ctx := t.Context()
	_, list := s.Running(t, "alpha")
	s.Complete(t, "omega")
	broken := s.Create(t, "broken")
	if err := s.Store.CancelTask(ctx, broken.ID, "cancelled by its user"); err != nil {
		t.Fatal(err)
	}
	s.Date(t, broken)
	s.Workers(t, list[3].ID)
}
