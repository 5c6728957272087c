// Package device knows the devices of one node: it finds them, hands each to
// one attempt at a time, and says how they are.
//
// A device is held in two steps: in this process under a mutex, and on the
// host by a lock file that the kernel unlocks when its holder dies, so that
// two worker processes cannot share a device. The lock file also records the
// runs that use the device. A record that is found by whoever locks the device
// next was left by a worker that died: the device is not used before the
// processes of those runs are proven dead.
package device

import (
	"context"
	"errors"
	"strings"

	"github.com/fleetune/fleetune/proto/node"
)

// Vendors of devices.
const (
	NVIDIA = "nvidia"
	AMD    = "amd"
	CPU    = "cpu"
)

// Errors for control flow.
var (
	// ErrUnsatisfiable says that the node never had enough devices of a kind.
	ErrUnsatisfiable = errors.New("the node does not have such devices")
	// ErrClosed says that the semaphore was closed.
	ErrClosed = errors.New("device semaphore is closed")
	// ErrReleased says that a lease is no longer held.
	ErrReleased = errors.New("device lease was released")
	// ErrUnknown says that no device has such an ID.
	ErrUnknown = errors.New("unknown device")
	// ErrBusy says that a device is in use.
	ErrBusy = errors.New("device is in use")
	// ErrNotQuarantined says that there is no quarantine to end.
	ErrNotQuarantined = errors.New("not quarantined")
)

// A Discoverer finds devices of one vendor. Discover returns every device that
// is there now, its Health set to Healthy.
type Discoverer interface {
	Discover(ctx context.Context) ([]node.Device, error)
}

// A UserLister is a Discoverer that knows which processes compute on a device.
type UserLister interface {
	Discoverer
	// Users returns process ids by device ID.
	Users(ctx context.Context) (map[string][]int, error)
}

// Matches says whether a device is of the kind that a task asks for. The count,
// pool and labels of the requirements are not looked at.
func Matches(d node.Device, need node.Requirements) bool {
	if d.Memory < need.Memory {
		return false
	}
	want := strings.ToLower(need.Accelerator)
	return want == "" || want == "any" || want == d.Vendor ||
		(want != NVIDIA && want != AMD && want != CPU && strings.Contains(strings.ToLower(d.Model), want))
}
