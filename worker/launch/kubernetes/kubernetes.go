// Package kubernetes launches engines in a cluster: as a Job of one pod with
// the engine's full command line in it, or as an InferenceService of OME where
// a task asks for one. Everything it makes carries labels that say whose it is,
// so that what a dead session left is found and deleted; an engine is gone when
// the API knows its pods no more.
//
// It talks to the API through client-go's dynamic client: objects are written
// as the manifests that people know, and a worker does not carry the types of
// every API there is.
package kubernetes

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/fleetune/fleetune/worker/launch"
	"github.com/fleetune/fleetune/worker/launch/port"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Name of the launcher.
const Name = "kubernetes"

// Labels of everything that is made.
const (
	labelManaged = "app.kubernetes.io/managed-by"
	labelWorker  = "fleetune.dev/worker"
	labelAttempt = "fleetune.dev/attempt"
	managedBy    = "fleetune"
)

// callTime bounds one call of the API.
const callTime = 20 * time.Second

// Reach says how the worker reaches a pod.
type Reach string

// Ways to a pod: its own address, which works inside the cluster, or a port
// forwarded through the API, which works from outside. Auto takes the address
// where the worker itself runs in the cluster.
const (
	Auto    Reach = "auto"
	PodIP   Reach = "pod"
	Forward Reach = "forward"
)

// Config of a Launcher.
type Config struct {
	// Kubeconfig is a file that says how to reach the cluster; empty is the
	// usual one, or the service account of the pod that the worker runs in.
	Kubeconfig string
	// Namespace is where engines run unless the task says it.
	Namespace string
	// Worker is this worker's name.
	Worker string
	Reach  Reach
	// Ports for forwarding.
	Ports *port.Allocator
	// Pod is what every pod has beside what its engine needs, as ReadPod reads it.
	Pod map[string]any
	// Lifetime bounds a pod whose worker never came back; 0 means a day.
	Lifetime time.Duration
}

// A Launcher starts pods.
type Launcher struct {
	Config
	api  dynamic.Interface
	rest *rest.Config
	http *http.Client
}

var _ launch.Launcher = (*Launcher)(nil)

// ErrNone says that nothing tells how to reach a cluster.
var ErrNone = errors.New("no cluster is configured")

// New returns a Launcher, or ErrNone. Nothing is asked of the cluster yet.
func New(c Config) (*Launcher, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = c.Kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{}).ClientConfig()
	if clientcmd.IsEmptyConfig(err) {
		return nil, ErrNone
	}
	if err != nil {
		return nil, fmt.Errorf("reading how to reach the cluster: %w", err)
	}
	_, inside := rest.InClusterConfig()
	if c.Reach == "" || c.Reach == Auto {
		c.Reach = Forward
		if inside == nil {
			c.Reach = PodIP
		}
	}
	if c.Namespace == "" {
		c.Namespace = "default"
	}
	if c.Lifetime <= 0 {
		c.Lifetime = 24 * time.Hour
	}
	config.QPS, config.Burst = 50, 100
	l := &Launcher{Config: c, rest: config}
	if l.http, err = rest.HTTPClientFor(config); err != nil {
		return nil, fmt.Errorf("setting up the cluster's client: %w", err)
	}
	if l.api, err = dynamic.NewForConfigAndClient(config, l.http); err != nil {
		return nil, fmt.Errorf("setting up the cluster's client: %w", err)
	}
	return l, nil
}

// Close hangs up.
func (l *Launcher) Close() error {
	l.http.CloseIdleConnections()
	return nil
}

// Name is kubernetes.
func (l *Launcher) Name() string { return Name }

// The resources that are used.
func jobs() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "jobs"}
}
func pods() schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: "pods"}
}
func secrets() schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
}
func configMaps() schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
}
func inferenceServices() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "ome.io", Version: "v1beta1", Resource: "inferenceservices"}
}
func baseModels() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "ome.io", Version: "v1beta1", Resource: "clusterbasemodels"}
}
func servingRuntimes() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "ome.io", Version: "v1beta1", Resource: "clusterservingruntimes"}
}

// made lists what a launch makes in a namespace, the owner of the pods first.
func made() []schema.GroupVersionResource {
	return []schema.GroupVersionResource{inferenceServices(), jobs(), pods(), secrets(), configMaps()}
}

// Available says whether the cluster answers and lets us list pods.
func (l *Launcher) Available(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	if _, err := l.api.Resource(pods()).Namespace(l.Namespace).List(ctx, metav1.ListOptions{Limit: 1}); err != nil {
		return fmt.Errorf("asking the cluster at %s: %w", l.rest.Host, err)
	}
	return nil
}

