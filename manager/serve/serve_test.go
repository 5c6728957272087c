package serve

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fleetune/fleetune/manager/postgres/pgtest"
	"github.com/fleetune/fleetune/shared/bus"
	"github.com/fleetune/fleetune/shared/natsd"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(beWorker) != "" {
		workerProcess() // a test started this program again, to be a worker
		return
	}
	// A stream that is being made while its server shuts down keeps the
	// goroutines of its store: nats-server stops those it knows of by then.
	pgtest.Main(m, goleak.IgnoreCurrent(),
		goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server.(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server/ats.Register.func1"))
}

func TestSecretsAreReadFromFilesThatOthersCannotRead(t *testing.T) {
	const good = "0123456789abcdef"
	for _, c := range []struct {
		name, content string
		mode          os.FileMode
		want          string
	}{
		{"good", good + "\n", 0o600, ""},
		{"read-only", good, 0o400, ""},
		{"group", good, 0o640, "chmod 600"},
		{"world", good, 0o604, "chmod 600"},
		{"short", "0123456789", 0o600, "fewer than 16 characters"},
		{"blank", "  \n\n                    ", 0o600, "fewer than 16 characters"},
	} {
		path := filepath.Join(t.TempDir(), c.name)
		require.NoError(t, os.WriteFile(path, []byte(c.content), 0o600))
		require.NoError(t, os.Chmod(path, c.mode))
		got, err := readSecret("--token-file", path)
		if c.want == "" {
			require.NoError(t, err, c.name)
			require.Equal(t, good, got)
			continue
		}
		require.ErrorContains(t, err, c.want, c.name)
		require.ErrorContains(t, err, "--token-file")
		require.NotContains(t, err.Error(), "0123", "the secret itself is not told")
	}
	_, err := readSecret("--token-file", filepath.Join(t.TempDir(), "absent"))
	require.ErrorContains(t, err, "--token-file")
}

func TestCommandsRefuseWhatCannotWork(t *testing.T) {
	t.Setenv("FLEETUNE_POSTGRES", "")
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte("0123456789abcdef"), 0o600))
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"manager"}, "token-file"},
		{[]string{"manager", "--token-file", token}, "FLEETUNE_POSTGRES"},
		{[]string{"manager", "--token-file", token + "x", "--postgres", "postgres://x"}, "--token-file"},
		{[]string{"manager", "--token-file", token, "--postgres", "postgres://x", "--listen", "nowhere"}, "--listen"},
		{[]string{"nats", "--secret-file", token}, "dir"},
		{[]string{"nats", "--dir", t.TempDir(), "--secret-file", token, "--listen", "host"}, "--listen"},
		{[]string{"nats", "--dir", t.TempDir(), "--secret-file", token, "--listen", "127.0.0.1:http"}, "expected a number"},
		{[]string{"worker"}, "join"},
	} {
		for _, cmd := range Commands("test") {
			if cmd.Name() != c.args[0] {
				continue
			}
			cmd.SetArgs(c.args[1:])
			cmd.SetOut(io.Discard)
			cmd.SetErr(io.Discard)
			err := cmd.ExecuteContext(t.Context())
			require.ErrorContains(t, err, c.want, strings.Join(c.args, " "))
		}
	}
}

// A manager against a server and a database of one's own: it answers, takes
// the tokens for what each is for, and ends when it is told to.
func TestManagerServesUntilItIsStopped(t *testing.T) {
	const token, join = "the token of the api", "the token to join with"
	secret := []byte("a secret of the server")
	server, err := natsd.Start(t.Context(), natsd.Options{Dir: t.TempDir(), Secret: secret, Log: zerolog.Nop()})
	require.NoError(t, err)
	defer server.Shutdown()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	m := Manager{
		Postgres: pgtest.URL(t), Listener: listener, Token: token, JoinToken: join, Secret: secret, WorkerBus: "nats://outside:7422",
		Bus: bus.Options{URL: server.URL(), Name: natsd.ManagerUser, User: natsd.ManagerUser, Password: natsd.ManagerPassword(secret)},
		Log: zerolog.Nop(), Lease: 30 * time.Second, Version: "test",
	}
	ctx, stop := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- m.Run(ctx, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	client := &http.Client{}
	call := func(method, path, token string) (int, []byte) {
		request, err := http.NewRequestWithContext(t.Context(), method, "http://"+listener.Addr().String()+path, nil)
		require.NoError(t, err)
		if token != "" {
			request.Header.Set("Authorization", "Bearer "+token)
		}
		response, err := client.Do(request)
		require.NoError(t, err)
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return response.StatusCode, body
	}
	code, _ := call("GET", "/healthz", "")
	require.Equal(t, http.StatusOK, code)
	code, _ = call("GET", "/api/v1/tasks", "")
	require.Equal(t, http.StatusUnauthorized, code)
	code, _ = call("GET", "/api/v1/tasks", token)
	require.Equal(t, http.StatusOK, code)
	code, body := call("POST", "/api/v1/workers/w1/credentials", join)
	require.Equal(t, http.StatusOK, code, string(body))
	var access struct{ URL, User, Password string }
	require.NoError(t, json.Unmarshal(body, &access))
	require.Equal(t, "nats://outside:7422", access.URL)
	require.Equal(t, natsd.WorkerPassword(secret, "w1"), access.Password)
	code, _ = call("GET", "/api/v1/tasks", join)
	require.NotEqual(t, http.StatusOK, code, "the join token lets nobody read")
	client.CloseIdleConnections()
	stop()
	require.NoError(t, <-ended)
}
