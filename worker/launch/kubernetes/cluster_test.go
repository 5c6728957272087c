package kubernetes

import (
	"context"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fleetune/fleetune/worker/launch"
	"github.com/fleetune/fleetune/worker/serving/testengine"
	"github.com/stretchr/testify/require"
)

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
