package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fleetune/fleetune/worker/capture"
	"github.com/fleetune/fleetune/worker/launch"
	"github.com/fleetune/fleetune/worker/launch/port"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// ErrStart says that the cluster cannot start the pod as asked: its image, or
// what it refers to, is not there.
var ErrStart = errors.New("the pod cannot be started")

const (
	// logCap bounds what is kept of an engine's output, in bytes.
	logCap = 4 << 20
	// lookEvery is how often a pod is looked at.
	lookEvery = 500 * time.Millisecond
)

// server is an engine in a pod.
type server struct {
	launcher        *Launcher
	namespace, name string
	selector        string
	pod, container  string
	url, log        string
	facts           launch.Facts
	out             *capture.Writer
	held            *port.Port // for forwarding
	forget          context.CancelFunc
	watching        sync.WaitGroup
	stopped         atomic.Bool
	done            chan struct{}
	end             launch.End // set before done is closed

	stopping sync.Mutex
	removed  bool
}

// Launch makes the engine's objects and waits until its pod runs.
func (l *Launcher) Launch(ctx context.Context, s launch.Spec) (launch.Server, error) {
	m := l.manifests(s)
	v := &server{launcher: l, namespace: m.namespace, name: m.name, log: s.Log("engine"), done: make(chan struct{}),
		selector: labelAttempt + "=" + label(s.Tag), facts: launch.Facts{Command: m.command, Image: m.image}}
	err := l.make(ctx, m, s)
	if err == nil {
		err = v.begin(ctx, s)
	}
	if err == nil {
		return v, nil
	}
	// What was begun must be gone, however little time there is.
	if rerr := v.remove(context.WithoutCancel(ctx), 0); rerr != nil {
		return nil, errors.Join(rerr, err)
	}
	if cause := context.Cause(ctx); cause != nil {
		s.Tell(err.Error())
		return nil, cause
	}
	return nil, err
}

// make writes the objects of a launch to the API.
func (l *Launcher) make(ctx context.Context, m manifests, s launch.Spec) error {
	for kind, o := range map[schema.GroupVersionResource]*unstructured.Unstructured{secrets(): m.secret(s), configMaps(): m.config(s)} {
		if o == nil {
			continue
		}
		if err := l.create(ctx, kind, m.namespace, o); err != nil {
			return err
		}
	}
	if s.Kubernetes == nil || !s.Kubernetes.OME {
		return l.create(ctx, jobs(), m.namespace, m.job(s, l.Lifetime))
	}
	if err := l.share(ctx, s); err != nil {
		return err
	}
	service, err := m.inferenceService(s)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStart, err)
	}
	return l.create(ctx, inferenceServices(), m.namespace, service)
}

// share makes what OME's experiments have in common, where it is not there.
func (l *Launcher) share(ctx context.Context, s launch.Spec) error {
	for _, want := range []struct {
		kind     schema.GroupVersionResource
		name     string
		manifest []byte
	}{{baseModels(), "ClusterBaseModel", s.Kubernetes.BaseModel}, {servingRuntimes(), "ClusterServingRuntime", s.Kubernetes.Runtime}} {
		c, err := named(want.manifest)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrStart, err)
		}
		o := c.shared(want.name)
		if o == nil {
			continue
		}
		if err := l.create(ctx, want.kind, "", o); err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	return nil
}

func (l *Launcher) create(ctx context.Context, kind schema.GroupVersionResource, namespace string, o *unstructured.Unstructured) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	_, err := l.api.Resource(kind).Namespace(namespace).Create(ctx, o, metav1.CreateOptions{FieldManager: managedBy})
	switch {
	case err == nil:
		return nil
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return fmt.Errorf("%w: %s %s: %w", ErrStart, kind.Resource, o.GetName(), err)
	default:
		return fmt.Errorf("%w: making %s %s: %w", launch.ErrPlace, kind.Resource, o.GetName(), err)
	}
}

