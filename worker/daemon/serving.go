package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/docker/go-units"
	"github.com/fleetune/fleetune/worker/device"
	"github.com/fleetune/fleetune/worker/launch"
	"github.com/fleetune/fleetune/worker/launch/docker"
	"github.com/fleetune/fleetune/worker/launch/endpoint"
	"github.com/fleetune/fleetune/worker/launch/kubernetes"
	"github.com/fleetune/fleetune/worker/launch/local"
	"github.com/fleetune/fleetune/worker/launch/port"
	"github.com/fleetune/fleetune/worker/process"
	"github.com/fleetune/fleetune/worker/serving"
	"github.com/fleetune/fleetune/worker/serving/hub"
	"github.com/fleetune/fleetune/worker/serving/installed"
	"github.com/go-logr/logr"
	"github.com/spf13/pflag"
	"k8s.io/klog/v2"
)

// Engines says what this node starts engines with.
type Engines struct {
	// Programs that start engines, by the engine's name, beside those found on
	// the PATH.
	Programs map[string]string
	// Models is the folder with models by name; ModelCache is the hub's cache
	// (HF_HOME).
	Models, ModelCache string
	// Docker is the container daemon's address, auto, or off.
	Docker string
	// DockerGPUs is auto, ids or cdi; DockerUlimits are name=soft:hard,
	// DockerVolumes /here:/inside[:ro]; DockerSharedMemory is a size.
	DockerGPUs                   string
	DockerUlimits, DockerVolumes []string
	DockerSharedMemory           string
	// Kubernetes is a kubeconfig file, auto for the cluster that this worker
	// runs in, or off; Namespace is where engines run unless a task says it.
	Kubernetes, Namespace string
	// Reach is auto, pod or forward; Pod is a file with what every pod has.
	Reach, Pod string
}

// Words for an address.
const (
	auto = "auto"
	off  = "off"
)

// DefaultModels is the folder with models unless told otherwise.
const DefaultModels = "/mnt/data/models"

// Flags lets people say it.
func (e *Engines) Flags(flags *pflag.FlagSet) {
	flags.StringToStringVar(&e.Programs, "engine", nil, "program or interpreter of an engine, as in vllm=/opt/vllm/bin/python (default: what the PATH has)")
	flags.StringVar(&e.Models, "models", DefaultModels, "folder with models that tasks name without a hub")
	flags.StringVar(&e.ModelCache, "model-cache", "", "folder of models from a hub (default: HF_HOME, or ~/.cache/huggingface)")
	flags.StringVar(&e.Docker, "docker", auto, "address of this node's Docker or Podman service, auto or off")
	flags.StringVar(&e.DockerGPUs, "docker-gpus", string(docker.Auto), "how containers get NVIDIA devices: auto, ids or cdi")
	flags.StringSliceVar(&e.DockerUlimits, "docker-ulimit", nil, "limit of engines in containers, as in nofile=20000:20000")
	flags.StringSliceVar(&e.DockerVolumes, "docker-volume", nil, "folder of this node for engines in containers, as in /var/cache/vllm:/root/.cache/vllm")
	flags.StringVar(&e.DockerSharedMemory, "docker-shm", "16g", "shared memory of an engine in a container, as for docker run")
	flags.StringVar(&e.Kubernetes, "kubernetes", auto, "kubeconfig of a cluster to launch engines in, auto (the cluster this worker runs in) or off")
	flags.StringVar(&e.Namespace, "kubernetes-namespace", "default", "namespace of engines whose task names none")
	flags.StringVar(&e.Reach, "kubernetes-reach", string(kubernetes.Auto), "how pods are reached: auto, pod (by address) or forward (through the API)")
	flags.StringVar(&e.Pod, "kubernetes-pod", "", "file with a pod's spec that all engines' pods share, such as tolerations and pull secrets")
}

// modelCache is the folder that the hub's own library would use.
func (e *Engines) modelCache() string {
	if e.ModelCache != "" {
		return e.ModelCache
	}
	if dir := os.Getenv("HF_HOME"); dir != "" {
		return dir
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return filepath.Join(os.TempDir(), "huggingface")
	}
	return filepath.Join(cache, "huggingface")
}

// workshop is what serving experiments use on this node.
type workshop struct {
	launchers map[string]launch.Launcher
	engines   map[string]installed.Engine
	hub       *hub.Hub
	close     func() error
}

// checkTime bounds the question whether a launcher can be used.
const checkTime = 5 * time.Second

