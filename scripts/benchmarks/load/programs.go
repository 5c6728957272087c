package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/fleetune/fleetune/worker/bench/accuracy"
)

// find looks for the peers' programs in a folder.
func find(folder string) (peers []accuracy.Peer, missing map[string]string) {
	peers, missing = []accuracy.Peer{vegetaPeer{}}, map[string]string{}
	if folder == "" {
		return peers, map[string]string{"k6": "not asked for", "AIPerf": "not asked for"}
	}
	look := func(name, path string, make func(path, version string) accuracy.Peer, versionArgs ...string) {
		program := filepath.Join(folder, path)
		out, err := exec.Command(program, versionArgs...).CombinedOutput()
		if err != nil {
			why, readErr := os.ReadFile(filepath.Join(folder, strings.ToLower(name)+".failed"))
			if readErr != nil {
				why = []byte(err.Error())
			}
			missing[name] = strings.TrimSpace(string(why))
			return
		}
		version, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		peers = append(peers, make(program, version))
	}
	look("k6", "k6", func(p, v string) accuracy.Peer {
		return k6{p, strings.Join(strings.Fields(v)[:min(2, len(strings.Fields(v)))], " ")}
	}, "version")
	look("AIPerf", "aiperf/bin/aiperf", func(p, v string) accuracy.Peer {
		return &aiperf{program: p, version: v, tokenizer: filepath.Join(folder, "tokenizer")}
	}, "--version")
	return peers, missing
}

// cost runs a program and tells what processor time it took, that of the
// processes that it started and waited for included.
func cost(ctx context.Context, cmd *exec.Cmd) (time.Duration, error) {
	var text bytes.Buffer
	cmd.Stdout, cmd.Stderr = &text, &text
	err := cmd.Run()
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if err != nil {
		tail := strings.TrimSpace(text.String())
		return 0, fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), err, tail[max(0, len(tail)-300):])
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}

// k6 sends plain HTTP requests from scripts in JavaScript.
type k6 struct{ program, version string }

func (k k6) Name() string { return k.version }

// Takes says that k6 reads replies whole.
func (k6) Takes(a accuracy.Attack) bool { return !a.Stream }

const k6Script = `import http from 'k6/http';
const body = %q;
export const options = { vus: %d, duration: '%dms', discardResponseBodies: false, summaryTrendStats: ['avg'] };
const params = { headers: { 'Content-Type': 'application/json' } };
export default function () { http.post(%q, body, params); }
`

func (k k6) Attack(ctx context.Context, a accuracy.Attack) (accuracy.Tally, error) {
	dir, err := os.MkdirTemp("", "k6")
	if err != nil {
		return accuracy.Tally{}, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary folder
	script, summary := filepath.Join(dir, "load.js"), filepath.Join(dir, "summary.json")
	if err := os.WriteFile(script, fmt.Appendf(nil, k6Script, a.Body, a.Concurrency, a.Length.Milliseconds(), a.URL+a.Path), 0o600); err != nil {
		return accuracy.Tally{}, err
	}
	cmd := exec.CommandContext(ctx, k.program, "run", "--quiet", "--no-usage-report", "--summary-export", summary, script)
	t := accuracy.Tally{Elapsed: a.Length}
	if t.CPU, err = cost(ctx, cmd); err != nil {
		return t, err
	}
	var s struct {
		Metrics map[string]struct {
			Count  float64 `json:"count"`
			Passes float64 `json:"passes"`
		} `json:"metrics"`
	}
	if err := readJSON(summary, &s); err != nil {
		return t, err
	}
	t.Done, t.Failed = int(s.Metrics["http_reqs"].Count), int(s.Metrics["http_req_failed"].Passes)
	return t, nil
}

// aiperf is AIPerf, which needs seconds to start. What a request costs it is
// the difference between a long run and a short one.
type aiperf struct {
	program, version, tokenizer string
}

func (p *aiperf) Name() string { return "AIPerf " + p.version }

// Takes says that AIPerf sends all that we do.
func (p *aiperf) Takes(accuracy.Attack) bool { return true }

func (p *aiperf) Attack(ctx context.Context, a accuracy.Attack) (accuracy.Tally, error) {
	few, many := 2*a.Concurrency, 1200
	if a.Tokens > 100 {
		many = 5 * a.Concurrency
	}
	short, err := p.run(ctx, a, few)
	if err != nil {
		return accuracy.Tally{}, err
	}
	long, err := p.run(ctx, a, many)
	if err != nil {
		return accuracy.Tally{}, err
	}
	// The rate is the long run's own: starting up is not part of it.
	share := float64(long.Done-short.Done) / float64(long.Done)
	return accuracy.Tally{Done: long.Done - short.Done, Failed: long.Failed, CPU: long.CPU - short.CPU,
		Elapsed: time.Duration(float64(long.Elapsed) * share)}, nil
}

func (p *aiperf) run(ctx context.Context, a accuracy.Attack, requests int) (accuracy.Tally, error) {
	dir, err := os.MkdirTemp("", "aiperf")
	if err != nil {
		return accuracy.Tally{}, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary folder
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	args := []string{"profile", "-m", "mock", "-u", a.URL, "--endpoint-type", "chat", "--concurrency", fmt.Sprint(a.Concurrency),
		"--request-count", fmt.Sprint(requests), "--tokenizer", p.tokenizer, "--isl", fmt.Sprint(a.Prompt), "--osl", fmt.Sprint(a.Tokens),
		"--ui", "none", "--artifact-dir", dir, "--use-server-token-count", "--random-seed", "1"}
	if a.Stream {
		args = append(args, "--streaming")
	}
	cmd := exec.CommandContext(ctx, p.program, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	cmd.Dir = dir
	var t accuracy.Tally
	if t.CPU, err = cost(ctx, cmd); err != nil {
		return t, err
	}
	type figure struct {
		Avg float64 `json:"avg"`
	}
	var r struct {
		Requests figure `json:"request_count"`
		Errors   figure `json:"error_request_count"`
		Duration figure `json:"benchmark_duration"`
	}
	if err := readJSON(filepath.Join(dir, "profile_export_aiperf.json"), &r); err != nil {
		return t, err
	}
	t.Done, t.Failed = int(r.Requests.Avg), int(r.Errors.Avg)
	t.Elapsed = time.Duration(r.Duration.Avg * float64(time.Second))
	if t.Done == 0 {
		return t, errors.New("AIPerf reports no requests")
	}
	return t, nil
}

func readJSON(path string, into any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("reading %s: %w", filepath.Base(path), err)
	}
	return nil
}
