package bench

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/fleetune/fleetune/worker/load/metrics"
)

// files completes names of files that end in one of the extensions.
func files(extensions ...string) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return extensions, cobra.ShellCompDirectiveFilterFileExt
	}
}

// complete gives the flags that take one of a few words those words.
func complete(c *cobra.Command) {
	formats := append(strings.Split(formatNames(), ", "), "dataset")
	for flag, words := range map[string][]string{
		"endpoint-type":             {"chat", "completions", "embeddings", "rerank", "responses"},
		"connection-reuse-strategy": {"pooled", "never", "sticky-user-sessions"},
		"arrival-pattern":           {"constant", "poisson", "gamma", "burst"},
		"dataset-sampling-strategy": {"sequential", "random", "shuffle"},
		"dataset-sample":            {"sequential", "random", "stratified"},
		"custom-dataset-type":       formats,
		"public-dataset":            strings.Split(publicNames(), ", "),
		"cache-bust":                {"none", "system_prefix", "system_suffix", "first_turn_prefix", "first_turn_suffix"},
		"export-level":              {"summary", "records", "raw"},
		"ui":                        {"auto", "live", "plain", "none"},
		"sweep":                     {"concurrency=", "rate="},
		"search":                    {"concurrency=", "rate="},
		"gpu-telemetry":             {"auto", "local"},
		"server-metrics":            {"auto"},
	} {
		_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)) // flags are there, as a test shows
	}
	_ = c.RegisterFlagCompletionFunc("goodput", func(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		before := begun[:strings.LastIndex(begun, " ")+1]
		var out []string
		for _, d := range metrics.Definitions() {
			out = append(out, before+d.Tag+":")
		}
		return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	})
	for flag, extension := range map[string]string{"ca-file": "pem", "cert-file": "pem", "key-file": "pem"} {
		_ = c.MarkFlagFilename(flag, extension, "crt", "key")
	}
	for _, flag := range []string{"aiperf-dir", "dataset-cache"} {
		_ = c.MarkFlagDirname(flag)
	}
}
