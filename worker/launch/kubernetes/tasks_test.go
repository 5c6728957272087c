package kubernetes

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// programs is where scripts/k8s/run puts fleetune and fleetune-worker, llama
// the script that starts a real llama.cpp, and gguf its model.
const (
	programs = "FLEETUNE_TEST_PROGRAMS"
	llama    = "FLEETUNE_TEST_LLAMA"
	gguf     = "FLEETUNE_TEST_GGUF"
)

// A fleet is a manager and one worker as people start them.
type fleet struct {
	*plane
	node   *nodeStand
	bin    string
	home   string
	url    string
	worker *exec.Cmd
}

func (p *plane) fleet(n *nodeStand) *fleet {
	p.t.Helper()
	f := &fleet{plane: p, node: n, bin: os.Getenv(programs), home: filepath.Join(p.dir, "home")}
	if f.bin == "" {
		p.t.Skip(programs + " names no fleetune; scripts/k8s/run builds it")
	}
	port := freePort(p.t)
	f.url = fmt.Sprintf("http://127.0.0.1:%d", port)
	f.begin("fleetune", "up", "--no-worker", "--listen", fmt.Sprintf("127.0.0.1:%d", port), "--lease", "5s")
	require.Eventually(p.t, func() bool {
		return exists(filepath.Join(f.home, "join.token")) && exists(filepath.Join(f.home, "token")) && healthy(f.url)
	}, time.Minute, 100*time.Millisecond)
	require.NoError(p.t, os.MkdirAll(filepath.Join(p.dir, "secrets"), 0o700))
	require.NoError(p.t, os.WriteFile(filepath.Join(p.dir, "secrets", "hub"), []byte("hidden-token"), 0o600))
	return f
}

func healthy(url string) bool {
	defer http.DefaultClient.CloseIdleConnections()
	response, err := http.Get(url + "/healthz")
	if err != nil {
		return false
	}
	return response.Body.Close() == nil && response.StatusCode == http.StatusOK
}

// begin runs a program until the test ends.
func (f *fleet) begin(program string, args ...string) *exec.Cmd {
	f.t.Helper()
	log, err := os.OpenFile(filepath.Join(f.dir, program+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(f.t, err)
	defer log.Close()
	cmd := exec.Command(filepath.Join(f.bin, program), args...)
	cmd.Env = append(os.Environ(), "FLEETUNE_HOME="+f.home)
	if token, err := os.ReadFile(filepath.Join(f.home, "join.token")); err == nil {
		cmd.Env = append(cmd.Env, "FLEETUNE_TOKEN="+strings.TrimSpace(string(token)))
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	require.NoError(f.t, cmd.Start())
	f.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGINT)
		done := make(chan struct{})
		go func() {
			_ = cmd.Wait()
			close(done)
		}()
		select {
		case <-done:
		case <-time.After(30 * time.Second):
			_ = cmd.Process.Kill()
			<-done
		}
		if text, err := os.ReadFile(log.Name()); err == nil && f.t.Failed() {
			f.t.Logf("%s: …%s", program, text[max(0, len(text)-4000):])
		}
	})
	return cmd
}

func (f *fleet) work(reach Reach) {
	f.t.Helper()
	f.worker = f.begin("fleetune-worker", "--join", f.url, "--name", "outside", "--slots", "1", "--vendor", "cpu", "--docker", "off", "--lock-dir", filepath.Join(f.dir, "locks"),
		"--dir", filepath.Join(f.dir, "worker"), "--secrets", filepath.Join(f.dir, "secrets"),
		"--kubernetes", f.conf, "--kubernetes-namespace", "engines", "--kubernetes-reach", string(reach),
		"--kubernetes-pod", f.write("pod.yaml", "containers: [{name: aside, image: watcher}]\ntolerations: [{key: gpu, operator: Exists}]\n"))
}

// rest ends the worker in good order.
func (f *fleet) rest() {
	f.t.Helper()
	require.NoError(f.t, f.worker.Process.Signal(syscall.SIGINT))
	require.Eventually(f.t, func() bool { return f.worker.Process.Signal(syscall.Signal(0)) != nil || zombie(f.worker.Process.Pid) }, time.Minute, 50*time.Millisecond)
}

// zombie says that a child has ended and was not waited for.
func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

