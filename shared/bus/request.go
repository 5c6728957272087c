package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
)

// ErrForeignReply says that a request names a reply subject outside its
// sender's own inbox.
var ErrForeignReply = errors.New("the reply subject is not the sender's")

// Request sends a message as JSON and decodes the answer. It waits until ctx
// ends; nats.ErrNoResponders says that nobody listens.
func Request[Rep any](ctx context.Context, b *Bus, subject string, req any) (Rep, error) {
	var rep Rep
	data, err := json.Marshal(req)
	if err != nil {
		return rep, fmt.Errorf("encoding request on %s: %w", subject, err)
	}
	msg, err := b.conn.RequestWithContext(ctx, subject, data)
	if err != nil {
		return rep, fmt.Errorf("request on %s: %w", subject, err)
	}
	if err := json.Unmarshal(msg.Data, &rep); err != nil {
		return rep, fmt.Errorf("decoding answer on %s: %w", subject, err)
	}
	return rep, nil
}

// Publish sends a message as JSON, without waiting for anybody.
func Publish(b *Bus, subject string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding message on %s: %w", subject, err)
	}
	if err := b.conn.Publish(subject, data); err != nil {
		return fmt.Errorf("publishing on %s: %w", subject, err)
	}
	return nil
}

// Sender is the worker a message on a worker's own subject came from: the
// last token of fleetune.claim.W, .beat.W, .fetch.W and .report.W. The server's
// permissions vouch for it.
func Sender(subject string) string {
	return subject[strings.LastIndexByte(subject, '.')+1:]
}

// Reply answers a request of a worker with JSON. It refuses with
// ErrForeignReply when the reply subject is not in that worker's inbox: the
// answer carries the manager's authority, and must not be sent where the
// worker itself may not publish.
func Reply(msg *nats.Msg, v any) error {
	if !strings.HasPrefix(msg.Reply, InboxPrefix(Sender(msg.Subject))+".") {
		return fmt.Errorf("answering on %q: %w", msg.Subject, ErrForeignReply)
	}
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding answer on %s: %w", msg.Subject, err)
	}
	if err := msg.Respond(data); err != nil {
		return fmt.Errorf("answering on %s: %w", msg.Subject, err)
	}
	return nil
}
