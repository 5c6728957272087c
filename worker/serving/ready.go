package serving

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/shared/engine"
	"github.com/fleetune/fleetune/worker/command"
)

const (
	// probeEvery is how often an engine is asked whether it is ready, probeTime
	// how long one answer may take: some make a token for it.
	probeEvery = 250 * time.Millisecond
	probeTime  = 30 * time.Second
	// bodyLimit bounds what is read of an answer, in bytes.
	bodyLimit = 4 << 20
)

// ready waits until the engine serves, or ends, or time runs out.
func (r *session) ready(ctx context.Context) *command.Result {
	// The engine's end cuts a probe short that waits for it.
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := r.onEnd(cancel)
	defer stop()
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	at, last := 0, error(nil)
	ends := r.staged.engine.Endpoints()
	for {
		for at < len(ends.Ready) {
			if last = r.probe(inner, ends.Ready[at]); last != nil {
				break
			}
			at++
		}
		if at == len(ends.Ready) {
			if last = r.complete(inner, ends.Completion); last == nil {
				return nil
			}
		}
		select {
		case <-r.server.Done():
			return r.died("load", "before it served")
		default:
		}
		select {
		case <-r.server.Done():
		case <-ctx.Done():
			return r.late(ctx, last)
		case <-tick.C:
		}
	}
}

// late is the result of an engine that did not serve in time; what its log
// tells is kept with it.
func (r *session) late(ctx context.Context, last error) *command.Result {
	res := ended("load", context.Cause(ctx))
	if res.Outcome == experiment.OutcomeCancelled {
		return res
	}
	if last != nil {
		res.Failure.Message += fmt.Sprintf("; its last answer: %v", last)
	}
	if d := r.staged.engine.Diagnose(r.server.Log(), engine.Ended{Phase: engine.PhaseLoad, Timeout: true}); d.Cause != "" && d.Cause != engine.CauseUnknown {
		res.Failure.Cause = string(d.Cause)
		res.Failure.Hint = d.Hint
	}
	return res
}

// onEnd calls f when the engine ends, until the returned function is called.
func (r *session) onEnd(f func()) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-r.server.Done():
			f()
		case <-quit:
		}
	}()
	return func() {
		close(quit)
		<-done
	}
}

// probe sends one request and asks for status 200.
func (r *session) probe(ctx context.Context, q engine.Request) error {
	_, err := r.ask(ctx, q.Method, q.Path, nil)
	return err
}

// ask sends a request to the engine and returns the body of its answer.
func (r *session) ask(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, r.server.URL()+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("asking the engine: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	if r.staged.apiKey != "" {
		request.Header.Set("Authorization", "Bearer "+trim(r.staged.apiKey))
	}
	response, err := r.staged.kind.Client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, bodyLimit))
	if err != nil {
		return nil, fmt.Errorf("reading the engine's answer to %s: %w", path, err)
	}
	if response.StatusCode != http.StatusOK {
		return answer, &statusError{path: path, code: response.StatusCode, text: strings.TrimSpace(string(answer[:min(len(answer), 200)]))}
	}
	return answer, nil
}

// A statusError is an answer other than 200.
type statusError struct {
	path, text string
	code       int
}

func (e *statusError) Error() string { return fmt.Sprintf("%s answers %d %s", e.path, e.code, e.text) }

// complete asks for one token where only that proves the engine ready.
func (r *session) complete(ctx context.Context, need bool) error {
	if !need || r.staged.spec.Benchmark.Task != textToText {
		return nil
	}
	body, err := json.Marshal(map[string]any{"model": r.model, "prompt": "Ready?", "max_tokens": 1})
	if err != nil {
		return fmt.Errorf("encoding a request: %w", err)
	}
	_, err = r.ask(ctx, http.MethodPost, "/v1/completions", body)
	return err
}

// settings reads what the engine made of its flags, from its log and from its
// own answers. What it does not tell is left out.
func (r *session) settings(ctx context.Context) {
	e := r.staged.engine
	found := map[string]string{}
	for name, value := range r.side.plan.Effective {
		found[name] = value
	}
	for name, value := range e.ReadLog(r.server.Log()) {
		found[name] = value
	}
	for _, q := range e.Endpoints().Settings {
		body, err := r.ask(ctx, q.Method, q.Path, nil)
		if err != nil {
			continue // another version of the engine does not have it
		}
		for name, value := range e.ReadSettings(q.Path, body) {
			found[name] = value
		}
	}
	r.side.version = found[engine.SettingVersion]
	delete(found, engine.SettingVersion)
	r.side.effective = found
}

// died is the result of an engine that ended by itself.
func (r *session) died(phase, when string) *command.Result {
	end := r.server.End()
	if end.Lost != "" {
		return &command.Result{Outcome: experiment.OutcomeInfraError, Failure: &experiment.Failure{Phase: phase,
			Message: "the engine was lost " + when + ": " + end.Lost}}
	}
	how := engine.Ended{Phase: engine.Phase(phase), Signal: end.Signal, OOMKilled: end.OOM}
	if end.Signal == "" && end.Code >= 0 {
		how.ExitCode = &end.Code
	}
	d := r.staged.engine.Diagnose(r.server.Log(), how)
	f := &experiment.Failure{Phase: phase, Cause: string(d.Cause), Message: d.Message, Hint: d.Hint, Signal: end.Signal, ExitCode: how.ExitCode}
	if f.Message == "" {
		f.Message = fmt.Sprintf("the engine ended %s with exit code %d", when, end.Code)
	}
	return &command.Result{Outcome: d.Outcome, Failure: f}
}

func writeFile(path, text string) error {
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return fmt.Errorf("writing a log: %w", err)
	}
	return nil
}
