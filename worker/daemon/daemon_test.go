package daemon

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fleetune/fleetune/shared/bus"
	"github.com/fleetune/fleetune/worker/process"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestToken(t *testing.T) {
	for name, want := range map[string]string{
		"node-1": "node-1", "Node.Example.COM": "node-example-com", " a  b ": "a-b", "gpu_07": "gpu_07", "…": "", "*.>": "", //nolint:gocritic // spaces around it are the case
	} {
		if got := Token(name); got != want {
			t.Errorf("Token(%q) = %q, want %q", name, got, want)
		}
		if got := Token(Token(name)); got != Token(name) {
			t.Errorf("Token(%q) is no token: %q", name, got)
		}
	}
}

func TestJoinAsksForTheWorkersOwnCredentials(t *testing.T) {
	var asked, token string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked, token = r.Method+" "+r.URL.EscapedPath(), r.Header.Get("Authorization")
		_, _ = io.WriteString(w, `{"url": "nats://there:7422", "user": "w1", "password": "p"}`)
	}))
	defer server.Close()
	defer http.DefaultClient.CloseIdleConnections()
	got, err := Join(t.Context(), server.URL+"/", "w1", "join-token")
	if err != nil {
		t.Fatal(err)
	}
	want := bus.Options{URL: "nats://there:7422", User: "w1", Password: "p"}
	if got.URL != want.URL || got.User != want.User || got.Password != want.Password {
		t.Errorf("got %+v", got)
	}
	if asked != "POST /api/v1/workers/w1/credentials" || token != "Bearer join-token" {
		t.Errorf("asked %q with %q", asked, token)
	}
}

func TestJoinSaysWhyItFailed(t *testing.T) {
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "the token is not valid", http.StatusUnauthorized)
	}))
	defer refusing.Close()
	foreign := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"status":401,"detail":"the token is not this manager's","next":"send the token"}`)
	}))
	defer foreign.Close()
	babbling := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "<html>")
	}))
	defer babbling.Close()
	defer http.DefaultClient.CloseIdleConnections()
	for _, c := range []struct{ manager, token, want string }{
		{refusing.URL, "", "FLEETUNE_TOKEN"},
		{refusing.URL, "t", "the token is not valid"},
		{foreign.URL, "t", "401 Unauthorized: the token is not this manager's; FLEETUNE_TOKEN takes what the file join.token"},
		{babbling.URL, "t", "joining " + babbling.URL},
		{"http://127.0.0.1:1", "t", "joining http://127.0.0.1:1"},
		{"://", "t", `--join "://"`},
	} {
		_, err := Join(t.Context(), c.manager, "w1", c.token)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.manager, err, c.want)
		}
	}
}

func TestAccess(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := options{nats: "nats://n", passwordFile: file}
	o.Name = "w1"
	got, err := o.access(t.Context())
	if err != nil || got.User != "w1" || got.Password != "secret" || got.URL != "nats://n" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := (&options{nats: "nats://n"}).access(t.Context()); err == nil {
		t.Error("no credentials, and no error")
	}
	if _, err := (&options{nats: "nats://n", passwordFile: file + "x"}).access(t.Context()); err == nil {
		t.Error("no such file, and no error")
	}
}

func TestNameMustBeAToken(t *testing.T) {
	cmd := Command("fleetune-worker", "test")
	cmd.SetArgs([]string{"--nats", "nats://n", "--name", "Node 1"})
	cmd.SetOut(io.Discard)
	cmd.SetErr(io.Discard)
	if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), `"node-1-1"`) {
		t.Error(err)
	}
}

// Two interrupts are two wishes, and further ones change nothing.
func TestSignalsAreDrainWishes(t *testing.T) {
	wishes, stop := Signals()
	for range 2 {
		if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		select {
		case <-wishes:
		case <-time.After(30 * time.Second):
			t.Fatal("the signal was not passed on")
		}
	}
	stop()
}

// What an earlier session of this worker left running is dead before a device
// is offered, and its folders are gone.
func TestSweepEndsWhatADeadSessionLeft(t *testing.T) {
	dir := t.TempDir()
	tag := "fleetune-left-" + filepath.Base(filepath.Dir(dir)) + "-1"
	left := filepath.Join(dir, "attempts", tag)
	if err := os.MkdirAll(filepath.Join(left, "work"), 0o700); err != nil {
		t.Fatal(err)
	}
	orphan := exec.CommandContext(t.Context(), "sleep", "1000")
	orphan.Env = []string{process.TagVariable + "=" + tag, "PATH=" + os.Getenv("PATH")}
	orphan.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := orphan.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- orphan.Wait() }()
	if err := sweep(t.Context(), process.New(process.Config{}), dir); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := <-ended; !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("it ended with %v", err)
	}
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Error("the attempt's folder is still there")
	}
	if err := sweep(context.Background(), process.New(process.Config{}), t.TempDir()); err != nil {
		t.Errorf("nothing to sweep: %v", err)
	}
}

func TestSecretsStayInTheirFolder(t *testing.T) {
	dir := t.TempDir()
	for path, text := range map[string]string{"secrets/key": "k", "outside": "no"} {
		full := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := Config{Secrets: filepath.Join(dir, "secrets")}
	if got, err := c.secret("key"); err != nil || got != "k" {
		t.Errorf("%q, %v", got, err)
	}
	for _, name := range []string{"absent", "../outside", filepath.Join(dir, "outside")} {
		if got, err := c.secret(name); err == nil {
			t.Errorf("%s: read %q", name, got)
		}
	}
	if _, err := (Config{}).secret("key"); err == nil || !strings.Contains(err.Error(), "--secrets") {
		t.Error(err)
	}
}

func TestLabelsSayWhatEveryNodeCan(t *testing.T) {
	c := Config{Labels: map[string]string{"rack": "a", "os": "other"}}
	labels := c.labels()
	if labels["rack"] != "a" || labels["os"] != "other" || labels["arch"] == "" {
		t.Errorf("%v", labels)
	}
}
