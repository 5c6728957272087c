package api_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/fleetune/fleetune/manager/api/apitest"
	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/stretchr/testify/require"
)

func TestEnginesAreLookedUp(t *testing.T) {
	s := apitest.Start(t)
	defer http.DefaultClient.CloseIdleConnections()
	read := func(path string, into any) {
		r, body := asks(t, s, "/api/v1"+path, nil)
		require.Equal(t, http.StatusOK, r.StatusCode, body)
		require.NoError(t, json.Unmarshal([]byte(body), into))
	}
	var list v1.Page[v1.Engine]
	read("/engines", &list)
	require.Len(t, list.Items, 4)
	var e v1.Engine
	read("/engines/vllm?version=0.10.2", &e)
	require.Equal(t, "0.10.0", e.Version)
	var arguments v1.Arguments
	read("/engines/vllm/arguments?version=0.10.2&tuned=true", &arguments)
	require.Len(t, arguments.Items, e.Tuned)
	var argument v1.Argument
	read("/engines/vllm/arguments/tp", &argument)
	require.Equal(t, "tensor-parallel-size", argument.Name)

	r, body := asks(t, s, "/api/v1/engines/vllm/arguments/max-num-seq", nil)
	require.Equal(t, http.StatusNotFound, r.StatusCode)
	var p v1.Problem
	require.NoError(t, json.Unmarshal([]byte(body), &p))
	require.Equal(t, "max-num-seqs", p.Errors[0].Nearest)
	require.NotEmpty(t, p.Next)
}
