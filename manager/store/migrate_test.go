package store_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/fleetune/fleetune/manager/store"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew")

func (g *ground) lines(query string) []string {
	g.t.Helper()
	rows, err := g.pool.Query(g.t.Context(), query)
	require.NoError(g.t, err)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(g.t, err)
	return lines
}

// schema describes every table, column, index and view there is.
func (g *ground) schema() []string {
	return g.lines(`SELECT c.table_name || '.' || c.column_name || ' ' || c.data_type || ' ' || c.is_nullable || ' ' || coalesce(c.column_default, '')
			FROM information_schema.columns c WHERE c.table_schema = 'public' AND c.table_name NOT LIKE 'goose%'
		UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename NOT LIKE 'goose%'
		UNION ALL SELECT conrelid::regclass || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
			WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text NOT LIKE 'goose%'
		ORDER BY 1`)
}

func TestMigrationsUpDownUp(t *testing.T) {
	g := newGround(t)
	before := g.schema()
	require.NotEmpty(t, before)
	require.NoError(t, g.CheckSchema(t.Context()))
	require.NoError(t, g.Migrate(t.Context()), "once more is harmless")
	require.NoError(t, g.MigrateDown(t.Context(), 0))
	require.Empty(t, g.schema(), "nothing is left")
	require.ErrorIs(t, g.CheckSchema(t.Context()), store.ErrSchema)
	require.NoError(t, g.Migrate(t.Context()))
	require.Equal(t, before, g.schema())
	require.NoError(t, g.CheckSchema(t.Context()))
}

func TestManagersThatStartTogetherMigrateOnce(t *testing.T) {
	g := newGround(t)
	require.NoError(t, g.MigrateDown(t.Context(), 0))
	errs := make([]error, 3)
	var group sync.WaitGroup
	for i := range errs {
		group.Go(func() { errs[i] = g.Migrate(t.Context()) })
	}
	group.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	require.NoError(t, g.CheckSchema(t.Context()))
}

// The views are read by dashboards of others: their names and columns change
// with care, and never silently.
func TestViewsArePublic(t *testing.T) {
	g := newGround(t)
	got := strings.Join(g.lines(`SELECT c.table_name || '.' || c.column_name || ' ' || c.data_type
		FROM information_schema.columns c JOIN information_schema.views v USING (table_schema, table_name)
		WHERE table_schema = 'public' ORDER BY c.table_name, c.ordinal_position`), "\n") + "\n"
	golden := filepath.Join("testdata", "views.golden")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}
