package dispatch_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCircleMeasuresEveryPointOnce(t *testing.T) {
	t.Parallel()
	s := newStand(t, 30*time.Second)
	s.worker("w1", 4)
	s.worker("w2", 4)
	s.submit(noop("circle", 500))
	row := s.complete("circle")
	require.Len(t, s.experiments(row), 500)
	s.requireOnce(row)
}
