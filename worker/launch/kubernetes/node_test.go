package kubernetes

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// A nodeStand takes the part of scheduler and kubelet: it runs a pod's engine
// as a process that listens on the pod's address.
type nodeStand struct {
	*plane
	l       *Launcher
	mu      sync.Mutex
	running map[string]*exec.Cmd
	ips     map[string]string
	// containers are the names of a pod's.
	containers map[string][]string
	count      int
	server     *httptest.Server
	// images is where the programs of an image are, by its name, for engines
	// that are asked for by name.
	images string
	seen   []unstructured.Unstructured // every pod that was begun
}

const nodeName = "stand"

func (p *plane) node() *nodeStand {
	p.t.Helper()
	n := &nodeStand{plane: p, l: p.launcher("node"), running: map[string]*exec.Cmd{}, ips: map[string]string{}, containers: map[string][]string{}, images: filepath.Join(p.dir, "images")}
	n.server = httptest.NewTLSServer(http.HandlerFunc(n.serve))
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

// serve is what the API server asks a kubelet for.
func (n *nodeStand) serve(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/portForward/") {
		n.serveForward(w, r)
		return
	}
	n.serveLogs(w, r)
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
		n.control(ctx)
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
	list, _, _ := unstructured.NestedSlice(pod.Object, "spec", "containers")
	names := make([]string, len(list))
	for i, c := range list {
		names[i] = c.(map[string]any)["name"].(string)
	}
	n.mu.Lock()
	n.count++
	ip := fmt.Sprintf("127.0.2.%d", n.count)
	n.ips[name] = ip
	n.containers[name] = names
	n.seen = append(n.seen, *pod)
	n.mu.Unlock()
	container := list[0].(map[string]any)
	words, _, _ := unstructured.NestedStringSlice(container, "command")
	for i, w := range words {
		if w == "0.0.0.0" {
			words[i] = ip // the pod's network is the pod's alone
		}
	}
	image, _ := container["image"].(string)
	if inside := filepath.Join(n.images, image, words[0]); exists(inside) {
		words[0] = inside
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
				text, _, _ := unstructured.NestedString(secret.Object, "data", key)
				plain, _ := base64.StdEncoding.DecodeString(text)
				value = string(plain)
			}
		}
		env = append(env, fmt.Sprintf("%v=%s", v["name"], value))
	}
	return env
}

// statuses are those of a pod's containers, of which the stand runs the first.
// Kubelets list them by name.
func (n *nodeStand) statuses(pod string, first object) (list []any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, name := range n.containers[pod] {
		status := object{"name": name, "image": "i", "imageID": "sha256:beside", "ready": true, "restartCount": int64(0), "state": object{"running": object{}}}
		if i == 0 {
			status = first
			status["name"] = name
		}
		list = append(list, status)
	}
	slices.SortFunc(list, func(a, b any) int { return cmp.Compare(a.(object)["name"].(string), b.(object)["name"].(string)) })
	return list
}

func (n *nodeStand) status(ctx context.Context, name, ip, phase string, state object) {
	patch := &unstructured.Unstructured{Object: object{"status": object{"phase": phase, "podIP": ip, "podIPs": []any{object{"ip": ip}},
		"containerStatuses": n.statuses(name, object{"image": "i", "imageID": "sha256:stand", "ready": phase == "Running", "restartCount": int64(0), "state": state})}}}
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

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// pods are those that were begun so far.
func (n *nodeStand) pods() []unstructured.Unstructured {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.seen)
}

