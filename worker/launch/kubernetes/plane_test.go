package kubernetes

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/fleetune/fleetune/worker/launch/port"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
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
