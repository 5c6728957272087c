package cli_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fleetune/fleetune/manager/api/apitest"
	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/cli"
	"github.com/fleetune/fleetune/manager/client"
	"github.com/fleetune/fleetune/manager/local"
	"github.com/fleetune/fleetune/manager/postgres/pgtest"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/shared/terminal"
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
				Commands: []*cobra.Command{{Use: "up", Short: "stands for the long-running commands", Args: cobra.NoArgs, Run: func(*cobra.Command, []string) {}}},
			}))
		},
	})
}

// suite is the tests with the database that they share.
type suite struct{ m *testing.M }

func (s suite) Run() int { return pgtest.Run(s.m, goleak.IgnoreCurrent()) }

// TestScripts runs every script against a stand of its own: a real database,
// bus and API server. UPDATE=1 in the environment rewrites what the scripts compare with.
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
				Cmds: map[string]func(*testscript.TestScript, bool, []string){
					"exitcode": exitcode,
					"started":  func(_ *testscript.TestScript, _ bool, args []string) { await(t, s, args[0]) },
					"finish":   func(_ *testscript.TestScript, _ bool, args []string) { finish(t, s, args[0]) },
					"explored": func(*testscript.TestScript, bool, []string) { explored(t, s) },
					"served":   func(_ *testscript.TestScript, _ bool, args []string) { served(t, s, args) },
					"hostile":  func(*testscript.TestScript, bool, []string) { hostile(t, s) },
					"state":    func(ts *testscript.TestScript, _ bool, args []string) { state(t, s, ts.MkAbs(args[0])) },
				},
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

// await returns once a task has been submitted.
func await(t *testing.T, s *apitest.Stand, name string) {
	t.Helper()
	c, err := client.New(s.URL, apitest.Token)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	there := errors.New("it is there")
	look := func() error {
		if _, err := c.Task(t.Context(), name); err == nil {
			return there
		}
		return nil
	}
	err = c.Watch(t.Context(), client.Watch{Reset: look, Event: func(v1.Event) error { return look() }})
	if !errors.Is(err, there) {
		t.Fatal(err)
	}
}

// finish runs a task to its end: a baseline, a better point, a confirmation.
func finish(t *testing.T, s *apitest.Stand, name string) {
	t.Helper()
	ctx := t.Context()
	created, err := s.Store.Task(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	list := s.Queue(t, created, 1, apitest.Point(8, 1), apitest.Point(32, 4))
	s.Finish(t, list[0].ID, 12)
	if err := s.Store.SetBaseline(ctx, created.ID, 1); err != nil {
		t.Fatal(err)
	}
	s.Finish(t, list[1].ID, 3)
	best := 2
	speedup := []byte(`{"ratio": 4, "low": 3.8, "high": 4.2, "confidence": 0.95, "significant": true}`)
	if err := s.Store.FinishTask(ctx, created.ID, store.TaskCompleted, "", &best, speedup); err != nil {
		t.Fatal(err)
	}
}

// explored stores tasks that are measured all over, with one objective and with
// two, and one that has just begun.
func explored(t *testing.T, s *apitest.Stand) {
	t.Helper()
	s.Explored(t, "one", 12)
	s.Traded(t, "two", 12)
	s.Explored(t, "few", 2)
}

// served NAME [LINE…] stores a serving task that has ended; the lines join its
// task file.
func served(t *testing.T, s *apitest.Stand, args []string) {
	t.Helper()
	extra := ""
	for _, line := range args[1:] {
		extra += line + "\n"
	}
	s.Served(t, args[0], extra)
}

// hostile stores a task whose every text tries to steer a terminal.
func hostile(t *testing.T, s *apitest.Stand) {
	t.Helper()
	ctx := t.Context()
	created := s.Create(t, "hostile")
	const evil = "a \x1b[31mred\x1b]0;title\x07 \u202etxet\r\n\u009b1m"
	list := s.Queue(t, created, 1, space.Point{"tile": evil, "unroll": int64(1)})
	code := 1
	s.Report(t, s.Claim(t, list[0].ID, evil, evil), evil, experiment.OutcomeFailed, 0,
		&experiment.Failure{Phase: evil, Message: evil, Hint: evil, Signal: evil, ExitCode: &code, LogTail: evil})
	spec, err := json.Marshal(evil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Pool.Exec(ctx, `UPDATE tasks SET cause = $2, spec = jsonb_set(spec, '{description}', $3::jsonb) WHERE id = $1`,
		created.ID, evil, string(spec)); err != nil {
		t.Fatal(err)
	}
	if err := s.Store.SaveWorkers(ctx, []store.Worker{{Name: evil, State: store.WorkerOnline, Trouble: evil,
		LastBeatAt: apitest.At(0), Node: node.Advertisement{Pool: evil, Devices: []node.Device{{ID: evil, Model: evil}}}}}); err != nil {
		t.Fatal(err)
	}
}

// state writes the files that a local Fleetune leaves for the command line.
func state(t *testing.T, s *apitest.Stand, dir string) {
	t.Helper()
	paths := local.Paths{Root: dir}
	err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(paths.URL(), []byte(s.URL+"\n"), 0o600),
		os.WriteFile(paths.Token(), []byte(apitest.Token+"\n"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
}
