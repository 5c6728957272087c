package autotuner_test

import (
	"bytes"
	"mime/multipart"
	"net/http"
	"testing"

	"github.com/fleetune/fleetune/manager/api/apitest"
	"github.com/stretchr/testify/require"
)

func TestPresets(t *testing.T) {
	s := apitest.Start(t)
	status, body := ask(t, s, http.MethodPost, "/api/presets/",
		`{"name": "My Preset", "category": "mine", "runtime": "sglang", "parameters": {"tp-size": [4, 8], "page-size": [16]}}`)
	require.Equal(t, http.StatusCreated, status, body)
	golden(t, "preset", body)
	_, same := ask(t, s, http.MethodGet, "/api/presets/my-preset", "")
	require.Equal(t, body, same)
	_, list := ask(t, s, http.MethodGet, "/api/presets/?category=mine", "")
	require.JSONEq(t, "["+body+"]", list)
	_, all := ask(t, s, http.MethodGet, "/api/presets", "")
	require.Contains(t, all, `"id":"balanced"`)

	// What the body does not name stays.
	status, body = ask(t, s, http.MethodPut, "/api/presets/my-preset", `{"description": "changed"}`)
	require.Equal(t, http.StatusOK, status, body)
	require.Contains(t, body, `"description":"changed","category":"mine","runtime":"sglang","is_system":false,"parameters":{"tp-size":[4,8],"page-size":[16]}`)

	status, merged := ask(t, s, http.MethodPost, "/api/presets/merge", `{"preset_ids": ["my-preset", "balanced"], "merge_strategy": "union"}`)
	require.Equal(t, http.StatusOK, status, merged)
	golden(t, "merged", merged)

	status, exported := ask(t, s, http.MethodGet, "/api/presets/my-preset/export", "")
	require.Equal(t, http.StatusOK, status, exported)
	golden(t, "exported", exported)
	status, body = ask(t, s, http.MethodDelete, "/api/presets/my-preset", "")
	require.Equal(t, http.StatusNoContent, status, body)
	require.Empty(t, body)
	status, _ = ask(t, s, http.MethodGet, "/api/presets/my-preset", "")
	require.Equal(t, http.StatusNotFound, status)

	// A browser sends the file in a form, a script as it is.
	var form bytes.Buffer
	parts := multipart.NewWriter(&form)
	require.NoError(t, parts.WriteField("note", "not the file"))
	file, err := parts.CreateFormFile("file", "preset.json")
	require.NoError(t, err)
	_, err = file.Write([]byte(exported))
	require.NoError(t, err)
	require.NoError(t, parts.Close())
	status, body = send(t, s, http.MethodPost, "/api/presets/import", parts.FormDataContentType(), form.String())
	require.Equal(t, http.StatusCreated, status, body)
	require.Contains(t, body, `"id":"my-preset"`)
	status, body = ask(t, s, http.MethodPost, "/api/presets/import", exported)
	require.Equal(t, http.StatusConflict, status, body)
	status, body = send(t, s, http.MethodPost, "/api/presets/import", "multipart/form-data; boundary=x", "--x--\r\n")
	require.Equal(t, http.StatusUnprocessableEntity, status, body)
	require.Contains(t, told(t, body), "no file")
}

func TestRuntimeParameters(t *testing.T) {
	s := apitest.Start(t)
	_, body := ask(t, s, http.MethodGet, "/api/runtime-params/", "")
	require.Contains(t, body, `"runtime":"vllm"`)
	_, tuned := ask(t, s, http.MethodGet, "/api/runtime-params/vllm/commonly-tuned", "")
	require.Contains(t, tuned, `"max-num-seqs"`)
	_, same := ask(t, s, http.MethodGet, "/api/runtime-params/vllm?commonly_tuned_only=true", "")
	require.Equal(t, tuned, same)
	_, all := ask(t, s, http.MethodGet, "/api/runtime-params/vllm", "")
	require.Greater(t, len(all), len(tuned))
	_, body = ask(t, s, http.MethodPost, "/api/runtime-params/validate", `{"runtime": "sglang", "parameter": "tp-size"}`)
	require.JSONEq(t, `{"runtime": "sglang", "parameter": "tp-size", "is_valid": true}`, body)
	_, body = ask(t, s, http.MethodPost, "/api/runtime-params/validate", `{"runtime": "sglang", "parameter": "tp-sizes"}`)
	require.Contains(t, body, `"is_valid":false`)
	require.Contains(t, body, `did you mean`)
}

func TestSystem(t *testing.T) {
	s := apitest.Start(t)
	status, body := ask(t, s, http.MethodGet, "/api/system/health", "")
	require.Equal(t, http.StatusOK, status, body)
	require.JSONEq(t, `{"status": "healthy", "database": "ok", "redis": "ok"}`, body)
	_, body = ask(t, s, http.MethodGet, "/api/system/info", "")
	golden(t, "info", body)
	s.Bus.Close()
	status, body = ask(t, s, http.MethodGet, "/api/system/health", "")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, body, `"status":"unhealthy"`)
}
