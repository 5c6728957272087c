package input

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetune/fleetune/worker/load/tree"
)

// flat is a trace whose agents stand in one list: a main conversation, one
// beside it that starts while the first request is in flight, a group of two,
// and a single request.
func flat() string {
	line := func(t, api float64, out int, ids string) string {
		n := len(strings.Split(ids, ","))
		return fmt.Sprintf(`{"t":%g,"type":"n","model":"m","in":%d,"out":%d,"hash_ids":[%s],"api_time":%g}`, t, 4*n, out, ids, api)
	}
	return `{"id":"f","models":["m"],"block_size":4,"hash_id_scope":"global","requests":[` + strings.Join([]string{
		line(0, 5, 4, "1,2,3"),
		line(2, 2, 4, "50,51"),        // a conversation beside it
		line(6, 4, 4, "1,2,3,4"),      // main
		line(7, 1, 4, "50,51,52"),     // goes on
		line(8, 1, 4, "70"),           // a single request
		line(12, 4, 4, "1,2,3,4,5"),   // main: the single request and the conversation had ended
		line(13, 1, 4, "80,81"),       // a group
		line(13.5, 1, 4, "90,91"),     // of two
		line(20, 1, 4, "1,2,9,10,11"), // main, cut back to two blocks
		line(22, 1, 4, "40,41,42"),    // main, its prompt made anew
	}, ",") + `]}`
}

func TestAgentsInOneListAreToldApart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f.json")
	require.NoError(t, os.WriteFile(path, []byte(flat()), 0o600))
	w, err := Load(path, Options{Format: Weka, Flattened: true})
	require.NoError(t, err)
	tr := w.Trees[0]
	got := map[string]int{}
	for _, s := range tr.Streams {
		got[s.Conv.ID] = len(s.Conv.Turns)
	}
	require.Equal(t, map[string]int{"f": 5, "f::fa:0": 2, "f::aux:1": 1, "f::wg:2": 1, "f::wg:3": 1}, got)
	require.Equal(t, 10, tr.Requests())
	by := map[string]tree.Branch{}
	for _, b := range tr.Branches {
		by[tr.Streams[b.Children[0]].Conv.ID] = b
	}
	require.Equal(t, 0, by["f::fa:0"].Spawn)
	require.True(t, by["f::fa:0"].FromSend, "it began while the first request was in flight")
	require.Equal(t, 2, by["f::fa:0"].Join)
	require.Equal(t, 1, by["f::aux:1"].Spawn)
	require.Len(t, by["f::wg:2"].Children, 2)
	require.Equal(t, 3, by["f::wg:2"].Join)
	require.Equal(t, 5*time.Second, tr.Streams[0].Ends[0])
	require.NoError(t, tr.Validate())

	w, err = Load(path, Options{Format: Weka})
	require.NoError(t, err)
	require.Len(t, w.Trees[0].Streams, 1, "unless asked, a list is one conversation")
}

// Ends move with starts when idle time is taken out.
func TestEndsFollowTheWarp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f.json")
	require.NoError(t, os.WriteFile(path, []byte(flat()), 0o600))
	w, err := Load(path, Options{Format: Weka, Flattened: true, IdleGap: 1})
	require.NoError(t, err)
	for _, s := range w.Trees[0].Streams {
		for k := range s.Starts {
			require.GreaterOrEqual(t, s.Ends[k], s.Starts[k])
			require.LessOrEqual(t, s.Ends[k], 15*time.Second)
		}
	}
	require.NotEmpty(t, w.Trees[0].Barriers())
}
