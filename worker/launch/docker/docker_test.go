package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/worker/launch"
	"github.com/fleetune/fleetune/worker/launch/port"
	"github.com/fleetune/fleetune/worker/process"
	"github.com/fleetune/fleetune/worker/serving/testengine"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

const image = "localhost/fleetune-test-engine:1"

// service is a Podman service of this test binary's own, with one image.
var service struct {
	once sync.Once
	dir  string
	host string
	cmd  *exec.Cmd
	skip string
	err  error
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, goleak.Cleanup(stopService)) }

func stopService(code int) {
	if service.cmd != nil {
		_ = service.cmd.Process.Signal(syscall.SIGTERM)
		_ = service.cmd.Wait()
	}
	if service.dir != "" {
		_ = exec.Command("podman", append(storage(), "system", "reset", "--force")...).Run()
		_ = os.RemoveAll(service.dir)
	}
	os.Exit(code)
}

func storage() []string {
	return []string{"--root", filepath.Join(service.dir, "root"), "--runroot", filepath.Join(service.dir, "run"), "--storage-driver", "vfs"}
}

// podman starts the service, or skips the test where there is none to start.
func podman(t *testing.T) string {
	t.Helper()
	service.once.Do(startService)
	if service.skip != "" {
		t.Skip(service.skip)
	}
	require.NoError(t, service.err)
	return service.host
}

func startService() {
	for _, name := range []string{"podman", "runc"} {
		if _, err := exec.LookPath(name); err != nil {
			service.skip = name + " is not installed"
			return
		}
	}
	if os.Geteuid() != 0 {
		service.skip = "a Podman service with the host's network needs root"
		return
	}
	dir, err := os.MkdirTemp("", "fleetune-podman")
	if err != nil {
		service.err = err
		return
	}
	service.dir = dir
	conf := filepath.Join(dir, "containers.conf")
	service.err = os.WriteFile(conf, []byte("[containers]\ndefault_ulimits = [\"nofile=20000:20000\", \"nproc=4096:4096\"]\n[engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\n"), 0o600)
	if service.err != nil {
		return
	}
	service.host = "unix://" + filepath.Join(dir, "podman.sock")
	cmd := exec.Command("podman", append(storage(), "system", "service", "--time", "0", service.host)...)
	cmd.Env = append(os.Environ(), "CONTAINERS_CONF="+conf)
	log, err := os.Create(filepath.Join(dir, "service.log"))
	if err != nil {
		service.err = err
		return
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if service.err = cmd.Start(); service.err != nil {
		return
	}
	service.cmd = cmd
	service.err = fill(dir)
}

// fill waits for the service and loads the image into it.
func fill(dir string) error {
	api, err := client.New(client.WithHost(service.host))
	if err != nil {
		return err
	}
	defer api.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		if _, err = api.Ping(ctx, client.PingOptions{}); err == nil {
			break
		}
		if ctx.Err() != nil {
			text, _ := os.ReadFile(filepath.Join(dir, "service.log"))
			return fmt.Errorf("the Podman service does not answer: %w: %s", err, text)
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
	dir = filepath.Join(dir, "context")
	binary := filepath.Join(dir, "engine")
	build := exec.Command("go", "build", "-p", "2", "-o", binary, "./testdata/engine")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building the engine: %w: %s", err, out)
	}
	file := []byte("FROM scratch\nCOPY engine /engine\nCOPY tmp /tmp\nCOPY tmp /traces\nENTRYPOINT [\"/not-asked-for\"]\n")
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "tmp"), 0o755), os.WriteFile(filepath.Join(dir, "Containerfile"), file, 0o600)); err != nil {
		return err
	}
	assemble := exec.Command("podman", append(storage(), "build", "--isolation", "chroot", "-t", image, "--ignorefile", "/dev/null", "-f", filepath.Join(dir, "Containerfile"), dir)...)
	if out, err := assemble.CombinedOutput(); err != nil {
		return fmt.Errorf("building the image: %w: %s", err, out)
	}
	return nil
}

