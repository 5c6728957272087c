package cli

import (
	"testing"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/stretchr/testify/require"
)

func TestDrainedSaysWhatBecomesOfTheWish(t *testing.T) {
	for status, want := range map[string][2]string{
		"online":   {"w was asked to finish what it runs (0) and leave", "w may stay"},
		"draining": {"w was asked to finish what it runs (0) and leave", "w may stay"},
		"lost":     {"w is lost; if it comes back, it is asked to leave", "w is lost; if it comes back, it may stay"},
		"left":     {"w has left already", "w has left already; when it is started again, it stays"},
	} {
		require.Equal(t, want[0], drained(v1.Worker{Name: "w", Status: status}, false))
		require.Equal(t, want[1], drained(v1.Worker{Name: "w", Status: status}, true))
	}
}
