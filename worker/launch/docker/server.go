package docker

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fleetune/fleetune/worker/capture"
	"github.com/fleetune/fleetune/worker/launch"
	"github.com/fleetune/fleetune/worker/launch/port"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// logCap bounds what is kept of an engine's output, in bytes.
const logCap = 4 << 20

// server is a container that was started.
type server struct {
	launcher *Launcher
	id, tag  string
	url, log string
	facts    launch.Facts
	port     *port.Port
	forget   context.CancelFunc // ends watching and following
	stopped  atomic.Bool
	done     chan struct{}
	end      launch.End // set before done is closed

	stopping sync.Mutex
	removed  bool
}

// start starts the container, and the goroutines that wait for its end and
// copy its output; done tells that they have ended.
func (v *server) start(ctx context.Context) error {
	out, err := capture.Create(v.log, logCap)
	if err != nil {
		return fmt.Errorf("opening the output file: %w", err)
	}
	inner, forget := context.WithCancel(context.WithoutCancel(ctx))
	waiting := v.launcher.api.ContainerWait(inner, v.id, client.ContainerWaitOptions{Condition: container.WaitConditionNextExit})
	if _, err := v.launcher.api.ContainerStart(ctx, v.id, client.ContainerStartOptions{}); err != nil {
		forget()
		_ = out.Close() // nothing was written
		return err
	}
	v.forget = forget
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		v.follow(inner, out)
	}()
	go func() {
		defer close(v.done)
		v.end = v.await(inner, waiting)
		if v.end.Lost != "" {
			forget() // its output may be followed for ever over another connection
		}
		<-followed
	}()
	return nil
}

// follow copies the container's output until it ends.
func (v *server) follow(ctx context.Context, out *capture.Writer) {
	defer out.Close()
	logs, err := v.launcher.api.ContainerLogs(ctx, v.id, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Follow: true})
	if err != nil {
		fmt.Fprintf(out, "the container's output cannot be read: %v\n", err)
		return
	}
	defer logs.Close()
	if _, err := stdcopy.StdCopy(out, out, logs); err != nil && ctx.Err() == nil {
		fmt.Fprintf(out, "\nthe container's output broke off: %v\n", err)
	}
}

// await waits for the container's end.
func (v *server) await(ctx context.Context, waiting client.ContainerWaitResult) launch.End {
	end := launch.End{Code: -1}
	select {
	case result := <-waiting.Result:
		end.Code = int(result.StatusCode)
	case err := <-waiting.Error:
		if ctx.Err() == nil { // else it was told to forget the container
			end.Lost = fmt.Sprintf("the container daemon tells no more: %v", err)
		}
	}
	end.Stopped = v.stopped.Load()
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	if found, err := v.launcher.api.ContainerInspect(ctx, v.id, client.ContainerInspectOptions{}); err == nil && found.Container.State != nil {
		end.OOM = found.Container.State.OOMKilled
	}
	if signal := end.Code - 128; signal > 0 && signal < 65 {
		end.Signal = fmt.Sprintf("signal %d", signal)
	}
	return end
}

func (v *server) URL() string           { return v.url }
func (v *server) Facts() launch.Facts   { return v.facts }
func (v *server) Done() <-chan struct{} { return v.done }
func (v *server) Log() string           { return capture.Text(v.log) }
func (v *server) End() launch.End       { return v.end }

// Stop asks the container to end, removes it after grace, and proves it gone.
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
		v.ask(ctx, grace)
	}
	err := v.launcher.remove(context.WithoutCancel(ctx), v.id, v.tag)
	v.forget()
	<-v.done
	if err != nil {
		return err
	}
	v.port.Release()
	v.removed = true
	return nil
}

// ask lets the container end by itself within grace; whether it did is the
// removal's to care.
func (v *server) ask(ctx context.Context, grace time.Duration) {
	if grace <= 0 {
		return
	}
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTime)
	defer cancel()
	if _, err := v.launcher.api.ContainerKill(call, v.id, client.ContainerKillOptions{Signal: "SIGTERM"}); err == nil {
		launch.Wait(ctx, v.done, grace)
	}
}
