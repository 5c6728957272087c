package api_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/fleetune/fleetune/manager/api/apitest"
	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// A recipe is for the kind of device that the experiment ran on, and has the
// image that is asked for.
func TestRecipesAreForTheDevicesOfTheExperiment(t *testing.T) {
	s := apitest.Start(t)
	defer http.DefaultClient.CloseIdleConnections()
	s.Served(t, "real", "deployment_mode: local\n")
	on := func(vendor string) {
		require.NoError(t, s.Store.SaveWorkers(t.Context(), []store.Worker{{Name: "node-a", Session: uuid.Max, State: store.WorkerOnline, LastBeatAt: apitest.At(4),
			Node: node.Advertisement{Worker: "node-a", Devices: []node.Device{{ID: "other", Vendor: "nvidia"}, {ID: "gpu-0", Vendor: vendor}}, StartedAt: apitest.At(0)}}}))
	}
	ask := func(query string) (int, string) {
		r, body := asks(t, s, "/api/v1/tasks/real/recipe?format=kubernetes"+query, nil)
		return r.StatusCode, body
	}
	text := func(query string) string {
		status, body := ask(query)
		require.Equal(t, http.StatusOK, status, body)
		var recipe v1.Recipe
		require.NoError(t, json.Unmarshal([]byte(body), &recipe))
		require.Equal(t, 2, recipe.Number)
		return recipe.Text
	}
	on("nvidia")
	require.Contains(t, text(""), "nvidia.com/gpu")
	require.Contains(t, text("&image=mine:1"), "image: mine:1\n")

	on("amd")
	status, body := ask("")
	require.Equal(t, http.StatusConflict, status)
	var p v1.Problem
	require.NoError(t, json.Unmarshal([]byte(body), &p))
	require.Contains(t, p.Next, "--image")
	require.Contains(t, text("&image=mine:1"), "amd.com/gpu")

	on(node.CPU)
	require.NotContains(t, text("&image=mine:1"), "resources:")
	status, body = ask("&image=two%20words")
	require.Equal(t, http.StatusUnprocessableEntity, status, body)
	status, body = ask("&experiment=99")
	require.Equal(t, http.StatusNotFound, status, body)
}