// serveForward is /portForward/NAMESPACE/POD: streams come in pairs, one for
// errors and one for data, which leads to the pod's port.
func (n *nodeStand) serveForward(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(r.URL.Path, "/")
	n.mu.Lock()
	ip := n.ips[parts[len(parts)-1]]
	n.mu.Unlock()
	if ip == "" {
		http.NotFound(w, r)
		return
	}
	if _, err := httpstream.Handshake(r, w, []string{portforward.PortForwardProtocolV1Name}); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var copying sync.WaitGroup
	var mu sync.Mutex
	tells := map[string]httpstream.Stream{} // where the errors of a request go
	conn := spdy.NewResponseUpgrader().UpgradeResponse(w, r, func(s httpstream.Stream, reply <-chan struct{}) error {
		mu.Lock()
		defer mu.Unlock()
		request := s.Headers().Get("requestID")
		if s.Headers().Get("streamType") == "error" {
			tells[request] = s
			return nil
		}
		tell := tells[request]
		copying.Go(func() {
			<-reply
			n.lead(s, tell, net.JoinHostPort(ip, s.Headers().Get("port")))
		})
		return nil
	})
	if conn == nil {
		return
	}
	<-conn.CloseChan()
	copying.Wait()
}

// lead joins a stream and a port until either ends, and tells like a kubelet
// when nobody listens there.
func (n *nodeStand) lead(s, tell httpstream.Stream, to string) {
	defer func() {
		_ = s.Reset()
		_ = tell.Close()
	}()
	c, err := net.Dial("tcp", to)
	if err != nil {
		fmt.Fprintf(tell, "failed to connect: %v", err)
		return
	}
	defer c.Close()
	over := make(chan struct{}, 2)
	for _, way := range []struct {
		to   io.Writer
		from io.Reader
	}{{c, s}, {s, c}} {
		go func() {
			_, _ = io.Copy(way.to, way.from)
			over <- struct{}{}
		}()
	}
	<-over
	_ = c.Close()
	_ = s.Close()
	<-over
}

// control takes the part of OME's controller: an InferenceService gets a pod
// made of its runner, which goes with it.
func (n *nodeStand) control(ctx context.Context) {
	list, err := n.l.api.Resource(inferenceServices()).Namespace("engines").List(ctx, metav1.ListOptions{})
	if err != nil {
		return // OME is not installed
	}
	for i := range list.Items {
		service := &list.Items[i]
		if service.GetDeletionTimestamp() != nil {
			continue
		}
		runner, _, _ := unstructured.NestedMap(service.Object, "spec", "engine", "runner")
		labels, _, _ := unstructured.NestedStringMap(service.Object, "spec", "engine", "labels")
		pod := &unstructured.Unstructured{Object: object{"apiVersion": "v1", "kind": "Pod", "spec": object{"restartPolicy": "Never", "automountServiceAccountToken": false, "containers": []any{runner}}}}
		pod.SetName(service.GetName() + "-engine")
		pod.SetLabels(labels)
		pod.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: service.GetAPIVersion(), Kind: service.GetKind(), Name: service.GetName(), UID: service.GetUID()}})
		_, _ = n.l.api.Resource(pods()).Namespace("engines").Create(ctx, pod, metav1.CreateOptions{}) // there already, from the second look on
	}
}

// installOME registers OME's resources, as its installation does.
func (n *nodeStand) installOME(ctx context.Context) {
	n.t.Helper()
	crds := n.l.api.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	for _, kind := range []struct{ plural, kind, scope string }{
		{"inferenceservices", "InferenceService", "Namespaced"}, {"clusterbasemodels", "ClusterBaseModel", "Cluster"}, {"clusterservingruntimes", "ClusterServingRuntime", "Cluster"},
	} {
		_, err := crds.Create(ctx, &unstructured.Unstructured{Object: object{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
			"metadata": object{"name": kind.plural + ".ome.io"}, "spec": object{"group": "ome.io", "scope": kind.scope,
				"names": object{"plural": kind.plural, "kind": kind.kind, "singular": strings.ToLower(kind.kind)},
				"versions": []any{object{"name": "v1beta1", "served": true, "storage": true,
					"schema": object{"openAPIV3Schema": object{"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}}}}, metav1.CreateOptions{})
		require.NoError(n.t, err)
	}
	require.Eventually(n.t, func() bool {
		_, err := n.l.api.Resource(inferenceServices()).Namespace("engines").List(ctx, metav1.ListOptions{})
		return err == nil
	}, time.Minute, 100*time.Millisecond)
}