// Sweep deletes everything of this worker, in every namespace it may see: none
// is its own yet.
func (l *Launcher) Sweep(ctx context.Context) error {
	selector := labelWorker + "=" + label(l.Worker)
	var errs []error
	for _, kind := range made() {
		list, err := l.list(ctx, kind, selector)
		if err != nil {
			if !absent(err) {
				errs = append(errs, fmt.Errorf("listing what an earlier session left: %w", err))
			}
			continue
		}
		for i := range list {
			if err := l.delete(ctx, kind, list[i].GetNamespace(), list[i].GetName(), 0); err != nil {
				errs = append(errs, fmt.Errorf("deleting what an earlier session left: %w", err))
			}
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	return l.gone(ctx, metav1.NamespaceAll, selector)
}

// list asks all namespaces, or our own where only that is allowed.
func (l *Launcher) list(ctx context.Context, kind schema.GroupVersionResource, selector string) ([]unstructured.Unstructured, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	options := metav1.ListOptions{LabelSelector: selector}
	found, err := l.api.Resource(kind).List(ctx, options)
	if apierrors.IsForbidden(err) {
		found, err = l.api.Resource(kind).Namespace(l.Namespace).List(ctx, options)
	}
	if err != nil {
		return nil, err
	}
	return found.Items, nil
}

// absent says that the cluster does not know the resource, such as OME's where
// it is not installed.
func absent(err error) bool { return apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) }

// delete asks for the deletion of an object, and of what it owns. A pod gets a
// second at least: with none, the API would forget it at once, whether its node
// has ended it or not, and its absence would prove nothing.
func (l *Launcher) delete(ctx context.Context, kind schema.GroupVersionResource, namespace, name string, grace time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	background, seconds := metav1.DeletePropagationBackground, max(1, int64(grace.Round(time.Second)/time.Second))
	options := metav1.DeleteOptions{PropagationPolicy: &background}
	if kind == pods() {
		options.GracePeriodSeconds = &seconds
	}
	err := l.api.Resource(kind).Namespace(namespace).Delete(ctx, name, options)
	if err != nil && !absent(err) {
		return fmt.Errorf("deleting %s %s: %w", kind.Resource, name, err)
	}
	return nil
}

const (
	// goneEvery is how often the API is asked whether pods are gone, goneTime
	// how long beyond the grace they may take.
	goneEvery = 200 * time.Millisecond
	goneTime  = 60 * time.Second
)

// gone waits until the API knows no pod of a selector any more.
func (l *Launcher) gone(ctx context.Context, namespace, selector string) error {
	ctx, cancel := context.WithTimeout(ctx, goneTime)
	defer cancel()
	for {
		list, err := l.podsOf(ctx, namespace, selector)
		if err == nil && len(list) == 0 {
			return nil
		}
		if err == nil {
			err = fmt.Errorf("%d pods are still there", len(list))
		}
		timer := time.NewTimer(goneEvery)
		select {
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%w: %w", launch.ErrUnproven, err)
		case <-timer.C:
		}
	}
}

func (l *Launcher) podsOf(ctx context.Context, namespace, selector string) ([]unstructured.Unstructured, error) {
	if namespace == metav1.NamespaceAll {
		return l.list(ctx, pods(), selector)
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	found, err := l.api.Resource(pods()).Namespace(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, err
	}
	return found.Items, nil
}

// label makes a text a label's value: at most 63 letters, digits, dashes, dots
// and underscores, a letter or digit at both ends.
func label(text string) string {
	var b strings.Builder
	for _, c := range text {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.' {
			b.WriteRune(c)
		} else {
			b.WriteByte('-')
		}
	}
	value := b.String()
	return strings.Trim(value[:min(len(value), 63)], "-_.")
}

// objectName is the name of what a launch makes: what people call it, and a
// hash of its attempt and launch that makes it unique.
func objectName(s launch.Spec) string {
	var b strings.Builder
	for _, c := range strings.ToLower(s.Name) {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			b.WriteRune(c)
		} else {
			b.WriteByte('-')
		}
	}
	name := strings.Trim(b.String(), "-")
	if name == "" || name[0] >= '0' && name[0] <= '9' {
		name = "f-" + name
	}
	sum := sha256.Sum256([]byte(s.Tag + "\x00" + s.Dir))
	return strings.Trim(name[:min(len(name), 50)], "-") + "-" + hex.EncodeToString(sum[:4])
}