func newLauncher(t *testing.T, worker string) *Launcher {
	t.Helper()
	l, err := New(Config{Host: podman(t), Worker: worker, Ports: port.New(), Runner: process.New(process.Config{}), SharedMemory: 64 << 20})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	require.NoError(t, l.Available(t.Context()))
	return l
}

func specOf(t *testing.T, shape testengine.Shape) launch.Spec {
	t.Helper()
	dir := t.TempDir()
	model := filepath.Join(dir, "model.gguf")
	require.NoError(t, os.WriteFile(model, []byte("GGUF"), 0o644))
	return launch.Spec{
		Tag: "fleetune-" + strings.ToLower(t.Name()) + "-7", Name: "a task-exp1", Dir: dir, Image: image,
		Model: launch.Model{ID: "m", Path: model}, Env: map[string]string{"MINE": "yes"}, Secrets: map[string]string{"TOKEN": "hidden"},
		Devices: []node.Device{{ID: "cpu-1", Vendor: node.CPU, Cores: []int{0}}},
		Log:     func(stream string) string { return filepath.Join(dir, stream+".log") },
		Command: func(p launch.Place) []string {
			words := append([]string{"/engine"}, testengine.Arguments(shape, "/traces")...)
			return append(words, "--model", p.ModelPath, "--host", p.Host, "--port", fmt.Sprint(p.Port))
		},
	}
}

// answers waits until the server is healthy.
func answers(t *testing.T, s launch.Server) {
	t.Helper()
	defer http.DefaultClient.CloseIdleConnections()
	require.Eventually(t, func() bool {
		response, err := http.Get(s.URL() + "/health")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		return response.StatusCode == http.StatusOK
	}, time.Minute, 20*time.Millisecond)
}

// left lists the containers of a worker.
func left(t *testing.T, l *Launcher) int {
	t.Helper()
	list, err := l.api.ContainerList(t.Context(), client.ContainerListOptions{All: true, Filters: make(client.Filters).Add("label", labelWorker+"="+l.Worker)})
	require.NoError(t, err)
	return len(list.Items)
}

func TestContainerServes(t *testing.T) {
	l := newLauncher(t, "serves")
	s := specOf(t, testengine.Tells)
	v, err := l.Launch(t.Context(), s)
	require.NoError(t, err)
	answers(t, v)
	require.Contains(t, v.Facts().ImageDigest, "sha256:")
	require.Contains(t, strings.Join(v.Facts().Command, " "), "--model /model/model.gguf --host 127.0.0.1")
	require.NotContains(t, strings.Join(v.Facts().Command, " "), "hidden")
	require.NoError(t, v.Stop(t.Context(), 5*time.Second))
	require.NoError(t, v.Stop(t.Context(), 5*time.Second))
	require.True(t, v.End().Stopped)
	require.Zero(t, left(t, l))
	text := v.Log()
	for _, line := range []string{"MINE=yes", "TOKEN=hidden", "CUDA_VISIBLE_DEVICES=", "EXP_RUN_ID=" + s.Tag} {
		require.Contains(t, text, line)
	}
}

func TestContainerThatIgnoresSIGTERM(t *testing.T) {
	l := newLauncher(t, "deaf")
	v, err := l.Launch(t.Context(), specOf(t, testengine.Deaf))
	require.NoError(t, err)
	answers(t, v)
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // nobody can wait
	require.NoError(t, v.Stop(ctx, time.Minute))
	require.Zero(t, left(t, l))
}

