// Package docker launches engines in containers, through the API of a Docker
// daemon or a Podman service on this node. Containers carry labels that say
// whose they are, so that those of a dead session are found and removed, and
// secrets go into their environment through the API, never on a command line.
package docker

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/fleetune/fleetune/worker/launch"
	"github.com/fleetune/fleetune/worker/launch/port"
	"github.com/fleetune/fleetune/worker/process"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// Name of the launcher.
const Name = "docker"

// Labels of every container that is launched.
const (
	labelWorker  = "fleetune.worker"
	labelAttempt = "fleetune.attempt"
)

// callTime bounds one call of the API that does not wait for anything.
const callTime = 20 * time.Second

// GPUs says how containers are given NVIDIA devices.
type GPUs string

// Ways to give a container its GPUs: a device request by UUID, which the NVIDIA
// container toolkit answers, or CDI names, which Podman and newer Docker know
// themselves. Auto asks the daemon what it is.
const (
	Auto GPUs = "auto"
	IDs  GPUs = "ids"
	CDI  GPUs = "cdi"
)

// Config of a Launcher.
type Config struct {
	// Host is the daemon's address, as in DOCKER_HOST, which is the default.
	Host string
	// Worker is this worker's name: containers are labelled with it.
	Worker string
	Ports  *port.Allocator
	// Runner proves that no process of a removed container is left.
	Runner *process.Runner
	GPUs   GPUs
	// Shared memory of a container in bytes; 0 means DefaultSharedMemory.
	SharedMemory int64
	// Ulimits beside the engine's own, as name=soft:hard.
	Ulimits []string
	// Volumes of every container beside its model, as /here:/inside[:ro].
	Volumes []string
}

// DefaultSharedMemory is what engines of several devices ask for to talk among
// themselves.
const DefaultSharedMemory = 16 << 30

// Usual are the addresses to try where nobody names one: what DOCKER_HOST says,
// or the sockets of Docker and of Podman.
func Usual() []string {
	if host := os.Getenv(client.EnvOverrideHost); host != "" {
		return []string{host}
	}
	hosts := []string{client.DefaultDockerHost, "unix:///run/podman/podman.sock"}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		hosts = append(hosts, "unix://"+path.Join(dir, "podman", "podman.sock"))
	}
	return hosts
}

// A Launcher starts containers.
type Launcher struct {
	Config
	api     *client.Client
	ulimits []*container.Ulimit

	gpus GPUs // what Auto has found
}

var _ launch.Launcher = (*Launcher)(nil)

// New returns a Launcher. Nothing is asked of the daemon yet.
func New(c Config) (*Launcher, error) {
	options := []client.Opt{client.FromEnv}
	if c.Host != "" {
		options = append(options, client.WithHost(c.Host))
	}
	api, err := client.New(options...)
	if err != nil {
		return nil, fmt.Errorf("setting up the container daemon's client: %w", err)
	}
	if c.GPUs == "" {
		c.GPUs = Auto
	}
	if c.SharedMemory == 0 {
		c.SharedMemory = DefaultSharedMemory
	}
	l := &Launcher{Config: c, api: api, gpus: c.GPUs}
	if l.ulimits, err = parseUlimits(c.Ulimits); err != nil {
		return nil, errors.Join(err, api.Close())
	}
	if err := checkVolumes(c.Volumes); err != nil {
		return nil, errors.Join(err, api.Close())
	}
	return l, nil
}

// Close hangs up.
func (l *Launcher) Close() error { return l.api.Close() }

// Name is docker.
func (l *Launcher) Name() string { return Name }

