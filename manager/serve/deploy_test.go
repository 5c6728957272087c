package serve_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/fleetune/fleetune/manager/serve"
	"github.com/fleetune/fleetune/worker/daemon"
	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

// deploy/compose.yaml keeps the Compose specification, its parts fit together,
// and its commands are those that the programs take.
func TestComposeFileOfTheFleet(t *testing.T) {
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	path := filepath.Join(root, "deploy", "compose.yaml")
	project, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{WorkingDir: root,
		ConfigFiles: []types.ConfigFile{{Filename: path}}, Environment: types.Mapping{"FLEETUNE_TOKEN": "of joining"}})
	require.NoError(t, err)

	commands := map[string]*cobra.Command{"fleetune-worker": daemon.Command("fleetune-worker", "test")}
	for _, c := range serve.Commands("test") {
		commands["fleetune "+c.Name()] = c
	}
	for name, s := range project.Services {
		if s.Build != nil {
			require.FileExists(t, filepath.Join(s.Build.Context, s.Build.Dockerfile), name)
		}
		for _, secret := range s.Secrets {
			require.Contains(t, project.Secrets, secret.Source, "%s asks for a secret that the file does not name", name)
		}
		for _, word := range slices.Concat([]string(s.Command), values(s.Environment)) {
			if _, file, ok := strings.Cut(word, "/run/secrets/"); ok {
				require.True(t, slices.ContainsFunc(s.Secrets, func(c types.ServiceSecretConfig) bool { return c.Source == file }),
					"%s reads the secret %s, which it is not given", name, file)
			}
		}
		program, words := s.Image, []string(s.Command)
		if program == "fleetune" {
			program, words = program+" "+words[0], words[1:]
		}
		if !strings.HasPrefix(program, "fleetune") {
			continue // PostgreSQL
		}
		require.Contains(t, commands, program, name)
		require.NoError(t, commands[program].ParseFlags(words), name)
		require.Empty(t, commands[program].Flags().Args(), name)
	}
	for _, p := range project.Services["manager"].Ports {
		require.Equal(t, "127.0.0.1", p.HostIP, "the API is for the host alone")
	}
}

// Without the token a worker could not join: Compose says so before it starts
// anything.
func TestComposeFileAsksForTheToken(t *testing.T) {
	text, err := os.ReadFile("../../deploy/compose.yaml")
	require.NoError(t, err)
	_, err = loader.LoadWithContext(t.Context(), types.ConfigDetails{WorkingDir: t.TempDir(),
		ConfigFiles: []types.ConfigFile{{Filename: "compose.yaml", Content: text}}})
	require.ErrorContains(t, err, "the content of secrets/join")
}

func values(env types.MappingWithEquals) []string {
	var out []string
	for _, v := range env {
		if v != nil {
			out = append(out, *v)
		}
	}
	return out
}
