//go:build unix

package pgtest_test

import (
	"testing"

	"github.com/fleetune/fleetune/manager/postgres/pgtest"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { pgtest.Main(m, goleak.IgnoreCurrent()) }

func TestEachTestHasItsOwnMigratedDatabase(t *testing.T) {
	for _, name := range []string{"one", "two", "three"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := pgtest.New(t)
			var tasks, mine int
			require.NoError(t, pool.QueryRow(t.Context(), `SELECT count(*) FROM tasks`).Scan(&tasks))
			require.Zero(t, tasks)
			_, err := pool.Exec(t.Context(), `CREATE TABLE mine ()`)
			require.NoError(t, err)
			require.NoError(t, pool.QueryRow(t.Context(), `SELECT count(*) FROM mine`).Scan(&mine))
		})
	}
	require.NoError(t, pgtest.Store(t).Ping(t.Context()))
}
