package launch

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// How long an engine that was asked to stop is waited for.
func TestWait(t *testing.T) {
	for name, c := range map[string]struct {
		cancel, end, grace, want time.Duration
	}{
		"it ends":                    {time.Hour, 2 * time.Second, 10 * time.Second, 2 * time.Second},
		"it does not":                {time.Hour, time.Hour, 10 * time.Second, 10 * time.Second},
		"nobody can wait":            {0, time.Hour, 10 * time.Second, Courtesy},
		"nobody can wait any longer": {3 * time.Second, time.Hour, 10 * time.Second, 3*time.Second + Courtesy},
		"a short grace stays short":  {0, time.Hour, 100 * time.Millisecond, 100 * time.Millisecond},
		"it ends within courtesy":    {0, 300 * time.Millisecond, time.Minute, 300 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				if c.cancel == 0 {
					cancel()
				}
				timer := time.AfterFunc(c.cancel, cancel)
				defer timer.Stop()
				done := make(chan struct{})
				ending := time.AfterFunc(c.end, func() { close(done) })
				defer ending.Stop()
				began := time.Now()
				Wait(ctx, done, c.grace)
				require.Equal(t, c.want, time.Since(began))
				cancel()
			})
		})
	}
}