// begin waits for the pod, finds the way to it, and follows it from then on.
func (v *server) begin(ctx context.Context, s launch.Spec) error {
	pod, err := v.await(ctx, s)
	if err != nil {
		return err
	}
	v.pod = pod.GetName()
	v.container, _, _ = unstructured.NestedString(engineStatus(pod), "name")
	v.facts.ImageDigest = imageID(pod)
	if v.out, err = capture.Create(v.log, logCap); err != nil {
		return fmt.Errorf("%w: opening the output file: %w", launch.ErrPlace, err)
	}
	inner, forget := context.WithCancel(context.WithoutCancel(ctx))
	v.forget = forget
	if err := v.connect(inner, pod); err != nil {
		return err
	}
	v.watching.Go(func() { v.follow(inner) })
	v.watching.Go(func() { v.watch(inner) })
	return nil
}

// await waits until the pod's container has started.
func (v *server) await(ctx context.Context, s launch.Spec) (*unstructured.Unstructured, error) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	why := "no pod yet"
	for {
		list, err := v.launcher.podsOf(ctx, v.namespace, v.selector)
		if err != nil && ctx.Err() == nil {
			return nil, fmt.Errorf("%w: looking for the pod: %w", launch.ErrPlace, err)
		}
		if len(list) > 0 {
			now, started, err := standing(&list[0])
			if err != nil {
				return nil, err
			}
			if started {
				return &list[0], nil
			}
			if now != why {
				s.Tell("pod " + list[0].GetName() + ": " + now)
				why = now
			}
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for the pod: %s", why)
		case <-tick.C:
		}
	}
}

// standing tells why a pod does not run yet, and whether it has started. An
// error is a reason that waiting does not cure.
func standing(pod *unstructured.Unstructured) (why string, started bool, err error) {
	phase, _, _ := unstructured.NestedString(pod.Object, "status", "phase")
	state := containerState(pod)
	if _, ok, _ := unstructured.NestedMap(state, "running"); ok || phase == "Succeeded" || phase == "Failed" {
		return "", true, nil
	}
	if _, ok, _ := unstructured.NestedMap(state, "terminated"); ok {
		return "", true, nil
	}
	reason, _, _ := unstructured.NestedString(state, "waiting", "reason")
	message, _, _ := unstructured.NestedString(state, "waiting", "message")
	switch reason {
	case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError", "CreateContainerError", "RunContainerError":
		return "", false, fmt.Errorf("%w: %s: %s", ErrStart, reason, message)
	case "":
		conditions, _, _ := unstructured.NestedSlice(pod.Object, "status", "conditions")
		for _, c := range conditions {
			if m, ok := c.(map[string]any); ok && m["type"] == "PodScheduled" && m["status"] == "False" {
				return fmt.Sprintf("%v: %v", m["reason"], m["message"]), false, nil
			}
		}
	}
	return strings.TrimSpace(phase + " " + reason), false, nil
}

// engineStatus is what the cluster says of the pod's engine, among the
// containers that others have put beside it; nil where it says nothing yet.
func engineStatus(pod *unstructured.Unstructured) map[string]any {
	list, _, _ := unstructured.NestedSlice(pod.Object, "status", "containerStatuses")
	var first map[string]any
	for _, entry := range list {
		status, _ := entry.(map[string]any)
		if name := status["name"]; name == engineName || name == omeName {
			return status
		}
		if first == nil {
			first = status
		}
	}
	return first
}

func containerState(pod *unstructured.Unstructured) map[string]any {
	state, _, _ := unstructured.NestedMap(engineStatus(pod), "state")
	return state
}

func imageID(pod *unstructured.Unstructured) string {
	id, _, _ := unstructured.NestedString(engineStatus(pod), "imageID")
	return id
}

// connect finds the way to the pod: its address, or a port of this node that
// is forwarded.
func (v *server) connect(ctx context.Context, pod *unstructured.Unstructured) error {
	if v.launcher.Reach == Forward {
		return v.forward(ctx)
	}
	ip, _, _ := unstructured.NestedString(pod.Object, "status", "podIP")
	if ip == "" {
		return fmt.Errorf("%w: pod %s has no address", launch.ErrPlace, v.pod)
	}
	v.url = "http://" + net.JoinHostPort(ip, strconv.Itoa(enginePort))
	return nil
}