// Available says whether a daemon of this node answers.
func (l *Launcher) Available(ctx context.Context) error {
	host := l.api.DaemonHost()
	if !strings.HasPrefix(host, "unix://") {
		return fmt.Errorf("the container daemon at %s is not on this node: its devices are not the worker's", host)
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	if _, err := l.api.Ping(ctx, client.PingOptions{}); err != nil {
		return fmt.Errorf("asking the container daemon at %s: %w", host, err)
	}
	return nil
}

// Sweep removes every container of this worker: none is its own yet.
func (l *Launcher) Sweep(ctx context.Context) error {
	list, err := l.api.ContainerList(ctx, client.ContainerListOptions{
		All: true, Filters: make(client.Filters).Add("label", labelWorker+"="+l.Worker),
	})
	if err != nil {
		return fmt.Errorf("listing the containers of an earlier session: %w", err)
	}
	var errs []error
	for _, c := range list.Items {
		if err := l.remove(ctx, c.ID, c.Labels[labelAttempt]); err != nil {
			errs = append(errs, fmt.Errorf("removing the container of an earlier session: %w", err))
		}
	}
	return errors.Join(errs...)
}

// removeTime bounds the removal of a container and the proof that it is gone. A
// daemon whose node is under load, or that is being restarted, takes its time,
// and what is not proven by then costs the node its devices.
const removeTime = 2 * time.Minute

// goneEvery is how often the daemon is asked whether a container is gone.
const goneEvery = 100 * time.Millisecond

// remove kills and removes a container and proves it gone: the daemon knows it
// no more, and no process that carries the attempt's tag is left.
func (l *Launcher) remove(ctx context.Context, id, tag string) error {
	ctx, cancel := context.WithTimeout(ctx, removeTime)
	defer cancel()
	for {
		err := l.removeOnce(ctx, id)
		if err == nil {
			break
		}
		timer := time.NewTimer(goneEvery)
		select {
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%w: removing container %s for %v: %w", launch.ErrUnproven, short(id), removeTime, err)
		case <-timer.C:
		}
	}
	if tag == "" || l.Runner == nil {
		return nil
	}
	if err := l.Runner.Sweep(ctx, tag); err != nil {
		return fmt.Errorf("%w: %w", launch.ErrUnproven, err)
	}
	return nil
}

// errThere says that the daemon still knows a container.
var errThere = errors.New("it is still there")

// removeOnce asks for the removal of a container; nil says that it is gone.
func (l *Launcher) removeOnce(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	_, err := l.api.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	if err != nil && !errdefs.IsNotFound(err) && !errdefs.IsConflict(err) { // a conflict: its removal has begun
		return err
	}
	if _, err = l.api.ContainerInspect(ctx, id, client.ContainerInspectOptions{}); errdefs.IsNotFound(err) {
		return nil
	} else if err != nil {
		return err
	}
	return errThere
}

func short(id string) string { return id[:min(len(id), 12)] }

// Launch pulls the image where it is missing, and starts a container on the
// host's network, on a port of the loopback address.
func (l *Launcher) Launch(ctx context.Context, s launch.Spec) (launch.Server, error) {
	held, err := l.Ports.Take()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", launch.ErrPlace, err)
	}
	v, err := l.launch(ctx, s, held)
	if err != nil {
		held.Release()
		return nil, err
	}
	return v, nil
}

func (l *Launcher) launch(ctx context.Context, s launch.Spec, held *port.Port) (*server, error) {
	digest, err := l.image(ctx, s)
	if err != nil {
		return nil, err
	}
	options, err := l.options(ctx, s, held.Number)
	if err != nil {
		return nil, err
	}
	v := &server{launcher: l, tag: s.Tag, port: held, log: s.Log("engine"), done: make(chan struct{}),
		url: "http://" + netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(held.Number)).String()}
	v.facts = launch.Facts{Image: s.Image, ImageDigest: digest,
		Command: append(append([]string{}, options.Config.Entrypoint...), options.Config.Cmd...)}
	created, err := l.api.ContainerCreate(ctx, options)
	if err != nil {
		return nil, l.refused(ctx, "creating the container", err)
	}
	v.id = created.ID
	if err := v.start(ctx); err != nil {
		// Not bounded by ctx: what was begun must be gone.
		if rerr := l.remove(context.WithoutCancel(ctx), v.id, s.Tag); rerr != nil {
			return nil, errors.Join(rerr, err)
		}
		return nil, l.refused(ctx, "starting the container", err)
	}
	return v, nil
}

// ErrStart says that the image or its command cannot be started as asked.
var ErrStart = errors.New("the container cannot be started")

// refused tells what the task asked wrongly from what the place refused.
func (l *Launcher) refused(ctx context.Context, doing string, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	text := err.Error()
	if errdefs.IsInvalidArgument(err) || strings.Contains(text, "no such file or directory") || strings.Contains(text, "executable file not found") {
		return fmt.Errorf("%w: %s: %w", ErrStart, doing, err)
	}
	if strings.Contains(text, "rlimit") {
		return fmt.Errorf("%w: %s: %w (the daemon may not raise that limit here: give the worker lower ones with --docker-ulimit)", launch.ErrPlace, doing, err)
	}
	return fmt.Errorf("%w: %s: %w", launch.ErrPlace, doing, err)
}

// containerName is what people see: the experiment, and the end of the tag
// that makes it unique.
func containerName(s launch.Spec) string {
	var b strings.Builder
	for _, c := range strings.ToLower(s.Name) {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.' {
			b.WriteRune(c)
		} else {
			b.WriteByte('-')
		}
	}
	name := strings.Trim(b.String(), "-_.")
	return "fleetune-" + name[:min(len(name), 80)] + "-" + s.Tag[max(0, len(s.Tag)-16):] + "-" + path.Base(s.Dir)
}
