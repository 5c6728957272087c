package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/fleetune/fleetune/manager/chaos/relay"
)

// A fault is one thing that goes wrong in a round and is healed in it.
type fault struct {
	name string
	// target keeps two faults of a round apart.
	target string
	after  time.Duration
	length time.Duration
	// hurt breaks something and returns what heals it.
	hurt func(ctx context.Context) (heal func() error, err error)
}

// A plan is the faults of one round.
type plan []fault

func (p plan) String() string {
	parts := make([]string, len(p))
	for i, f := range p {
		parts[i] = fmt.Sprintf("%s %s after %s for %s", f.name, f.target, f.after.Round(time.Millisecond), f.length.Round(time.Millisecond))
	}
	return strings.Join(parts, ", ")
}

// draw chooses one to three faults on different targets.
func (s *stand) draw(choice *rand.Rand) plan {
	all := s.faults(choice)
	var p plan
	for n := 1 + choice.IntN(3); n > 0; n-- {
		f := all[choice.IntN(len(all))]
		f.after = time.Duration(choice.Int64N(int64(2 * time.Second)))
		f.length = time.Duration(choice.Int64N(int64(2 * s.cfg.Lease)))
		if !slices.ContainsFunc(p, func(o fault) bool { return o.target == f.target }) {
			p = append(p, f)
		}
	}
	return p
}

// faults lists what may go wrong. The kinds come equally often, whatever the
// number of targets.
func (s *stand) faults(choice *rand.Rand) []fault {
	w := s.workers[choice.IntN(len(s.workers))]
	// The last of an odd number has its host for itself, so it soon gets to any
	// point; two that share one may wait for each other's devices for long.
	alone := s.workers[len(s.workers)-1]
	list := []fault{
		s.killing(s.manager), s.stopping(s.manager),
		s.killing(w), s.stopping(w),
		s.killing(s.nats), s.stopping(s.nats),
		{name: "kill", target: "postgres", hurt: s.killPostgres},
		{name: "stop", target: "postgres", hurt: s.stopPostgres},
		s.cutting("cut", relay.Refused, w.name), s.cutting("silence", relay.Silent, w.name),
		s.cutting("cut", relay.Refused, s.manager.name), s.cutting("silence", relay.Silent, s.manager.name),
		{name: "wipe", target: s.nats.name, hurt: s.wipeNATS},
		s.dying(alone, "after-claim"), s.dying(alone, "before-report"),
	}
	if s.small != "" {
		// The small disk is the first worker's.
		list = append(list, fault{name: "disk full", target: s.workers[0].name, hurt: s.fillDisk})
	}
	return list
}

// inflict runs a plan: every fault in its time, all healed on return.
func (s *stand) inflict(ctx context.Context, p plan) error {
	errs := make([]error, len(p))
	var done sync.WaitGroup
	for i, f := range p {
		done.Go(func() { errs[i] = f.run(ctx) })
	}
	done.Wait()
	return errors.Join(errs...)
}

func (f fault) run(ctx context.Context) error {
	if err := pause(ctx, f.after); err != nil {
		return err
	}
	heal, err := f.hurt(ctx)
	if err != nil {
		return fmt.Errorf("%s %s: %w", f.name, f.target, err)
	}
	waited := pause(ctx, f.length)
	if err := heal(); err != nil {
		return fmt.Errorf("healing %s %s: %w", f.name, f.target, err)
	}
	return waited
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *stand) killing(p *part) fault {
	return fault{name: "kill", target: p.name, hurt: func(context.Context) (func() error, error) {
		return func() error { return p.start() }, p.kill()
	}}
}

func (s *stand) stopping(p *part) fault {
	return fault{name: "stop", target: p.name, hurt: func(context.Context) (func() error, error) {
		return func() error { return p.signal(syscall.SIGCONT) }, p.signal(syscall.SIGSTOP)
	}}
}

func (s *stand) cutting(name string, state relay.State, target string) fault {
	wire := s.wires[target]
	return fault{name: name, target: target, hurt: func(context.Context) (func() error, error) {
		wire.Set(state)
		return func() error { wire.Set(relay.Open); return nil }, nil
	}}
}

// dying makes a worker kill itself at a point of the circle. Where the point
// is not reached in time, the worker is killed wherever it is.
func (s *stand) dying(p *part, point string) fault {
	return fault{name: point, target: p.name, hurt: func(ctx context.Context) (func() error, error) {
		if err := p.kill(); err != nil {
			return nil, err
		}
		if err := p.start(faultVariable + "=" + point); err != nil {
			return nil, err
		}
		select {
		case <-p.exited:
		case <-time.After(2 * s.cfg.Lease):
			s.log.Info().Str("worker", p.name).Str("point", point).Msg("not reached; killed where it is")
		case <-ctx.Done():
		}
		return func() error { return p.start() }, p.kill()
	}}
}

// wipeNATS takes the whole store away: the road must be rebuilt from the truth.
func (s *stand) wipeNATS(context.Context) (func() error, error) {
	if err := s.nats.kill(); err != nil {
		return nil, err
	}
	return func() error { return s.nats.start() }, os.RemoveAll(s.natsDir())
}

// fillDisk leaves no byte on the disk of the first worker's spool.
func (s *stand) fillDisk(context.Context) (func() error, error) {
	path := filepath.Join(s.small, "filling")
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	block := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(block)
	}
	if closing := f.Close(); !errors.Is(err, syscall.ENOSPC) {
		return nil, errors.Join(err, closing)
	}
	return func() error { return os.Remove(path) }, nil
}
