package preset

import (
	"testing"

	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/shared/engine"
	"github.com/stretchr/testify/require"
)

// Every preset that comes with Fleetune is one of the engine's newest version:
// no argument that was given up, no value that is refused.
func TestSeedsAreOfTheNewestVersion(t *testing.T) {
	require.NotEmpty(t, System())
	for _, p := range System() {
		e, err := engine.Lookup(p.Runtime)
		require.NoError(t, err, p.Name)
		var s space.Space
		for _, parameter := range p.Parameters {
			values := make([]any, len(parameter.Values))
			for i, v := range parameter.Values {
				if values[i] = v; v == nil {
					values[i] = task.Omitted
				}
			}
			s.Parameters = append(s.Parameters, space.Parameter{Name: parameter.Name, Type: space.Choice, Values: values})
		}
		for _, f := range e.Check(&task.Serving{Engine: e.Name()}, s) {
			t.Errorf("preset %q at %s %s: %s: %s (%s)", p.Name, e.Name(), e.Version(), f.Path, f.Message, f.Expected)
		}
	}
}
