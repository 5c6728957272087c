package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/fleetune/fleetune/proto/wire"
	"github.com/nats-io/nats.go/jetstream"
)

// ReportsConsumer is the one durable consumer of the reports stream.
const ReportsConsumer = "manager"

// AckWait is how long a message stays with whoever fetched it before it is
// delivered again. Offers are acknowledged at the claim, so it is short.
const AckWait = 30 * time.Second

// Limits bound what the streams may keep. The zero value takes the defaults.
type Limits struct {
	// Replicas of each stream: 1 by default, 3 on a cluster.
	Replicas int
	// LogBytes bounds all attempts' output together, in bytes; 1 GiB by default.
	LogBytes int64
	// LogAge bounds how long output is kept; 7 days by default.
	LogAge time.Duration
}

// Ensure creates the three streams and the reports consumer, or updates them.
// It is harmless to repeat, and mends a store that was wiped.
func Ensure(ctx context.Context, js jetstream.JetStream, limits Limits) error {
	for _, config := range limits.streams() {
		if _, err := js.CreateOrUpdateStream(ctx, config); err != nil {
			return fmt.Errorf("ensuring stream %s: %w", config.Name, err)
		}
	}
	_, err := js.CreateOrUpdateConsumer(ctx, wire.StreamReports, jetstream.ConsumerConfig{
		Durable:       ReportsConsumer,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       AckWait,
		MaxDeliver:    -1,
		MaxAckPending: 10_000,
	})
	if err != nil {
		return fmt.Errorf("ensuring consumer %s of stream %s: %w", ReportsConsumer, wire.StreamReports, err)
	}
	return nil
}

func (l Limits) streams() []jetstream.StreamConfig {
	if l.Replicas <= 0 {
		l.Replicas = 1
	}
	if l.LogBytes <= 0 {
		l.LogBytes = 1 << 30
	}
	if l.LogAge <= 0 {
		l.LogAge = 7 * 24 * time.Hour
	}
	return []jetstream.StreamConfig{
		{
			Name:        wire.StreamWork,
			Description: "offers: experiments ready to be claimed",
			Subjects:    []string{wire.WorkSubjects},
			Retention:   jetstream.WorkQueuePolicy,
			Storage:     jetstream.FileStorage,
			Replicas:    l.Replicas,
			AllowDirect: true,
			// One offer an experiment, however late the second publish.
			MaxMsgsPerSubject:    1,
			Discard:              jetstream.DiscardNew,
			DiscardNewPerSubject: true,
		},
		{
			Name:        wire.StreamReports,
			Description: "results on their way to the manager",
			Subjects:    []string{wire.ReportSubjects},
			Retention:   jetstream.WorkQueuePolicy,
			Storage:     jetstream.FileStorage,
			Replicas:    l.Replicas,
		},
		{
			Name:        wire.StreamLogs,
			Description: "attempts' output",
			Subjects:    []string{wire.LogSubjects},
			Retention:   jetstream.LimitsPolicy,
			Storage:     jetstream.FileStorage,
			Replicas:    l.Replicas,
			AllowDirect: true,
			MaxBytes:    l.LogBytes,
			MaxAge:      l.LogAge,
			Discard:     jetstream.DiscardOld,
		},
	}
}

// EnsureQueue creates the durable pull consumer of a queue at one priority, or
// updates it. Only the manager does: workers bind. ackWait is how long an
// offer stays with a worker that died between fetch and claim.
func EnsureQueue(ctx context.Context, js jetstream.JetStream, queue, priority string, ackWait time.Duration) error {
	name := wire.ConsumerName(queue, priority)
	_, err := js.CreateOrUpdateConsumer(ctx, wire.StreamWork, jetstream.ConsumerConfig{
		Durable:       name,
		FilterSubject: wire.QueueSubjects(queue, priority),
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       ackWait,
		MaxDeliver:    -1,
		// Attempts are counted in the store, and an offer in a worker's hands
		// must not block its neighbours: both limits are out of reach.
		MaxAckPending: 100_000,
		MaxWaiting:    65_536,
	})
	if err != nil {
		return fmt.Errorf("ensuring consumer %s: %w", name, err)
	}
	return nil
}

// OfferWaits is the code of the jetstream.APIError that answers a second offer
// of an experiment whose first one still waits: nothing is wrong.
const OfferWaits jetstream.ErrorCode = 10077
