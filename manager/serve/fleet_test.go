package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fleetune/fleetune/manager/postgres/pgtest"
	"github.com/fleetune/fleetune/shared/bus"
	"github.com/fleetune/fleetune/shared/natsd"
	"github.com/fleetune/fleetune/worker/bench"
	"github.com/fleetune/fleetune/worker/daemon"
	"github.com/fleetune/fleetune/worker/load/mockopenai"
	"github.com/fleetune/fleetune/worker/load/report"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
)

// beWorker makes this program a worker with the arguments that it holds.
const beWorker = "FLEETUNE_TEST_WORKER"

func workerProcess() {
	cmd := daemon.Command("worker", "test")
	cmd.SetArgs(strings.Fields(os.Getenv(beWorker)))
	if err := cmd.ExecuteContext(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// A fleet is a manager in this process and workers in processes of their own.
type fleet struct {
	t       *testing.T
	url     string
	workers map[string]*exec.Cmd
}

const (
	fleetToken = "the token of the api"
	joinToken  = "the token to join with"
)

func newFleet(t *testing.T, workers ...string) *fleet {
	secret := []byte("a secret of the server")
	server, err := natsd.Start(t.Context(), natsd.Options{Dir: t.TempDir(), Secret: secret, Log: zerolog.Nop()})
	require.NoError(t, err)
	t.Cleanup(server.Shutdown)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	m := Manager{
		Postgres: pgtest.URL(t), Listener: listener, Token: fleetToken, JoinToken: joinToken, Secret: secret, WorkerBus: server.URL(),
		Bus: bus.Options{URL: server.URL(), Name: natsd.ManagerUser, User: natsd.ManagerUser, Password: natsd.ManagerPassword(secret)},
		Log: zerolog.Nop(), Lease: 30 * time.Second, Version: "test",
	}
	ctx, stop := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- m.Run(ctx, func() { close(ready) }) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-ended)
		http.DefaultClient.CloseIdleConnections()
	})
	select {
	case <-ready:
	case err := <-ended:
		ended <- err
		t.Fatal(err)
	}
	f := &fleet{t: t, url: "http://" + listener.Addr().String(), workers: map[string]*exec.Cmd{}}
	t.Setenv("FLEETUNE_URL", f.url)
	t.Setenv("FLEETUNE_TOKEN", fleetToken)
	for _, name := range workers {
		f.start(name)
	}
	return f
}

func (f *fleet) start(name string) {
	f.t.Helper()
	self, err := os.Executable()
	require.NoError(f.t, err)
	cmd := exec.Command(self)
	secrets := f.t.TempDir()
	require.NoError(f.t, os.WriteFile(filepath.Join(secrets, "SERVER_KEY"), []byte("key-of-the-server\n"), 0o600))
	cmd.Env = append(os.Environ(), "FLEETUNE_TOKEN="+joinToken, beWorker+"="+strings.Join([]string{
		"--join", f.url, "--name", name, "--vendor", "cpu", "--slots", "2", "--dir", f.t.TempDir(), "--lock-dir", f.t.TempDir(), "--secrets", secrets, "--log-level", "error",
	}, " "))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(f.t, cmd.Start())
	f.workers[name] = cmd
	f.t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may be dead already
		_ = cmd.Wait()         // its status is that it was killed
	})
}

// bench runs the command; its report is read back from its file.
func (f *fleet) bench(ctx context.Context, progress *watched, args ...string) (*report.Document, error) {
	f.t.Helper()
	path := filepath.Join(f.t.TempDir(), "report.json")
	cmd := bench.Command(Fleet{Getenv: os.Getenv})
	cmd.SetArgs(append(args, "--model=m", "--json="+path, "--ui=plain"))
	cmd.SetOut(new(bytes.Buffer))
	cmd.SetErr(progress)
	err := cmd.ExecuteContext(ctx)
	data, readErr := os.ReadFile(path)
	if readErr != nil {
		require.Error(f.t, err, "a command without a report says why")
		return nil, err
	}
	var doc report.Document
	require.NoError(f.t, json.Unmarshal(data, &doc))
	return &doc, err
}

// watched calls when once a line holds the text.
type watched struct {
	mu   sync.Mutex
	text string
	when func()
	seen bytes.Buffer
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen.Write(p)
	if w.when != nil && strings.Contains(w.seen.String(), w.text) {
		w.when()
		w.when = nil
	}
	return len(p), nil
}

func workersOf(d *report.Document) map[string]int {
	out := map[string]int{}
	for _, s := range d.Shares {
		out[s.Worker]++
	}
	return out
}

