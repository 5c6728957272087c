package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fleetune/fleetune/proto/wire"
	"github.com/nats-io/nats.go"
)

// Errors of a fetch.
var (
	// ErrNoConsumer says that the consumer is gone (its queue was removed, or
	// the store wiped), or not there yet after a restart: ask the manager.
	ErrNoConsumer = errors.New("the queue has no consumer")
	// ErrFetchTimeout says that the server did not answer in time.
	ErrFetchTimeout = errors.New("the bus did not answer the fetch in time")
)

// answerTime is how long a server may take to answer beyond the wait that was
// asked for, so that a lost answer cannot hang a fetch.
const answerTime = 2 * time.Second

// A Fetcher pulls offers. One subscription serves all its fetches, so that a
// fetch costs one message there and one back. Fetches of one Fetcher take
// turns. What arrives when nobody waits for it goes back at once.
type Fetcher struct {
	bus   *Bus
	sub   *nats.Subscription
	inbox string
	// turn holds one token; who has it may fetch.
	turn chan struct{}

	mu     sync.Mutex
	number uint64
	pull   *pull
}

// A pull is the fetch under way.
type pull struct {
	consumer string
	reply    string
	batch    int
	messages []*nats.Msg
	err      error
	// done is closed when the pull is complete. It is then no longer
	// Fetcher.pull, and its fields are the waiter's.
	done chan struct{}
}

// pullRequest is the body of a CONSUMER.MSG.NEXT request. With no_wait and no
// expiry the server answers at once; with an expiry it waits for the first
// message.
type pullRequest struct {
	Batch   int           `json:"batch"`
	Expires time.Duration `json:"expires,omitempty"`
	NoWait  bool          `json:"no_wait"`
}

// NewFetcher subscribes a fetcher's inbox.
func NewFetcher(b *Bus) (*Fetcher, error) {
	f := &Fetcher{bus: b, inbox: b.conn.NewInbox(), turn: make(chan struct{}, 1)}
	sub, err := b.conn.Subscribe(f.inbox+".*", f.receive)
	if err != nil {
		return nil, fmt.Errorf("subscribing the fetcher's inbox: %w", err)
	}
	f.sub = sub
	f.turn <- struct{}{}
	return f, nil
}

// Close ends the fetcher. Offers that are still on their way to it are
// delivered to others after AckWait.
func (f *Fetcher) Close() error {
	if err := f.sub.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		return fmt.Errorf("closing the fetcher: %w", err)
	}
	return nil
}

// Fetch pulls at most batch offers of the consumer wire.ConsumerName names.
// When none is there it returns none after wait, or at once when wait is zero.
// The caller owns the messages: Ack, Nak or Term each. Errors: ErrOffline,
// ErrNoConsumer, ErrFetchTimeout, or ctx's. Messages may come with
// an error, when the answer broke off.
func (f *Fetcher) Fetch(ctx context.Context, consumer string, batch int, wait time.Duration) ([]*nats.Msg, error) {
	select {
	case <-f.turn:
		defer func() { f.turn <- struct{}{} }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	// A request buffered while offline would bring offers that nobody waits for.
	if !f.bus.Connected() {
		return nil, ErrOffline
	}
	request, err := json.Marshal(pullRequest{Batch: batch, Expires: max(wait, 0), NoWait: true})
	if err != nil {
		return nil, fmt.Errorf("encoding fetch: %w", err)
	}
	p := f.begin(consumer, batch)
	subject := "$JS.API.CONSUMER.MSG.NEXT." + wire.StreamWork + "." + consumer
	if err := f.bus.conn.PublishRequest(subject, p.reply, request); err != nil {
		f.complete(p, fmt.Errorf("fetching from %s: %w", consumer, err))
	}
	return f.await(ctx, p, wait+answerTime)
}

func (f *Fetcher) begin(consumer string, batch int) *pull {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.number++
	f.pull = &pull{
		consumer: consumer,
		reply:    f.inbox + "." + strconv.FormatUint(f.number, 36),
		batch:    batch,
		done:     make(chan struct{}),
	}
	return f.pull
}

func (f *Fetcher) await(ctx context.Context, p *pull, limit time.Duration) ([]*nats.Msg, error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	var down <-chan nats.Status
	if limit > answerTime {
		// The server forgets a pull with its connection; a long wait must
		// not outlive it.
		changes := f.bus.conn.StatusChanged(nats.RECONNECTING, nats.CLOSED)
		defer f.bus.conn.RemoveStatusListener(changes)
		down = changes
	}
	select {
	case <-p.done:
	case <-down:
		f.complete(p, fmt.Errorf("fetching from %s: %w", p.consumer, ErrOffline))
	case <-ctx.Done():
		f.complete(p, ctx.Err())
	case <-timer.C:
		f.complete(p, fmt.Errorf("fetching from %s: %w", p.consumer, ErrFetchTimeout))
	}
	<-p.done
	return p.messages, p.err
}

// complete ends a pull, once.
func (f *Fetcher) complete(p *pull, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.completeLocked(p, err)
}

func (f *Fetcher) completeLocked(p *pull, err error) {
	if f.pull != p {
		return
	}
	f.pull = nil
	p.err = err
	close(p.done)
}

// receive takes what arrives in the inbox: an offer, or a status that ends a
// pull. An offer carries its own subject, not the pull's, so that an offer
// that comes late serves the next pull of the same consumer.
func (f *Fetcher) receive(msg *nats.Msg) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.pull
	if status := msg.Header.Get("Status"); status != "" && len(msg.Data) == 0 {
		if p != nil && msg.Subject == p.reply {
			f.completeLocked(p, statusError(p.consumer, status, msg.Header.Get("Description")))
		}
		return
	}
	if p == nil || len(p.messages) == p.batch || !deliveredBy(p.consumer, msg.Reply) {
		// Lost to the connection, it comes back by itself after AckWait.
		_ = msg.Nak()
		return
	}
	p.messages = append(p.messages, msg)
	if len(p.messages) == p.batch {
		f.completeLocked(p, nil)
	}
}

// statusError tells what the status that ends a pull means.
func statusError(consumer, status, description string) error {
	switch {
	case status == "404" || status == "408":
		return nil // no (more) messages
	case status == "503", status == "409" && strings.Contains(strings.ToLower(description), "deleted"):
		return fmt.Errorf("fetching from %s: %w", consumer, ErrNoConsumer)
	case status == "409" && (strings.Contains(description, "Shutdown") || strings.Contains(description, "Leadership")):
		return fmt.Errorf("fetching from %s: %s: %w", consumer, description, ErrOffline)
	default:
		return fmt.Errorf("fetching from %s: status %s %s", consumer, status, description)
	}
}

// deliveredBy tells whether an acknowledgement subject names the consumer:
// $JS.ACK.STREAM.CONSUMER.…, or with a domain and an account hash,
// $JS.ACK.DOMAIN.HASH.STREAM.CONSUMER.….
func deliveredBy(consumer, ack string) bool {
	tokens := strings.Split(ack, ".")
	switch {
	case len(tokens) < 9 || tokens[0] != "$JS" || tokens[1] != "ACK":
		return false
	case len(tokens) == 9:
		return tokens[3] == consumer
	default:
		return len(tokens) >= 11 && tokens[5] == consumer
	}
}
