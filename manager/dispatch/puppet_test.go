package dispatch_test

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/fleetune/fleetune/shared/bus"
	"github.com/fleetune/fleetune/shared/natsd"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// A puppet is a worker whose every message the test writes itself: it says
// things twice, late, or not at all.
type puppet struct {
	s        *stand
	bus      *bus.Bus
	node     node.Advertisement
	session  uuid.UUID
	sequence uint64
	confirms chan wire.Attempted
}

func (s *stand) puppet(name string) *puppet {
	s.t.Helper()
	p := &puppet{
		s: s, bus: s.connect(name, s.nats.URL(), natsd.WorkerPassword(s.secret, name)), session: uuid.New(),
		confirms: make(chan wire.Attempted, 64),
		node: node.Advertisement{Worker: name, Pool: "default", Kinds: []string{task.KindNoop, task.KindCommand}, StartedAt: time.Now(),
			Devices: []node.Device{{ID: name + "-0", Vendor: "cpu", Health: node.Healthy}, {ID: name + "-1", Vendor: "cpu", Health: node.Healthy}}},
	}
	s.t.Cleanup(p.bus.Close)
	_, err := p.bus.Conn().Subscribe(wire.ControlSubject(name), p.handleControl)
	require.NoError(s.t, err)
	return p
}

// beat tells what the puppet holds.
func (p *puppet) beat(held ...wire.Held) wire.BeatReply {
	p.s.t.Helper()
	var reply wire.BeatReply
	p.s.until("a beat is answered", func() bool {
		p.sequence++
		var err error
		reply, err = ask[wire.BeatReply](p, wire.BeatSubject(p.node.Worker), wire.Beat{
			Version: wire.Version, Worker: p.node.Worker, Session: p.session, Sequence: p.sequence, Node: p.node, Held: held,
		})
		return err == nil
	})
	return reply
}

func ask[Reply any](p *puppet, subject string, message any) (Reply, error) {
	ctx, cancel := context.WithTimeout(p.s.t.Context(), 2*time.Second)
	defer cancel()
	return bus.Request[Reply](ctx, p.bus, subject, message)
}

// claim asks for experiments under the ids of claims, until there is an answer.
func (p *puppet) claim(items ...wire.ClaimItem) []wire.Grant {
	p.s.t.Helper()
	var reply wire.ClaimReply
	p.s.until("a claim is answered", func() bool {
		var err error
		reply, err = ask[wire.ClaimReply](p, wire.ClaimSubject(p.node.Worker), wire.Claim{
			Version: wire.Version, Worker: p.node.Worker, Session: p.session, Items: items,
		})
		if reply.Retry != "" {
			p.beat()
		}
		return err == nil && reply.Retry == ""
	})
	return reply.Grants
}

func itemOf(id uuid.UUID) wire.ClaimItem { return wire.ClaimItem{ID: uuid.New(), Experiment: id} }

// takes claims an experiment that must be granted.
func (p *puppet) takes(id uuid.UUID) wire.Grant {
	p.s.t.Helper()
	grants := p.claim(itemOf(id))
	require.Len(p.s.t, grants, 1)
	require.Empty(p.s.t, grants[0].Refused)
	return grants[0]
}

func (p *puppet) result(of uuid.UUID, g wire.Grant, metric string) wire.Report {
	return wire.Report{
		Version: wire.Version, Worker: p.node.Worker, Experiment: g.Experiment, Task: of, Epoch: g.Epoch, Attempt: g.Attempt,
		StartedAt: time.Now(), FinishedAt: time.Now(), Outcome: experiment.OutcomeSuccess,
		Measurement: &experiment.Measurement{Metrics: map[string]experiment.Metric{metric: {Samples: []float64{1}, Median: 1}}},
	}
}

// report publishes results, all in one message.
func (p *puppet) report(results ...wire.Report) {
	p.s.t.Helper()
	var lines [][]byte
	for _, r := range results {
		line, err := json.Marshal(r)
		require.NoError(p.s.t, err)
		lines = append(lines, line)
	}
	p.publish(bytes.Join(lines, []byte{'\n'}))
}

func (p *puppet) publish(data []byte) {
	p.s.t.Helper()
	_, err := p.bus.JetStream().Publish(p.s.t.Context(), wire.ReportSubject(p.node.Worker), data)
	require.NoError(p.s.t, err)
}

// confirmed waits until the manager has committed n reports, repeats and stale
// ones included.
func (p *puppet) confirmed(n int) {
	p.s.t.Helper()
	for range n {
		select {
		case <-p.confirms:
		case <-time.After(time.Minute):
			p.s.t.Fatal("the manager did not confirm")
		}
	}
}

func (p *puppet) handleControl(m *nats.Msg) {
	var c wire.Control
	if json.Unmarshal(m.Data, &c) != nil || c.Confirm == nil {
		return
	}
	for _, r := range c.Confirm.Reports {
		p.confirms <- r
	}
}
