package kubernetes

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fleetune/fleetune/worker/launch"
	"github.com/fleetune/fleetune/worker/launch/port"
	"github.com/fleetune/fleetune/worker/serving/testengine"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// binaries is where scripts/k8s puts a control plane.
const binaries = "FLEETUNE_TEST_KUBERNETES"

// A plane is a real control plane: etcd, the API server and the controllers of
// jobs and of garbage. Only the node is a stand-in.
type plane struct {
	t    *testing.T
	dir  string
	conf string // kubeconfig
	url  string
}

func newPlane(t *testing.T) *plane {
	t.Helper()
	bin := os.Getenv(binaries)
	if bin == "" {
		t.Skip(binaries + " names no control plane; scripts/k8s builds one")
	}
	p := &plane{t: t, dir: t.TempDir()}
	etcd, peer, api := freePort(t), freePort(t), freePort(t)
	p.url = fmt.Sprintf("https://127.0.0.1:%d", api)
	key := p.key()
	tokens := p.write("tokens.csv", "secret-token,admin,admin,system:masters\n")
	p.conf = p.write("kubeconfig", fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: %q, insecure-skip-tls-verify: true}}]
users: [{name: u, user: {token: secret-token}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`, p.url))
	p.start(filepath.Join(bin, "etcd"), "--data-dir", filepath.Join(p.dir, "etcd"), "--unsafe-no-fsync",
		"--listen-client-urls", fmt.Sprintf("http://127.0.0.1:%d", etcd), "--advertise-client-urls", fmt.Sprintf("http://127.0.0.1:%d", etcd),
		"--listen-peer-urls", fmt.Sprintf("http://127.0.0.1:%d", peer))
	p.start(filepath.Join(bin, "kube-apiserver"), "--etcd-servers", fmt.Sprintf("http://127.0.0.1:%d", etcd),
		"--bind-address", "127.0.0.1", "--secure-port", strconv.Itoa(api), "--cert-dir", filepath.Join(p.dir, "certs"),
		"--endpoint-reconciler-type", "none", "--disable-admission-plugins", "ServiceAccount", "--token-auth-file", tokens,
		"--authorization-mode", "AlwaysAllow", "--service-cluster-ip-range", "10.0.0.0/24", "--allow-privileged",
		"--service-account-issuer", "https://test", "--service-account-key-file", key, "--service-account-signing-key-file", key)
	p.await()
	p.start(filepath.Join(bin, "kube-controller-manager"), "--kubeconfig", p.conf, "--leader-elect=false", "--secure-port", "0",
		"--controllers", "job-controller,garbage-collector-controller", "--use-service-account-credentials=false")
	return p
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (p *plane) write(name, text string) string {
	p.t.Helper()
	path := filepath.Join(p.dir, name)
	require.NoError(p.t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func (p *plane) key() string {
	p.t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(p.t, err)
	return p.write("key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})))
}

// start runs a part of the control plane until the test ends.
func (p *plane) start(program string, args ...string) {
	p.t.Helper()
	log, err := os.Create(filepath.Join(p.dir, filepath.Base(program)+".log"))
	require.NoError(p.t, err)
	defer log.Close()
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(p.t, cmd.Start())
	p.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if text, err := os.ReadFile(log.Name()); err == nil && p.t.Failed() {
			p.t.Logf("%s: …%s", filepath.Base(program), text[max(0, len(text)-3000):])
		}
	})
}

func (p *plane) launcher(worker string) *Launcher {
	p.t.Helper()
	l, err := New(Config{Kubeconfig: p.conf, Worker: worker, Namespace: "engines", Reach: PodIP, Ports: port.New()})
	require.NoError(p.t, err)
	p.t.Cleanup(func() { require.NoError(p.t, l.Close()) })
	return l
}

// await waits for the API, and makes the namespace of the tests.
func (p *plane) await() {
	p.t.Helper()
	l := p.launcher("setup")
	namespace := &unstructured.Unstructured{Object: object{"apiVersion": "v1", "kind": "Namespace", "metadata": object{"name": "engines"}}}
	require.Eventually(p.t, func() bool {
		_, err := l.api.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).Create(p.t.Context(), namespace, metav1.CreateOptions{})
		return err == nil || apierrors.IsAlreadyExists(err)
	}, 2*time.Minute, 100*time.Millisecond, "the API server does not answer")
}

// A nodeStand takes the part of scheduler and kubelet: it runs a pod's engine
// as a process that listens on the pod's address.
type nodeStand struct {
	*plane
	l       *Launcher
	mu      sync.Mutex
	running map[string]*exec.Cmd
	count   int
	server  *httptest.Server
}

const nodeName = "stand"

func (p *plane) node() *nodeStand {
	p.t.Helper()
	n := &nodeStand{plane: p, l: p.launcher("node"), running: map[string]*exec.Cmd{}}
	n.server = httptest.NewTLSServer(http.HandlerFunc(n.serveLogs))
	n.register()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.run(ctx)
	}()
	p.t.Cleanup(func() {
		cancel()
		<-done
		n.server.CloseClientConnections()
		n.server.Close()
		for _, cmd := range n.running {
			_ = cmd.Process.Kill()
		}
	})
	return n
}

// register tells the API server where it finds the node's logs.
func (n *nodeStand) register() {
	n.t.Helper()
	u, err := url.Parse(n.server.URL)
	require.NoError(n.t, err)
	number, err := strconv.ParseInt(u.Port(), 10, 64)
	require.NoError(n.t, err)
	nodes := n.l.api.Resource(schema.GroupVersionResource{Version: "v1", Resource: "nodes"})
	status := object{"addresses": []any{object{"type": "InternalIP", "address": "127.0.0.1"}}, "daemonEndpoints": object{"kubeletEndpoint": object{"Port": number}}}
	made, err := nodes.Create(n.t.Context(), &unstructured.Unstructured{Object: object{"apiVersion": "v1", "kind": "Node", "metadata": object{"name": nodeName}}}, metav1.CreateOptions{})
	require.NoError(n.t, err)
	made.Object["status"] = status
	_, err = nodes.UpdateStatus(n.t.Context(), made, metav1.UpdateOptions{})
	require.NoError(n.t, err)
}

// serveLogs is /containerLogs/NAMESPACE/POD/CONTAINER; it follows by waiting
// for the end.
func (n *nodeStand) serveLogs(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(r.URL.Path, "/")
	if len(parts) < 4 || parts[1] != "containerLogs" {
		http.NotFound(w, r)
		return
	}
	offset := int64(0)
	for {
		ended := !n.alive(parts[3])
		text, err := os.ReadFile(n.logOf(parts[3]))
		if err == nil && int64(len(text)) > offset {
			_, _ = w.Write(text[offset:])
			offset = int64(len(text))
			w.(http.Flusher).Flush()
		}
		if ended || r.Context().Err() != nil {
			return
		}
		select {
		case <-r.Context().Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (n *nodeStand) logOf(pod string) string { return filepath.Join(n.dir, pod+".log") }

func (n *nodeStand) alive(pod string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.running[pod] != nil
}

func (n *nodeStand) run(ctx context.Context) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	seen := map[string]bool{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		list, err := n.l.api.Resource(pods()).Namespace("engines").List(ctx, metav1.ListOptions{})
		if err != nil {
			continue
		}
		for i := range list.Items {
			pod := &list.Items[i]
			switch name := pod.GetName(); {
			case pod.GetDeletionTimestamp() != nil:
				n.end(ctx, pod)
			case !seen[name]:
				seen[name] = true
				n.begin(ctx, pod)
			}
		}
	}
}

// begin binds a pod and starts its engine.
func (n *nodeStand) begin(ctx context.Context, pod *unstructured.Unstructured) {
	name := pod.GetName()
	binding := &unstructured.Unstructured{Object: object{"apiVersion": "v1", "kind": "Binding", "metadata": object{"name": name},
		"target": object{"kind": "Node", "name": nodeName, "apiVersion": "v1"}}}
	if _, err := n.l.api.Resource(pods()).Namespace("engines").Create(ctx, binding, metav1.CreateOptions{}, name, "binding"); err != nil {
		_ = n.bind(ctx, name, binding)
	}
	n.count++
	ip := fmt.Sprintf("127.0.2.%d", n.count)
	list, _, _ := unstructured.NestedSlice(pod.Object, "spec", "containers")
	container := list[0].(map[string]any)
	words, _, _ := unstructured.NestedStringSlice(container, "command")
	for i, w := range words {
		if w == "0.0.0.0" {
			words[i] = ip // the pod's network is the pod's alone
		}
	}
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Env = n.environment(ctx, container)
	out, err := os.Create(n.logOf(name))
	if err != nil {
		return
	}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		n.status(ctx, name, ip, "Failed", object{"terminated": object{"exitCode": int64(127), "reason": err.Error()}})
		return
	}
	n.mu.Lock()
	n.running[name] = cmd
	n.mu.Unlock()
	n.status(ctx, name, ip, "Running", object{"running": object{"startedAt": time.Now().UTC().Format(time.RFC3339)}})
	go func() {
		_ = cmd.Wait()
		out.Close()
		n.mu.Lock()
		delete(n.running, name)
		n.mu.Unlock()
		code := int64(cmd.ProcessState.ExitCode())
		if code < 0 {
			code = 137
		}
		n.status(ctx, name, ip, "Failed", object{"terminated": object{"exitCode": code}})
	}()
}

// bind posts the binding where the dynamic client cannot.
func (n *nodeStand) bind(ctx context.Context, name string, binding *unstructured.Unstructured) error {
	body, err := binding.MarshalJSON()
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, n.url+"/api/v1/namespaces/engines/pods/"+name+"/binding", strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := n.l.http.Do(request)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

func (n *nodeStand) environment(ctx context.Context, container map[string]any) []string {
	var env []string
	list, _, _ := unstructured.NestedSlice(container, "env")
	for _, e := range list {
		v := e.(map[string]any)
		value, _ := v["value"].(string)
		if name, ok, _ := unstructured.NestedString(v, "valueFrom", "secretKeyRef", "name"); ok {
			key, _, _ := unstructured.NestedString(v, "valueFrom", "secretKeyRef", "key")
			secret, err := n.l.api.Resource(secrets()).Namespace("engines").Get(ctx, name, metav1.GetOptions{})
			if err == nil {
				value, _, _ = unstructured.NestedString(secret.Object, "data", key) // in base64, as it comes
			}
		}
		env = append(env, fmt.Sprintf("%v=%s", v["name"], value))
	}
	return env
}

func (n *nodeStand) status(ctx context.Context, name, ip, phase string, state object) {
	patch := &unstructured.Unstructured{Object: object{"status": object{"phase": phase, "podIP": ip, "podIPs": []any{object{"ip": ip}},
		"containerStatuses": []any{object{"name": "engine", "image": "i", "imageID": "sha256:stand", "ready": phase == "Running", "restartCount": int64(0), "state": state}}}}}
	body, err := patch.MarshalJSON()
	if err != nil {
		body = []byte("{}")
	}
	_, _ = n.l.api.Resource(pods()).Namespace("engines").Patch(ctx, name, types.MergePatchType, body, metav1.PatchOptions{}, "status")
}

// end stops a pod's engine as a kubelet does, and lets the pod go.
func (n *nodeStand) end(ctx context.Context, pod *unstructured.Unstructured) {
	name := pod.GetName()
	n.mu.Lock()
	cmd := n.running[name]
	n.mu.Unlock()
	if cmd != nil {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if pod.GetDeletionTimestamp().After(time.Now()) {
			return // its grace is not over; the next look says more
		}
		_ = cmd.Process.Kill()
		return
	}
	now := int64(0)
	_ = n.l.api.Resource(pods()).Namespace("engines").Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: &now})
}

func (p *plane) spec(shape testengine.Shape) launch.Spec {
	dir := p.t.TempDir()
	return launch.Spec{
		Tag: "fleetune-" + strings.ToLower(strings.ReplaceAll(p.t.Name(), "/", "-")), Name: "Task 1-exp1", Dir: dir, Image: "i",
		Model: launch.Model{ID: "m"}, Env: map[string]string{"MINE": "yes"}, Secrets: map[string]string{"TOKEN": "hidden"},
		Log: func(stream string) string { return filepath.Join(dir, stream+".log") },
		Command: func(place launch.Place) []string {
			return append(testengine.Program(shape, dir), "--host", place.Host, "--port", strconv.Itoa(place.Port))
		},
	}
}

// leftover counts what a worker's launches have left in the cluster.
func (p *plane) leftover(l *Launcher) (n int) {
	p.t.Helper()
	for _, kind := range made() {
		list, err := l.list(p.t.Context(), kind, labelWorker+"="+label(l.Worker))
		if absent(err) {
			continue
		}
		require.NoError(p.t, err)
		n += len(list)
	}
	return n
}

func TestEnginesInACluster(t *testing.T) {
	p := newPlane(t)
	p.node()
	l := p.launcher("w1")
	require.NoError(t, l.Available(t.Context()))
	require.NoError(t, l.Sweep(t.Context()))

	t.Run("serves", func(t *testing.T) {
		s := p.spec(testengine.Tells)
		v, err := l.Launch(t.Context(), s)
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			response, err := http.Get(v.URL() + "/health")
			if err == nil {
				response.Body.Close()
			}
			return err == nil && response.StatusCode == http.StatusOK
		}, 30*time.Second, 50*time.Millisecond)
		http.DefaultClient.CloseIdleConnections()
		require.Equal(t, "sha256:stand", v.Facts().ImageDigest)
		require.NoError(t, v.Stop(t.Context(), 2*time.Second))
		require.NoError(t, v.Stop(t.Context(), 2*time.Second))
		<-v.Done()
		require.True(t, v.End().Stopped)
		require.Contains(t, v.Log(), "MINE=yes")
		require.Contains(t, v.Log(), "TOKEN=")
		require.True(t, testengine.Free(s.Dir))
		require.Zero(t, p.leftover(l))
	})
	t.Run("dies", func(t *testing.T) {
		v, err := l.Launch(t.Context(), p.spec(testengine.DiesLoading))
		require.NoError(t, err)
		<-v.Done()
		require.Equal(t, launch.End{Code: 1}, v.End())
		require.NoError(t, v.Stop(t.Context(), time.Second))
		require.Contains(t, v.Log(), "CUDA out of memory")
		require.Zero(t, p.leftover(l))
	})
	t.Run("sweep", func(t *testing.T) {
		s := p.spec(testengine.Deaf)
		lost, err := l.Launch(t.Context(), s)
		require.NoError(t, err)
		other := p.launcher("w2")
		kept := p.spec(testengine.Good)
		kept.Tag += "-other"
		v, err := other.Launch(t.Context(), kept)
		require.NoError(t, err)
		require.NoError(t, p.launcher("w1").Sweep(t.Context()))
		require.True(t, testengine.Free(s.Dir))
		require.Zero(t, p.leftover(l))
		require.Positive(t, p.leftover(other))
		require.NoError(t, lost.Stop(t.Context(), 0))
		require.NoError(t, v.Stop(t.Context(), time.Second))
	})
	t.Run("cancelled while it waits", func(t *testing.T) {
		s := p.spec(testengine.Good)
		command := s.Command
		s.Command = command
		s.Kubernetes = nil
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(context.Canceled)
		_, err := l.Launch(ctx, s)
		require.Error(t, err)
		require.Zero(t, p.leftover(l))
	})
}