// A process that carries the attempt's tag outside of the container, as one that
// its daemon lost sight of would, is ended with the container.
func TestStopEndsWhatCarriesTheTag(t *testing.T) {
	l := newLauncher(t, "node-tagged")
	spec := specOf(t, testengine.Good)
	v, err := l.Launch(t.Context(), spec)
	require.NoError(t, err)
	stray := exec.Command("sleep", "1000")
	stray.Env = []string{process.TagVariable + "=" + spec.Tag}
	require.NoError(t, stray.Start())
	ended := make(chan error, 1)
	go func() { ended <- stray.Wait() }()
	require.NoError(t, v.Stop(t.Context(), time.Second))
	select {
	case err := <-ended:
		require.ErrorContains(t, err, "killed")
	case <-time.After(time.Minute):
		require.NoError(t, stray.Process.Kill())
		<-ended
		t.Fatal("it outlived the engine")
	}
}

func TestContainerThatEnds(t *testing.T) {
	l := newLauncher(t, "ends")
	v, err := l.Launch(t.Context(), specOf(t, testengine.DiesLoading))
	require.NoError(t, err)
	<-v.Done()
	require.Equal(t, launch.End{Code: 1}, v.End())
	require.Contains(t, v.Log(), "CUDA out of memory")
	require.NoError(t, v.Stop(t.Context(), time.Second))
	require.Zero(t, left(t, l))
}

// What a dead session of this worker left is removed; another worker's is not.
func TestSweep(t *testing.T) {
	mine, other := newLauncher(t, "mine"), newLauncher(t, "other")
	s := specOf(t, testengine.Good)
	lost, err := mine.Launch(t.Context(), s)
	require.NoError(t, err)
	s.Tag += "-other"
	kept, err := other.Launch(t.Context(), s)
	require.NoError(t, err)
	answers(t, kept)
	require.NoError(t, newLauncher(t, "mine").Sweep(t.Context()))
	require.Zero(t, left(t, mine))
	require.Equal(t, 1, left(t, other))
	<-lost.Done()
	require.NoError(t, lost.Stop(t.Context(), 0))
	require.NoError(t, kept.Stop(t.Context(), time.Second))
}

// behind returns a launcher whose way to the daemon leads through a server that
// answers with the status that the test wants instead, if it is not 0.
func behind(t *testing.T, worker string, refuse func(*http.Request) int) (*Launcher, *httptest.Server) {
	t.Helper()
	l := newLauncher(t, worker)
	path := strings.TrimPrefix(l.Host, "unix://")
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	proxy := &httputil.ReverseProxy{Transport: transport, FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", "podman" }}
	socket := filepath.Join(t.TempDir(), "daemon.sock")
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	require.NoError(t, err)
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status := refuse(r); status != 0 {
			http.Error(w, `{"message": "in trouble"}`, status)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	front.Listener.Close()
	front.Listener = listener
	front.Start()
	t.Cleanup(front.Close)
	c := l.Config
	c.Host = "unix://" + socket
	through, err := New(c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, through.Close()) })
	return through, front
}

// A daemon that is in trouble for a while costs a node no device: the removal is
// asked for until it is proven. A removal that has begun, as a conflict says, is
// no proof.
func TestRemovalOutlastsTrouble(t *testing.T) {
	for _, status := range []int{http.StatusInternalServerError, http.StatusConflict} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			var refused atomic.Int32
			l, _ := behind(t, "trouble", func(r *http.Request) int {
				if r.Method == http.MethodDelete && refused.Add(1) < 3 {
					return status
				}
				return 0
			})
			s := specOf(t, testengine.Good)
			s.Tag = "fleetune-trouble-" + fmt.Sprint(status)
			v, err := l.Launch(t.Context(), s)
			require.NoError(t, err)
			require.NoError(t, v.Stop(t.Context(), 0))
			require.EqualValues(t, 3, refused.Load())
			require.Zero(t, left(t, l))
		})
	}
}

// A daemon that goes away takes the news of the engine with it: that is no end of
// the engine's own, and it is removed all the same.
func TestDaemonThatTellsNoMore(t *testing.T) {
	l, front := behind(t, "gone", func(*http.Request) int { return 0 })
	v, err := l.Launch(t.Context(), specOf(t, testengine.Good))
	require.NoError(t, err)
	answers(t, v)
	front.CloseClientConnections()
	<-v.Done()
	require.Contains(t, v.End().Lost, "the container daemon tells no more")
	require.Equal(t, -1, v.End().Code)
	require.NoError(t, v.Stop(t.Context(), 0))
	require.Zero(t, left(t, l))
}

