//go:build !cgo

package device

import (
	"context"

	"github.com/fleetune/fleetune/proto/node"
)

// absent stands for NVML where the binary cannot load it.
type absent struct{}

func newNVML() Discoverer { return absent{} }

// Discover returns that there is no NVML.
func (absent) Discover(context.Context) ([]node.Device, error) { return nil, errAbsent }
