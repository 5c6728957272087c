package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A peer is another method on a table, by the same protocol: static violations
// and repeats cost nothing, failed runs count.
type peer struct {
	Name   string              `json:"name"`
	Table  string              `json:"table"`
	Seeds  int                 `json:"seeds,omitempty"`
	To     map[string]*float64 `json:"evaluations_to_median,omitempty"`
	Share  map[string]float64  `json:"share,omitempty"`
	BestAt map[string]float64  `json:"best_at,omitempty"`
	Ask    struct {
		P50 float64 `json:"p50"`
		P99 float64 `json:"p99"`
	} `json:"ask_ms"`
	// Free are violations and repeats a run.
	Free float64 `json:"free_asks,omitempty"`
	// Failed says why there are no figures.
	Failed string `json:"failed,omitempty"`
}

//go:embed optuna_replay.py
var driver []byte

// optuna runs the driver where FLEETUNE_PEERS holds a Python with Optuna.
func optuna(ctx context.Context, index, table string, o options) []peer {
	folder := os.Getenv("FLEETUNE_PEERS")
	python := filepath.Join(folder, "optuna", "bin", "python")
	if folder == "" || !fileExists(python) {
		return []peer{{Name: "optuna", Table: table, Failed: "not installed: " + reason(folder)}}
	}
	say("%s: Optuna, %d seeds", table, o.seeds)
	cmd := exec.CommandContext(ctx, python, "-", index, table, fmt.Sprint(o.seeds), fmt.Sprint(o.budget))
	cmd.Stdin = bytes.NewReader(driver)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var list []peer
	if err == nil {
		err = json.Unmarshal(out, &list)
	}
	if err != nil {
		lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
		return []peer{{Name: "optuna", Table: table, Failed: fmt.Sprintf("%v: %s", err, lines[len(lines)-1])}}
	}
	return list
}

func reason(folder string) string {
	data, err := os.ReadFile(filepath.Join(folder, "optuna.failed"))
	if err != nil {
		return "FLEETUNE_PEERS names no folder with it"
	}
	return strings.TrimSpace(string(data))
}
