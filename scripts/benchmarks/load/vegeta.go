package main

import (
	"context"
	"net/http"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/fleetune/fleetune/worker/bench/accuracy"
)

// vegetaPeer is the vegeta library, which sends plain HTTP requests.
type vegetaPeer struct{}

func (vegetaPeer) Name() string { return "vegeta 12.13.0" }

// Takes says that vegeta reads replies whole.
func (vegetaPeer) Takes(a accuracy.Attack) bool { return !a.Stream }

// Attack sends as fast as the workers go. Every result is summed up, as
// vegeta's own command does.
func (vegetaPeer) Attack(ctx context.Context, a accuracy.Attack) (accuracy.Tally, error) {
	target := vegeta.NewStaticTargeter(vegeta.Target{Method: http.MethodPost, URL: a.URL + a.Path, Body: a.Body, Header: http.Header{"Content-Type": {"application/json"}}})
	n := uint64(a.Concurrency)
	attacker := vegeta.NewAttacker(vegeta.KeepAlive(true), vegeta.Connections(a.Concurrency), vegeta.Workers(n), vegeta.MaxWorkers(n))
	defer context.AfterFunc(ctx, func() { attacker.Stop() })()
	var t accuracy.Tally
	var sum vegeta.Metrics
	before, began := accuracy.CPU(), time.Now()
	for r := range attacker.Attack(target, vegeta.Rate{Freq: 0, Per: time.Second}, a.Length, "peer") {
		sum.Add(r)
		if r.Code != http.StatusOK {
			t.Failed++
		}
	}
	t.CPU, t.Elapsed = accuracy.CPU()-before, time.Since(began)
	sum.Close()
	t.Done = int(sum.Requests)
	return t, ctx.Err()
}
