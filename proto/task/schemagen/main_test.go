package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// What is committed is what the types say; `go generate ./task` renews it.
func TestGeneratedFilesAreCurrent(t *testing.T) {
	comments, err := readComments("../" + formFolder)
	require.NoError(t, err)

	schema, err := generateSchema(comments)
	require.NoError(t, err)
	committed, err := os.ReadFile("../" + schemaFile)
	require.NoError(t, err)
	require.Equal(t, string(schema), string(committed))

	page, err := os.ReadFile("../" + referenceFile)
	require.NoError(t, err)
	filled, err := fillReference(page, comments)
	require.NoError(t, err)
	require.Equal(t, string(filled), string(page))
}
