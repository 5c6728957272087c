//go:build cgo

package device

import (
	"context"
	"errors"
	"fmt"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/fleetune/fleetune/proto/node"
)

// nvmlGPUs finds NVIDIA GPUs through the driver's library, loaded at run time.
type nvmlGPUs struct{ lib nvml.Interface }

var _ UserLister = nvmlGPUs{}

func newNVML() Discoverer { return nvmlGPUs{lib: nvml.New()} }

// Discover returns the GPUs that the driver lists. One that cannot be asked
// for its UUID (it has fallen off the bus) is not listed, and so is missing.
func (n nvmlGPUs) Discover(context.Context) ([]node.Device, error) {
	var devices []node.Device
	err := n.each(func(index int, gpu nvml.Device, driver string) {
		id, ret := gpu.GetUUID()
		if ret != nvml.SUCCESS {
			return
		}
		d := node.Device{ID: id, Index: index, Vendor: NVIDIA, Driver: driver, Health: node.Healthy}
		if name, ret := gpu.GetName(); ret == nvml.SUCCESS {
			d.Model = name
		}
		if memory, ret := gpu.GetMemoryInfo(); ret == nvml.SUCCESS {
			d.Memory = int64(memory.Total)
		}
		devices = append(devices, d)
	})
	return shareMemory(devices), err
}

// Users returns the compute processes by GPU.
func (n nvmlGPUs) Users(context.Context) (map[string][]int, error) {
	users := map[string][]int{}
	err := n.each(func(_ int, gpu nvml.Device, _ string) {
		id, ret := gpu.GetUUID()
		if ret != nvml.SUCCESS {
			return
		}
		processes, ret := gpu.GetComputeRunningProcesses()
		if ret != nvml.SUCCESS {
			return
		}
		for _, p := range processes {
			users[id] = append(users[id], int(p.Pid))
		}
	})
	return users, err
}

// each calls f for every GPU, between an Init and a Shutdown: a library that
// stays initialised does not see a GPU that has come back.
func (n nvmlGPUs) each(f func(index int, gpu nvml.Device, driver string)) error {
	if ret := n.lib.Init(); ret != nvml.SUCCESS {
		if ret == nvml.ERROR_LIBRARY_NOT_FOUND {
			return errAbsent
		}
		return failure("starting NVML", ret)
	}
	defer func() { _ = n.lib.Shutdown() }() // the next Init tells what is wrong
	driver, _ := n.lib.SystemGetDriverVersion()
	count, ret := n.lib.DeviceGetCount()
	if ret != nvml.SUCCESS {
		return failure("counting GPUs", ret)
	}
	for i := range count {
		if gpu, ret := n.lib.DeviceGetHandleByIndex(i); ret == nvml.SUCCESS {
			f(i, gpu, driver)
		}
	}
	return nil
}

func failure(doing string, ret nvml.Return) error {
	return fmt.Errorf("%s: %w", doing, errors.New(nvml.ErrorString(ret)))
}