// openWorkshop finds launchers and engines, and sweeps what launchers of a
// dead session left.
func (c Config) openWorkshop(ctx context.Context, runner *process.Runner) (*workshop, error) {
	path := os.Getenv("PATH")
	engines, err := installed.Find(ctx, c.Engines.Programs, path)
	if err != nil {
		return nil, fmt.Errorf("looking for engines: %w", err)
	}
	ports := port.New()
	w := &workshop{
		engines: engines, close: func() error { return nil },
		hub: hub.New(hub.Config{Root: c.Engines.Models, Cache: c.Engines.modelCache(), Endpoint: os.Getenv("HF_ENDPOINT")}),
		launchers: map[string]launch.Launcher{
			local.Name: local.New(local.Config{Runner: runner, Ports: ports}), endpoint.Name: endpoint.Launcher{},
		},
	}
	w.hub.Refresh()
	if err := w.openDocker(ctx, c, ports, runner); err != nil {
		return nil, err
	}
	if err := w.openKubernetes(ctx, c, ports); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

// openKubernetes adds the kubernetes launcher where there is a cluster. One
// that was asked for has to answer.
func (w *workshop) openKubernetes(ctx context.Context, c Config, ports *port.Allocator) error {
	e := c.Engines
	asked := e.Kubernetes != auto && e.Kubernetes != ""
	if e.Kubernetes == off || !asked && os.Getenv("KUBERNETES_SERVICE_HOST") == "" {
		return nil
	}
	k := kubernetes.Config{Namespace: e.Namespace, Worker: c.Name, Reach: kubernetes.Reach(e.Reach), Ports: ports}
	if asked {
		k.Kubeconfig = e.Kubernetes
	}
	// What client-go would write by itself is told with the experiment it ends, or
	// means nothing: a pod that loads refuses connections.
	klog.SetLogger(logr.Discard())
	if e.Pod != "" {
		pod, err := kubernetes.ReadPod(e.Pod)
		if err != nil {
			return fmt.Errorf("--kubernetes-pod: %w", err)
		}
		k.Pod = pod
	}
	l, err := kubernetes.New(k)
	if err != nil {
		return fmt.Errorf("--kubernetes: %w", err)
	}
	check, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	if err := l.Available(check); err != nil {
		if asked {
			return errors.Join(fmt.Errorf("--kubernetes: %w", err), l.Close())
		}
		c.Log.Info().Err(err).Msg("no engines are launched in this cluster")
		return l.Close()
	}
	if err := l.Sweep(ctx); err != nil {
		return errors.Join(fmt.Errorf("sweeping the cluster: %w", err), l.Close())
	}
	hangUp := w.close
	w.launchers[kubernetes.Name] = l
	w.close = func() error { return errors.Join(l.Close(), hangUp()) }
	return nil
}

// openDocker adds the docker launcher where a daemon answers. One that was
// asked for by its address has to.
func (w *workshop) openDocker(ctx context.Context, c Config, ports *port.Allocator, runner *process.Runner) error {
	e := c.Engines
	if e.Docker == off {
		return nil
	}
	d := docker.Config{Worker: c.Name, Ports: ports, Runner: runner, GPUs: docker.GPUs(e.DockerGPUs), Ulimits: e.DockerUlimits, Volumes: e.DockerVolumes}
	if e.DockerSharedMemory != "" {
		size, err := units.RAMInBytes(e.DockerSharedMemory)
		if err != nil || size <= 0 {
			return fmt.Errorf("--docker-shm %q: expected a size such as 512m or 16g", e.DockerSharedMemory)
		}
		d.SharedMemory = size
	}
	asked := e.Docker != auto && e.Docker != ""
	hosts := docker.Usual()
	if asked {
		hosts = []string{e.Docker}
	}
	for _, d.Host = range hosts {
		l, err := docker.New(d)
		if err != nil {
			return fmt.Errorf("launching in containers: %w", err)
		}
		check, cancel := context.WithTimeout(ctx, checkTime)
		err = l.Available(check)
		cancel()
		if err == nil {
			return w.useDocker(ctx, l)
		}
		if err = errors.Join(err, l.Close()); asked {
			return fmt.Errorf("--docker: %w", err)
		}
		c.Log.Debug().Err(err).Msg("no container daemon there; without one, tasks that need it go elsewhere")
	}
	return nil
}

// useDocker launches in containers from now on.
func (w *workshop) useDocker(ctx context.Context, l *docker.Launcher) error {
	if err := l.Sweep(ctx); err != nil {
		return errors.Join(fmt.Errorf("sweeping containers: %w", err), l.Close())
	}
	w.launchers[docker.Name], w.close = l, l.Close
	return nil
}

// kind runs serving experiments.
func (w *workshop) kind(c Config, devices *device.Semaphore) *serving.Kind {
	programs := map[string][]string{}
	for name, e := range w.engines {
		programs[name] = e.Program
	}
	executable, err := os.Executable()
	if err != nil {
		c.Log.Warn().Err(err).Msg("this program does not know where it lies: no engine can be simulated")
	}
	return serving.New(serving.Config{
		Launchers: w.launchers, Hub: w.hub, Programs: programs, Simulator: executable, Secret: c.secret,
		Devices: devices.Devices, Meter: serving.Driver, Datasets: filepath.Join(c.Dir, "datasets"),
	})
}

func (w *workshop) launcherNames() []string {
	var names []string
	for name := range w.launchers {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// versions of the engines that are installed.
func (w *workshop) versions() map[string]string {
	versions := map[string]string{}
	for name, e := range w.engines {
		versions[name] = e.Version
	}
	return versions
}

// refreshEvery is how often the node is searched for models that people put
// there.
const refreshEvery = time.Minute

// watch keeps the list of models true until ctx ends.
func (w *workshop) watch(ctx context.Context) {
	tick := time.NewTicker(refreshEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.hub.Refresh()
		}
	}
}
