package docker

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/shared/engine"
	"github.com/fleetune/fleetune/worker/device"
	"github.com/fleetune/fleetune/worker/launch"
	"github.com/fleetune/fleetune/worker/process"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"
)

// Where a container sees the models: the shared cache, writable, for engines
// that fetch their own; a single model, read-only.
const (
	cacheInside = "/root/.cache/huggingface"
	modelInside = "/model"
)

// options describe the container of a launch.
func (l *Launcher) options(ctx context.Context, s launch.Spec, number int) (client.ContainerCreateOptions, error) {
	model, binds := modelPlace(s.Model)
	place := launch.Place{Host: "127.0.0.1", Port: number, ModelPath: model, Container: true}
	if s.File != nil {
		file := filepath.Join(s.Dir, filepath.Base(s.File.Name))
		if err := os.WriteFile(file, []byte(s.File.Content), 0o644); err != nil {
			return client.ContainerCreateOptions{}, fmt.Errorf("%w: writing the engine's file: %w", launch.ErrPlace, err)
		}
		place.File = "/" + filepath.Base(s.File.Name)
		binds = append(binds, file+":"+place.File+":ro")
	}
	argv := s.Command(place)
	config := &container.Config{Image: s.Image, Env: environment(s),
		Labels: map[string]string{labelWorker: l.Worker, labelAttempt: s.Tag, "fleetune.name": s.Name}}
	// The whole command is ours, whatever entry point the image has: images of
	// one engine differ in it from tag to tag.
	if len(argv) > 0 {
		config.Entrypoint, config.Cmd = argv[:1], argv[1:]
	}
	host := &container.HostConfig{
		NetworkMode: "host", IpcMode: "private", ShmSize: l.SharedMemory, Binds: append(binds, l.Volumes...),
		RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyDisabled},
	}
	host.Ulimits = l.ulimits
	if cores := device.Cores(s.Devices); len(cores) > 0 {
		host.CpusetCpus = list(cores)
	}
	if err := l.grant(ctx, host, s.Devices); err != nil {
		return client.ContainerCreateOptions{}, err
	}
	return client.ContainerCreateOptions{Name: containerName(s), Config: config, HostConfig: host}, nil
}

// modelPlace is where the container sees the model, and the volumes for it.
func modelPlace(m launch.Model) (inside string, binds []string) {
	if m.Cache != "" {
		binds = append(binds, m.Cache+":"+cacheInside+":rw")
	}
	if m.Path == "" {
		return m.ID, binds
	}
	if below, err := filepath.Rel(m.Cache, m.Path); m.Cache != "" && err == nil && filepath.IsLocal(below) {
		return cacheInside + "/" + filepath.ToSlash(below), binds
	}
	inside = modelInside
	if filepath.Ext(m.Path) == ".gguf" {
		inside += "/" + filepath.Base(m.Path) // engines go by the name's end
		if engine.InParts(m.Path) {
			return inside, append(binds, filepath.Dir(m.Path)+":"+modelInside+":ro") // and look for the other parts beside it
		}
	}
	return inside, append(binds, m.Path+":"+inside+":ro")
}

// environment is the engine's, secrets included. The tag lets whoever finds a
// process of the container know whose it is.
func environment(s launch.Spec) []string {
	env := s.Model.Environment()
	if s.Model.Cache != "" {
		env["HF_HOME"] = cacheInside
	}
	maps.Copy(env, s.Env)
	maps.Copy(env, s.Secrets)
	maps.Copy(env, device.Visible(s.Devices))
	env[process.TagVariable] = s.Tag
	out := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out = append(out, name+"="+env[name])
	}
	return out
}

// grant gives the container its devices and no others.
func (l *Launcher) grant(ctx context.Context, host *container.HostConfig, devices []node.Device) error {
	var nvidia []string
	amd := false
	for _, d := range devices {
		switch d.Vendor {
		case device.NVIDIA:
			nvidia = append(nvidia, d.ID)
		case device.AMD:
			amd = true
		}
	}
	if amd {
		// ROCm shows a process the devices of ROCR_VISIBLE_DEVICES among those
		// whose files it may open.
		for _, file := range []string{"/dev/kfd", "/dev/dri"} {
			host.Devices = append(host.Devices, container.DeviceMapping{PathOnHost: file, PathInContainer: file, CgroupPermissions: "rwm"})
		}
		host.GroupAdd = append(host.GroupAdd, "video")
		host.SecurityOpt = append(host.SecurityOpt, "seccomp=unconfined")
	}
	if len(nvidia) == 0 {
		return nil
	}
	way, podman, err := l.way(ctx)
	switch {
	case err != nil:
		return err
	case way == IDs:
		host.DeviceRequests = []container.DeviceRequest{{Driver: "nvidia", DeviceIDs: nvidia, Capabilities: [][]string{{"gpu"}}}}
	case podman:
		for _, id := range nvidia {
			host.Devices = append(host.Devices, container.DeviceMapping{PathOnHost: cdiName(id)})
		}
	default:
		names := make([]string, len(nvidia))
		for i, id := range nvidia {
			names[i] = cdiName(id)
		}
		host.DeviceRequests = []container.DeviceRequest{{Driver: "cdi", DeviceIDs: names}}
	}
	return nil
}

// cdiName is a device's name as the NVIDIA container toolkit generates it.
func cdiName(id string) string { return "nvidia.com/gpu=" + id }

// way finds out how this daemon takes devices, and whether it is Podman, which
// takes CDI names where Docker takes device files.
func (l *Launcher) way(ctx context.Context) (GPUs, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	version, err := l.api.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		return "", false, fmt.Errorf("%w: asking the container daemon what it is: %w", launch.ErrPlace, err)
	}
	podman := slices.ContainsFunc(version.Components, func(c system.ComponentVersion) bool { return strings.Contains(c.Name, "Podman") })
	switch {
	case l.GPUs != Auto:
		return l.GPUs, podman, nil
	case podman:
		return CDI, podman, nil
	default:
		return IDs, podman, nil
	}
}

func list(cores []int) string {
	texts := make([]string, len(cores))
	for i, c := range cores {
		texts[i] = strconv.Itoa(c)
	}
	return strings.Join(texts, ",")
}

// checkVolumes refuses volumes that are no /here:/inside[:ro]: a daemon would
// make a named volume of some, and a folder of others.
func checkVolumes(texts []string) error {
	for _, text := range texts {
		parts := strings.Split(text, ":")
		ok := len(parts) == 2 || len(parts) == 3 && (parts[2] == "ro" || parts[2] == "rw")
		if !ok || !filepath.IsAbs(parts[0]) || !filepath.IsAbs(parts[1]) {
			return fmt.Errorf("volume %q: expected /here:/inside or /here:/inside:ro, such as /var/cache/vllm:/root/.cache/vllm", text)
		}
	}
	return nil
}

// parseUlimits reads name=soft:hard.
func parseUlimits(texts []string) ([]*container.Ulimit, error) {
	var limits []*container.Ulimit
	for _, text := range texts {
		name, values, ok := strings.Cut(text, "=")
		softText, hardText, two := strings.Cut(values, ":")
		if !two {
			hardText = softText
		}
		soft, serr := strconv.ParseInt(softText, 10, 64)
		hard, herr := strconv.ParseInt(hardText, 10, 64)
		if !ok || name == "" || serr != nil || herr != nil {
			return nil, fmt.Errorf("ulimit %q: expected name=soft:hard, such as nofile=20000:20000", text)
		}
		limits = append(limits, &container.Ulimit{Name: name, Soft: soft, Hard: hard})
	}
	return limits, nil
}
