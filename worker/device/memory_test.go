package device

import (
	"testing"

	"github.com/fleetune/fleetune/proto/node"
)

func TestShareMemory(t *testing.T) {
	got := shareMemory([]node.Device{{Memory: 7}, {}})
	if got[0].Memory != 7 || got[1].Memory != systemMemory() || got[1].Memory <= 0 {
		t.Errorf("%+v", got)
	}
}