// A load on three worker processes: they start together, each sends its share,
// with the key that only they know, and the results are one.
func TestALoadOfSeveralWorkers(t *testing.T) {
	server, err := mockopenai.Start(mockopenai.Config{})
	require.NoError(t, err)
	defer server.Close()
	f := newFleet(t, "w1", "w2", "w3")
	dir := t.TempDir()
	trace := filepath.Join(dir, "prompts.jsonl")
	var lines strings.Builder
	for i := range 30 {
		fmt.Fprintf(&lines, `{"text":"prompt number %d"}`+"\n", i)
	}
	require.NoError(t, os.WriteFile(trace, []byte(lines.String()), 0o600))
	doc, err := f.bench(t.Context(), &watched{}, "--url="+server.URL, "--workers=3", "--concurrency=6", "--request-count=30",
		"--input-file="+trace, "--max-tokens=4", "--api-key-env=SERVER_KEY", "--slice-duration=1s", "--aiperf-dir="+dir)
	require.NoError(t, err)
	requests(t, filepath.Join(dir, "profile_export.jsonl"), 30)
	for _, name := range []string{"profile_export_aiperf.json", "profile_export_aiperf_timeslices.csv", "inputs.json"} {
		require.FileExists(t, filepath.Join(dir, name))
	}
	require.EqualValues(t, 30, doc.Metrics["request_count"].Avg)
	require.Equal(t, 30, *doc.Metrics["time_to_first_token"].Count)
	require.Equal(t, map[string]int{"w1": 1, "w2": 1, "w3": 1}, workersOf(doc), "each share has a worker of its own")
	require.Contains(t, strings.Join(doc.Notes, "\n"), "clocks agree to")
	for _, s := range doc.Shares {
		require.True(t, s.Done)
		require.Equal(t, 10, s.Requests)
		require.Positive(t, s.ClockError)
		require.Less(t, s.ClockError, time.Second)
	}
	prompts := map[string]int{}
	for _, r := range server.Recordings() {
		prompts[string(r.Body["messages"])]++
		require.Equal(t, "Bearer key-of-the-server", r.Header.Get("Authorization"))
	}
	require.Len(t, prompts, 30, "every prompt is sent once, whoever sends it")
}

// requests checks a file of requests that several workers sent: in the order of
// the shared clock, and numbered through.
func requests(t *testing.T, path string, want int) {
	f, err := os.Open(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	lines, err := report.ReadLines(f)
	require.NoError(t, err)
	require.Len(t, lines, want)
	workers := map[string]bool{}
	for i, l := range lines {
		require.EqualValues(t, i, l.Metadata.SessionNum)
		require.True(t, i == 0 || lines[i-1].Metadata.Start <= l.Metadata.Start)
		require.Contains(t, l.Metrics, "time_to_first_token")
		workers[l.Metadata.Worker] = true
	}
	require.Len(t, workers, 3)
}

// A worker that dies in the middle takes its share with it and nothing else.
func TestALoadSurvivesAWorker(t *testing.T) {
	server, err := mockopenai.Start(mockopenai.Config{Forget: true, Behave: func(int, *mockopenai.Recording) mockopenai.Behaviour {
		return mockopenai.Behaviour{TTFT: 5 * time.Millisecond}
	}})
	require.NoError(t, err)
	defer server.Close()
	f := newFleet(t, "w1", "w2")
	kill := &watched{text: "running", when: func() { _ = f.workers["w2"].Process.Kill() }}
	doc, err := f.bench(t.Context(), kill, "--url="+server.URL, "--workers=2", "--concurrency=2", "--benchmark-duration=2s")
	require.ErrorContains(t, err, "shares of the load were lost")
	require.Contains(t, strings.Join(doc.Notes, "\n"), "on worker w2 is lost")
	require.Contains(t, strings.Join(doc.Notes, "\n"), "the result is partial: it is that of 1 of 2 shares")
	require.Positive(t, doc.Metrics["request_count"].Avg)
}

// Who stops a load has what all workers measured until then; and the workers
// are free again.
func TestALoadThatIsStopped(t *testing.T) {
	server, err := mockopenai.Start(mockopenai.Config{Forget: true, Behave: func(int, *mockopenai.Recording) mockopenai.Behaviour {
		return mockopenai.Behaviour{TTFT: 5 * time.Millisecond}
	}})
	require.NoError(t, err)
	defer server.Close()
	f := newFleet(t, "w1", "w2")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	doc, err := f.bench(ctx, &watched{text: "running", when: cancel}, "--url="+server.URL, "--workers=2", "--concurrency=2", "--benchmark-duration=10m")
	require.NoError(t, err)
	require.True(t, doc.Cancelled)
	for _, s := range doc.Shares {
		require.True(t, s.Done, s.String())
	}
	_, err = f.bench(t.Context(), &watched{}, "--url="+server.URL, "--workers=2", "--concurrency=2", "--request-count=4")
	require.NoError(t, err, "the workers take the next load")
	early, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	_, err = f.bench(early, &watched{text: "missing", when: giveUp}, "--url="+server.URL, "--workers=3", "--concurrency=3", "--request-count=6")
	require.ErrorContains(t, err, "interrupted before the load began")
	// A third worker is missing: the load says so instead of waiting for ever.
	_, err = f.bench(t.Context(), &watched{}, "--url="+server.URL, "--workers=3", "--concurrency=3", "--request-count=6", "--workers-wait=3s")
	require.ErrorContains(t, err, "too few workers were free for 3 shares")
	require.ErrorContains(t, err, "is missing")
	require.NotErrorIs(t, err, context.Canceled)
}
