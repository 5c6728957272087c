package api_test

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/fleetune/fleetune/manager/api"
	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/records"
	"github.com/stretchr/testify/require"
)

// Every field and every route is in the documentation for users.
func TestDocumentationNamesEveryField(t *testing.T) {
	text, err := os.ReadFile("../../shared/docs/api.md")
	require.NoError(t, err)
	documented := map[string]bool{}
	for _, m := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(string(text), -1) {
		documented[m[1]] = true
	}
	for _, document := range []any{v1.Task{}, v1.Counts{}, v1.Baseline{}, v1.Best{}, v1.Speedup{}, v1.Submission{}, v1.Submitted{},
		v1.Source{}, v1.Deletion{}, v1.Retry{}, v1.Experiment{}, v1.Metric{}, v1.Error{}, v1.Attempt{}, v1.Sampled{}, v1.LogChunk{}, v1.Worker{}, v1.Device{},
		v1.Held{}, v1.Credentials{}, v1.Event{}, v1.Why{}, v1.Cause{}, v1.Obstacle{}, v1.Problem{}, v1.Finding{},
		v1.Record{}, v1.Winner{}, v1.Import{}, v1.RecordFile{}, v1.Pin{}, v1.Served{}, records.Difference{}, records.Dropped{},
		v1.Comparison{}, v1.Side{}, v1.Disparity{}, v1.Aligned{}, v1.Contrast{}, v1.Compared{}, v1.CellContrast{}, v1.Serving{}, v1.Cell{}, v1.Promise{}, v1.Recipe{}, v1.Engine{}, v1.Field{}, v1.Arguments{}, v1.Argument{}, v1.Preset{}, v1.PresetFile{}, v1.PresetDraft{}, v1.PresetMerge{}, v1.PresetMerged{}, v1.Insight{}, v1.Influence{}, v1.Level{}, v1.Progress{}, v1.Tradeoff{}, v1.LoadOrder{}, v1.LoadState{}, v1.LoadShare{}, v1.LoadPart{}} {
		of := reflect.TypeOf(document)
		for i := range of.NumField() {
			if of.Field(i).Anonymous {
				continue // listed by itself
			}
			name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
			require.True(t, documented[name], "%s.%s is not in shared/docs/api.md", of.Name(), name)
		}
	}
	described, err := api.Describe()
	require.NoError(t, err)
	for _, m := range regexp.MustCompile(`"/api/v1(/[^"]+)"`).FindAllStringSubmatch(string(described), -1) {
		last := m[1][strings.LastIndex(m[1], "/"):]
		require.True(t, strings.Contains(string(text), m[1]) || strings.Contains(string(text), "`"+last+"`"), "%s is not in shared/docs/api.md", m[1])
	}
}
