package kubernetes

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/fleetune/fleetune/worker/launch"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
)

// forward opens a port of this node that leads to the pod, through the API. It
// is for workers outside the cluster; what it costs is in every measurement.
func (v *server) forward(ctx context.Context) error {
	transport, upgrader, err := spdy.RoundTripperFor(v.launcher.rest)
	if err != nil {
		return fmt.Errorf("%w: setting up the port's forwarding: %w", launch.ErrPlace, err)
	}
	target, err := url.Parse(v.launcher.rest.Host)
	if err != nil || target.Host == "" {
		return fmt.Errorf("%w: the cluster's address %q is none", launch.ErrPlace, v.launcher.rest.Host)
	}
	target.Path = strings.TrimSuffix(target.Path, "/") + fmt.Sprintf("/api/v1/namespaces/%s/pods/%s/portforward", v.namespace, v.pod)
	if v.held, err = v.launcher.Ports.Take(); err != nil {
		return fmt.Errorf("%w: %w", launch.ErrPlace, err)
	}
	dialer := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, target)
	ready, failed := make(chan struct{}), make(chan error, 1)
	v.watching.Go(func() { v.keepForwarding(ctx, dialer, ready, failed) })
	select {
	case <-ready:
	case err := <-failed:
		return fmt.Errorf("%w: forwarding a port: %w", launch.ErrPlace, err)
	}
	v.url = fmt.Sprintf("http://127.0.0.1:%d", v.held.Number)
	return nil
}

// forwardEvery is how soon a forwarding that ended is begun again.
const forwardEvery = 200 * time.Millisecond

// keepForwarding forwards until ctx ends. One connection that the pod refuses, as
// a pod does whose engine still loads, ends the forwarding of all; then it is
// begun again. ready is closed at the first success, failed told the first error.
func (v *server) keepForwarding(ctx context.Context, dialer httpstream.Dialer, ready chan struct{}, failed chan<- error) {
	for {
		forwarder, err := portforward.NewOnAddressesForStreaming(dialer, []string{"127.0.0.1"},
			[]string{fmt.Sprintf("%d:%d", v.held.Number, enginePort)}, ctx.Done(), ready, io.Discard, io.Discard)
		if err == nil {
			err = forwarder.ForwardPorts()
		}
		select {
		case failed <- err: // nobody listens any more once it was ready
		default:
		}
		ready = make(chan struct{})
		timer := time.NewTimer(forwardEvery)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}
