package autotuner_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/fleetune/fleetune/manager/api/apitest"
	"github.com/stretchr/testify/require"
)

func TestExperiments(t *testing.T) {
	s := apitest.Start(t)
	s.Complete(t, "kernel")
	s.Served(t, "served", "")
	status, body := ask(t, s, http.MethodGet, "/api/experiments/task/2", "")
	require.Equal(t, http.StatusOK, status, body)
	golden(t, "experiments", body)
	_, byName := ask(t, s, http.MethodGet, "/api/experiments/task/served", "")
	require.Equal(t, body, byName)

	status, one := ask(t, s, http.MethodGet, "/api/experiments/20000002", "")
	require.Equal(t, http.StatusOK, status, one)
	require.Contains(t, body, strings.TrimSpace(one), "an experiment is the same alone and in a listing")
	_, same := ask(t, s, http.MethodGet, "/api/experiments/"+anyUUID.FindString(one), "")
	require.Equal(t, one, same)

	_, all := ask(t, s, http.MethodGet, "/api/experiments/", "")
	require.Equal(t, 6, strings.Count(all, `"experiment_id"`), all)
	_, some := ask(t, s, http.MethodGet, "/api/experiments/?skip=3&limit=2", "")
	require.Contains(t, some, `"id":20000004`)
	require.Contains(t, some, `"id":10000001`)
	require.Equal(t, 2, strings.Count(some, `"experiment_id"`), some)
}
