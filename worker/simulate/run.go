package simulate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fleetune/fleetune/shared/engine"
	"github.com/fleetune/fleetune/worker/simulate/batching"
	"github.com/fleetune/fleetune/worker/simulate/clock"
	"github.com/fleetune/fleetune/worker/simulate/openai"
	"github.com/fleetune/fleetune/worker/simulate/settings"
)

// Constants of loading.
const (
	// startTime of the interpreter, its modules and the GPU's context (s).
	startTime = 8.0
	// readRate of weights from a local disk (bytes/s).
	readRate = 3e9
	// captureTime of one CUDA graph (s).
	captureTime = 0.05
)

// goodbye is how long running replies may take once the program was told to end.
const goodbye = 2 * time.Second

// run loads and serves until it is told to end, or dies as the engine would.
func run(ctx context.Context, o *options, out io.Writer) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	say := func(format string, a ...any) { _, _ = fmt.Fprintf(out, "INFO simulated: "+format+"\n", a...) } // nobody may read it
	s, err := o.settings()
	if err != nil {
		return err
	}
	announce(say, s, o)
	if err := load(ctx, say, s, o.speed); err != nil {
		return nil // told to end while loading
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(s.Host, strconv.Itoa(s.Port)))
	if err != nil {
		return &Failure{Status: 1, Err: fmt.Errorf("simulated %s: %w", o.engine, err)}
	}
	ranks := make([]*batching.Rank, max(1, s.Ranks))
	for i := range ranks {
		ranks[i] = batching.NewRank(s.Policy, s.Costs)
	}
	loop := clock.New(ranks, o.speed, o.seed)
	say("Application startup complete. Serving %s on http://%s", s.Served, listener.Addr())
	err = serve(ctx, listener, loop, openai.New(openai.Config{Settings: s, Loop: loop, Development: os.Getenv("VLLM_SERVER_DEV_MODE") == "1"}))
	if err != nil {
		return &Failure{Status: 1, Err: fmt.Errorf("simulated %s: %w", o.engine, err)}
	}
	say("ended")
	return nil
}

// announce tells what will be served and on what.
func announce(say func(string, ...any), s *settings.Settings, o *options) {
	say("%s on %s (%s), at %g times the clock: figures are a model's, see shared/docs/simulated-engine.md", s.Engine, s.GPU.Product, s.GPU.Source, o.speed)
	if len(s.Ignored) > 0 {
		say("without effect here: %s", strings.Join(s.Ignored, " "))
	}
	say("weights take %.2f GiB, KV cache: %d blocks", float64(s.Memory.Weights)/(1<<30), s.Policy.Blocks)
	tokens := s.Policy.Blocks * s.Policy.Block
	if s.Engine == engine.SGLang {
		say("max_total_num_tokens=%d, chunked_prefill_size=%d, max_prefill_tokens=%d, max_running_requests=%d, context_len=%d",
			tokens, s.Policy.Chunk, s.Policy.MaxTokens, s.Policy.MaxSequences, s.MaxLength)
		return
	}
	say("# GPU blocks: %d, GPU KV cache size: %d tokens, max_model_len: %d", s.Policy.Blocks, tokens, s.MaxLength)
}

// load takes the time that loading takes; an error says that ctx ended first.
func load(ctx context.Context, say func(string, ...any), s *settings.Settings, speed float64) error {
	seconds := startTime + float64(s.Weights)/readRate + float64(s.Memory.Graphs)/(8<<20)*captureTime
	say("loading takes %.1f s", seconds)
	timer := time.NewTimer(time.Duration(seconds / speed * float64(time.Second)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// serve runs the loop and the server until ctx ends or the engine dies.
func serve(ctx context.Context, listener net.Listener, loop *clock.Loop, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	group, ctx := errgroup.WithContext(ctx)
	running, end := context.WithCancel(context.WithoutCancel(ctx))
	group.Go(func() error {
		err := loop.Run(running)
		if errors.Is(err, batching.ErrOutOfMemory) {
			return errors.New("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate the activations of a prompt: lower the prefill size or the memory fraction")
		}
		return err
	})
	group.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	group.Go(func() error {
		defer end()
		<-ctx.Done()
		patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbye)
		defer cancel()
		if server.Shutdown(patience) != nil {
			_ = server.Close() // replies that take longer are cut
		}
		return nil
	})
	return group.Wait()
}