// call runs the command line and returns what it printed.
func (f *fleet) call(t *testing.T, args ...string) string {
	t.Helper()
	out, err := f.try(args...)
	require.NoError(t, err)
	return out
}

func (f *fleet) try(args ...string) (string, error) {
	cmd := exec.Command(filepath.Join(f.bin, "fleetune"), args...)
	cmd.Env = append(os.Environ(), "FLEETUNE_HOME="+f.home, "FLEETUNE_URL="+f.url)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s%s", args, err, &out, &errs)
	}
	return out.String(), nil
}

// image puts a program into an image: what runs in a pod of it is this script.
func (f *fleet) image(name, program, script string) {
	f.t.Helper()
	path := filepath.Join(f.node.images, name, program)
	require.NoError(f.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(f.t, os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755))
}

func (f *fleet) submit(t *testing.T, file string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "task.yaml")
	require.NoError(t, os.WriteFile(path, []byte(file), 0o600))
	f.call(t, "submit", path)
}

// measured is what the test looks at of an experiment.
type measured struct {
	Number int    `json:"number"`
	State  string `json:"status"`
}

func (f *fleet) experiments(t *testing.T, task string) []measured {
	t.Helper()
	var list []measured
	out := f.call(t, "experiments", task, "--json")
	require.NoError(t, json.Unmarshal([]byte(out), &list), out)
	return list
}

// done waits for the end of a task, of which every experiment succeeds.
func (f *fleet) done(t *testing.T, task string) []measured {
	t.Helper()
	_, err := f.try("wait", task)
	list := f.experiments(t, task)
	for _, e := range list {
		require.Equal(t, "success", e.State, "%s\n%s", f.call(t, "experiments", task), f.call(t, "logs", task, strconv.Itoa(e.Number)))
	}
	require.NoError(t, err)
	return list
}

// commands are those of the pods of a task so far.
func (n *nodeStand) commands(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, pod := range n.pods() {
		list, _, err := unstructured.NestedSlice(pod.Object, "spec", "containers")
		require.NoError(t, err)
		words, _, err := unstructured.NestedStringSlice(list[0].(map[string]any), "command")
		require.NoError(t, err)
		out = append(out, strings.Join(words, " "))
	}
	return out
}

// simulated is a task over a simulated vLLM in pods.
func simulated(name, mode, rest string) string {
	return fmt.Sprintf(`task_name: %s
base_runtime: vllm
deployment_mode: %s
image: vllm-sim
model: {id_or_path: meta-llama/Llama-3.1-8B-Instruct, hf_token: hub}
parameters: {max-num-seqs: [4, 64]}
optimization: {strategy: grid_search, objective: minimize_ttft}
benchmark: {traffic_scenarios: ["D(64,8)"], num_concurrency: [8], max_requests_per_iteration: 24, max_time_per_iteration: 1}
resources: {accelerator: cpu}
%s`, name, mode, rest)
}