func TestWhatCannotBeLaunched(t *testing.T) {
	l := newLauncher(t, "wrong")
	s := specOf(t, testengine.Good)
	s.Image = "localhost:1/no-such-image:1"
	_, err := l.Launch(t.Context(), s)
	require.ErrorIs(t, err, ErrImage)
	s = specOf(t, testengine.Good)
	s.Command = func(launch.Place) []string { return []string{"/no-such-program"} }
	_, err = l.Launch(t.Context(), s)
	require.ErrorIs(t, err, ErrStart)
	require.Zero(t, left(t, l))
}

func TestDaemonElsewhereIsRefused(t *testing.T) {
	l, err := New(Config{Host: "tcp://192.0.2.1:2375"})
	require.NoError(t, err)
	defer l.Close()
	require.ErrorContains(t, l.Available(t.Context()), "not on this node")
	_, err = New(Config{Ulimits: []string{"nofile"}})
	require.ErrorContains(t, err, "name=soft:hard")
	for _, wrong := range []string{"cache", "cache:/root/.cache", "/a:/b:exec", "/a:b"} {
		_, err = New(Config{Volumes: []string{wrong}})
		require.ErrorContains(t, err, "expected /here:/inside", wrong)
	}
}

func TestUsualAddresses(t *testing.T) {
	t.Setenv("DOCKER_HOST", "")
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/7")
	require.Equal(t, []string{"unix:///var/run/docker.sock", "unix:///run/podman/podman.sock", "unix:///run/user/7/podman/podman.sock"}, Usual())
	t.Setenv("DOCKER_HOST", "unix:///mine")
	require.Equal(t, []string{"unix:///mine"}, Usual())
}

// What a worker was given for all containers is in each.
func TestVolumesAndSharedMemory(t *testing.T) {
	l := newLauncher(t, "volumes")
	l.Volumes, l.SharedMemory = []string{"/var/cache/vllm:/root/.cache/vllm"}, 1<<30
	s := specOf(t, testengine.Good)
	s.Model.Cache = "/cache"
	o, err := l.options(t.Context(), s, 1)
	require.NoError(t, err)
	require.Equal(t, []string{"/cache:/root/.cache/huggingface:rw", s.Model.Path + ":/model/model.gguf:ro", "/var/cache/vllm:/root/.cache/vllm"}, o.HostConfig.Binds)
	require.EqualValues(t, 1<<30, o.HostConfig.ShmSize)
}

func TestDevicesOfAContainer(t *testing.T) {
	l := newLauncher(t, "devices")
	gpus := []node.Device{{ID: "GPU-1", Vendor: "nvidia"}, {ID: "GPU-2", Vendor: "nvidia"}}
	for way, want := range map[GPUs]string{
		Auto: `"Devices":[{"PathOnHost":"nvidia.com/gpu=GPU-1","PathInContainer":"","CgroupPermissions":""},{"PathOnHost":"nvidia.com/gpu=GPU-2"`,
		IDs:  `"DeviceRequests":[{"Driver":"nvidia","Count":0,"DeviceIDs":["GPU-1","GPU-2"],"Capabilities":[["gpu"]]`,
	} {
		l.GPUs = way
		s := specOf(t, testengine.Good)
		s.Devices = gpus
		o, err := l.options(t.Context(), s, 1)
		require.NoError(t, err)
		text, err := json.Marshal(o.HostConfig)
		require.NoError(t, err)
		require.Contains(t, string(text), want)
		require.Contains(t, o.Config.Env, "CUDA_VISIBLE_DEVICES=GPU-1,GPU-2")
	}
}
