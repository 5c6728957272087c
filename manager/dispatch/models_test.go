package dispatch_test

import (
	"testing"
	"time"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/fleetune/fleetune/worker/launch/local"
	"github.com/fleetune/fleetune/worker/serving/testengine"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// serves makes a puppet one that launches engines, and has models.
func (p *puppet) serves(models ...string) *puppet {
	p.node.Kinds = append(p.node.Kinds, task.KindServing)
	p.node.Launchers, p.node.Models = []string{local.Name}, models
	p.node.Devices = p.node.Devices[:1]
	return p
}

// A worker that would have to fetch the model leaves the offer to one that has
// it and is free; and takes it when that one is busy, or does not come.
func TestModelsAreServedWhereTheyAre(t *testing.T) {
	t.Parallel()
	s := newStand(t, time.Minute)
	has, lacks := s.puppet("has").serves("org/model"), s.puppet("lacks").serves()
	has.beat()
	lacks.beat()
	spec := s.engine("near", testengine.Good)
	spec.Serving.Models = []task.Model{{ID: "org/model:Q8_0"}}
	spec.Space = space.Space{Parameters: []space.Parameter{{Name: "threads", Type: space.Integer, Low: 1, High: 3}}}
	spec.Optimization.MaxIterations = 3
	row := s.submit(spec)
	s.until("its experiments are queued", func() bool { return len(s.experiments(row)) >= 2 && s.offers() >= 2 })
	var queue wire.Queue
	s.until("its queue is known", func() bool {
		queues := lacks.beat().Queues
		if len(queues) > 0 {
			queue = queues[0]
		}
		return len(queues) > 0
	})
	has.beat()
	list := s.experiments(row)
	ask := func(p *puppet, of uuid.UUID, delivered uint64) wire.Grant {
		return p.claim(wire.ClaimItem{ID: uuid.New(), Experiment: of, Queue: queue.Name, Model: "org/model:Q8_0", Delivered: delivered})[0]
	}
	first, second := list[0].ID, list[1].ID

	left := ask(lacks, first, 1)
	require.Positive(t, left.Later, "the offer is not left to the worker that has the model")
	require.Empty(t, left.Refused)
	require.Zero(t, left.Epoch)
	require.Equal(t, experiment.Queued, s.experiments(row)[0].State)
	near := ask(has, first, 2)
	require.Zero(t, near.Later)
	require.Positive(t, near.Epoch)
	require.Positive(t, ask(lacks, second, 1).Epoch, "the other one is busy: nobody waits for it")
}

// An offer is not held back for ever.
func TestModelsAreFetchedWhereNobodyComes(t *testing.T) {
	t.Parallel()
	s := newStand(t, time.Minute)
	has, lacks := s.puppet("has").serves("org/model"), s.puppet("lacks").serves()
	has.beat()
	lacks.beat()
	spec := s.engine("far", testengine.Good)
	spec.Serving.Models = []task.Model{{ID: "org/model"}}
	row := s.submit(spec)
	s.until("its experiment is queued", func() bool { return len(s.experiments(row)) == 1 && s.offers() == 1 })
	var queue wire.Queue
	s.until("its queue is known", func() bool {
		queues := lacks.beat().Queues
		if len(queues) > 0 {
			queue = queues[0]
		}
		return len(queues) > 0
	})
	item := wire.ClaimItem{ID: uuid.New(), Experiment: s.experiments(row)[0].ID, Queue: queue.Name, Model: "org/model", Delivered: 8}
	require.Positive(t, lacks.claim(item)[0].Later)
	item.Delivered++
	require.Positive(t, lacks.claim(item)[0].Epoch)
}