func TestTasksInACluster(t *testing.T) {
	p := newPlane(t)
	n := p.node()
	f := p.fleet(n)
	simulator := filepath.Join(f.bin, "fleetune-worker")
	// What vLLM would say of its token, this says on its first line.
	f.image("vllm-sim", "python3", `echo "the token has ${#HF_TOKEN} characters"; exec `+simulator+` simulate-engine --simulate-gpu h100-sxm --simulate-speed 20 "$@"`)
	f.work(PodIP)
	l := p.launcher("outside")

	t.Run("a grid on a simulated engine", func(t *testing.T) {
		f.submit(t, simulated("grid", "kubernetes", ""))
		require.Len(t, f.done(t, "grid"), 3, "the baseline and two points")
		commands := n.commands(t)
		for _, want := range []string{"--max-num-seqs 4", "--max-num-seqs 64"} {
			require.True(t, slices.ContainsFunc(commands, func(c string) bool { return strings.HasSuffix(c, want) }), "%q in %q", want, commands)
		}
		for _, pod := range n.pods() {
			text, err := pod.MarshalJSON()
			require.NoError(t, err)
			require.NotContains(t, string(text), "hidden-token")
			require.Contains(t, string(text), `"secretKeyRef"`)
			require.Contains(t, string(text), `"tolerations"`)
		}
		require.Contains(t, f.call(t, "logs", "grid", "1"), "the token has 12 characters")
		require.Zero(t, p.leftover(l))
		require.Contains(t, f.call(t, "apply", "grid", "--as", "kubernetes", "--dry-run", "--experiment", "3"), "max-num-seqs")
	})
	t.Run("cancelled while an engine runs", func(t *testing.T) {
		before := len(n.pods())
		f.submit(t, strings.Replace(simulated("stopped", "kubernetes", ""), "max_requests_per_iteration: 24", "max_requests_per_iteration: 1000000", 1))
		require.Eventually(t, func() bool {
			return len(n.pods()) > before && strings.Contains(f.call(t, "experiments", "stopped"), "running")
		}, time.Minute, 50*time.Millisecond)
		f.call(t, "cancel", "stopped")
		require.Eventually(t, func() bool { return p.leftover(l) == 0 }, time.Minute, 50*time.Millisecond)
		require.Contains(t, f.call(t, "show", "stopped"), "cancelled")
	})
	t.Run("the worker is killed, and its successor sweeps", func(t *testing.T) {
		before := len(n.pods())
		f.submit(t, strings.Replace(simulated("orphans", "kubernetes", ""), "max_requests_per_iteration: 24", "max_requests_per_iteration: 2000", 1))
		require.Eventually(t, func() bool { return len(n.pods()) > before }, time.Minute, 50*time.Millisecond)
		require.NoError(t, f.worker.Process.Kill())
		orphan := n.pods()[before]
		require.Positive(t, p.leftover(l))
		f.work(PodIP)
		require.Eventually(t, func() bool { return !n.alive(orphan.GetName()) }, time.Minute, 50*time.Millisecond)
		f.done(t, "orphans")
		require.Zero(t, p.leftover(l))
	})
	t.Run("an InferenceService of OME", func(t *testing.T) {
		n.installOME(t.Context())
		before := len(n.pods())
		f.submit(t, simulated("ome", "ome", ""))
		f.done(t, "ome")
		for _, pod := range n.pods()[before:] {
			require.Equal(t, "InferenceService", pod.GetOwnerReferences()[0].Kind)
		}
		require.GreaterOrEqual(t, len(n.pods()[before:]), 3)
		for _, want := range []string{"--max-num-seqs 4", "--max-num-seqs 64"} {
			require.True(t, slices.ContainsFunc(n.commands(t)[before:], func(c string) bool { return strings.HasSuffix(c, want) }), want)
		}
		require.Zero(t, p.leftover(l))
	})
	t.Run("through a forwarded port", func(t *testing.T) {
		f.rest()
		f.work(Forward)
		f.submit(t, simulated("forwarded", "kubernetes", ""))
		f.done(t, "forwarded")
		require.Zero(t, p.leftover(l))
		f.rest()
		f.work(PodIP)
	})
	t.Run("a real llama.cpp", func(t *testing.T) {
		if os.Getenv(llama) == "" {
			t.Skip(llama + " names no llama.cpp; scripts/k8s/run takes that of scripts/llama where Node.js is")
		}
		f.image("llama", "/app/llama-server", fmt.Sprintf(`HOME=%s PATH=%s exec %s "$@"`, os.Getenv("HOME"), os.Getenv("PATH"), os.Getenv(llama)))
		f.submit(t, fmt.Sprintf(`task_name: llama
base_runtime: llama.cpp
deployment_mode: kubernetes
image: llama
model: %s
parameters: {threads: [1], parallel: [1, 8], ubatch-size: [32, 512]}
baseline: {threads: 1, parallel: 1, ubatch-size: 512}
optimization: {strategy: grid_search, objective: minimize_ttft, load_timeout: 1m, repeats: 5}
benchmark: {traffic_scenarios: ["D(32,64)"], num_concurrency: [8], max_requests_per_iteration: 16, max_time_per_iteration: 1}
resources: {accelerator: cpu}
`, os.Getenv(gguf)))
		f.done(t, "llama")
		require.Zero(t, p.leftover(l))
		best := f.call(t, "best", "llama")
		t.Logf("%s\n%s", f.call(t, "experiments", "llama", "--confirmations"), best)
		require.Contains(t, best, "the baseline's speed (95 %", "eight slots for eight users answer sooner than one")
	})
}