// follow copies the pod's output.
func (v *server) follow(ctx context.Context) {
	target := fmt.Sprintf("%s/api/v1/namespaces/%s/pods/%s/log?follow=true&container=%s", strings.TrimSuffix(v.launcher.rest.Host, "/"), v.namespace, v.pod, url.QueryEscape(v.container))
	if !strings.Contains(v.launcher.rest.Host, "://") {
		target = "https://" + target
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return
	}
	response, err := v.launcher.http.Do(request)
	if err != nil {
		fmt.Fprintf(v.out, "the pod's output cannot be read: %v\n", err)
		return
	}
	defer response.Body.Close()
	if _, err := io.Copy(v.out, response.Body); err != nil && ctx.Err() == nil {
		fmt.Fprintf(v.out, "\nthe pod's output broke off: %v\n", err)
	}
}

// watch waits for the end of the pod's engine.
func (v *server) watch(ctx context.Context) {
	defer close(v.done)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			v.end = launch.End{Code: -1, Stopped: v.stopped.Load()}
			return
		case <-tick.C:
		}
		pod, err := v.launcher.api.Resource(pods()).Namespace(v.namespace).Get(ctx, v.pod, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			v.end = launch.End{Code: -1, Stopped: v.stopped.Load(), Lost: "somebody deleted its pod"}
			return
		}
		if err != nil {
			continue // the API may be away for a moment
		}
		if end, over := endOf(pod); over {
			end.Stopped = v.stopped.Load()
			v.end = end
			return
		}
	}
}

// endOf says how a pod's engine ended, if it has.
func endOf(pod *unstructured.Unstructured) (launch.End, bool) {
	terminated, ok, _ := unstructured.NestedMap(containerState(pod), "terminated")
	phase, _, _ := unstructured.NestedString(pod.Object, "status", "phase")
	if !ok {
		// Evicted, preempted, or gone with its node.
		reason, _, _ := unstructured.NestedString(pod.Object, "status", "reason")
		message, _, _ := unstructured.NestedString(pod.Object, "status", "message")
		return launch.End{Code: -1, Lost: strings.TrimSpace("the cluster ended its pod " + reason + " " + message)}, phase == "Failed" || phase == "Succeeded"
	}
	end := launch.End{}
	code, _, _ := unstructured.NestedInt64(terminated, "exitCode")
	reason, _, _ := unstructured.NestedString(terminated, "reason")
	end.Code, end.OOM = int(code), reason == "OOMKilled"
	if signal := end.Code - 128; signal > 0 && signal < 65 {
		end.Signal = fmt.Sprintf("signal %d", signal)
	}
	return end, true
}

func (v *server) URL() string           { return v.url }
func (v *server) Facts() launch.Facts   { return v.facts }
func (v *server) Done() <-chan struct{} { return v.done }
func (v *server) Log() string           { return capture.Text(v.log) }
func (v *server) End() launch.End       { return v.end }

// Stop deletes everything of the launch, and waits until its pod is gone.
func (v *server) Stop(ctx context.Context, grace time.Duration) error {
	v.stopping.Lock()
	defer v.stopping.Unlock()
	if v.removed {
		return nil
	}
	select {
	case <-v.done:
	default:
		v.stopped.Store(true)
	}
	if ctx.Err() != nil {
		grace = min(grace, launch.Courtesy)
	}
	if err := v.remove(context.WithoutCancel(ctx), grace); err != nil {
		return err
	}
	v.removed = true
	return nil
}

// remove deletes the objects of the launch and proves its pods gone.
func (v *server) remove(ctx context.Context, grace time.Duration) error {
	var errs []error
	for _, kind := range made() {
		name := v.name
		if kind == pods() {
			if name = v.pod; name == "" {
				continue // it goes with its owner
			}
		}
		errs = append(errs, v.launcher.delete(ctx, kind, v.namespace, name, grace))
	}
	err := errors.Join(errs...)
	if gerr := v.launcher.gone(ctx, v.namespace, v.selector); gerr != nil {
		err = errors.Join(gerr, err)
	} else if err != nil {
		err = fmt.Errorf("%w: %w", launch.ErrUnproven, err)
	}
	if v.forget != nil {
		v.forget()
		v.watching.Wait()
	}
	if v.out != nil {
		_ = v.out.Close() // the experiment's own log says what is missing
	}
	if v.held != nil {
		v.held.Release()
	}
	return err
}
