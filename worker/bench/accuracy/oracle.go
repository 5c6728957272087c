package accuracy

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/fleetune/fleetune/worker/load/mockopenai"
)

// Serve is the oracle's process: it prints its URL and answers until its
// standard input closes or ctx ends. What a request wants is in its body:
// ttft_us and itl_us.
func Serve(ctx context.Context) error {
	s, err := mockopenai.Start(mockopenai.Config{Behave: func(_ int, r *mockopenai.Recording) mockopenai.Behaviour {
		return mockopenai.Behaviour{
			TTFT: time.Duration(r.Int("ttft_us")) * time.Microsecond,
			ITL:  time.Duration(r.Int("itl_us")) * time.Microsecond,
		}
	}})
	if err != nil {
		return err
	}
	defer s.Close()
	fmt.Println(s.URL)
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_, _ = bufio.NewReader(os.Stdin).ReadByte() // the parent closes it, or ends
	}()
	select {
	case <-ctx.Done():
	case <-closed:
	}
	return nil
}

// oracle is the server's process as the parent sees it.
type oracle struct {
	url  string
	cmd  *exec.Cmd
	stop func() error
}

func startOracle(ctx context.Context, serveArgs []string) (*oracle, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding the program: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, serveArgs...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting the oracle: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting the oracle: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the oracle: %w", err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the oracle did not say its URL: %w", err), cmd.Process.Kill(), cmd.Wait())
	}
	return &oracle{url: strings.TrimSpace(line), cmd: cmd, stop: in.Close}, nil
}

func (o *oracle) close() {
	_ = o.stop()     // tells it to end
	_ = o.cmd.Wait() // its status says nothing more
}

// recordings fetches what the oracle saw since the last call.
func (o *oracle) recordings(ctx context.Context) (*mockopenai.Exchange, error) {
	var out mockopenai.Exchange
	err := o.call(ctx, http.MethodGet, func(resp *http.Response) error { return json.NewDecoder(resp.Body).Decode(&out) })
	if err != nil {
		return nil, fmt.Errorf("reading the oracle's recordings: %w", err)
	}
	return &out, o.forget(ctx)
}

func (o *oracle) forget(ctx context.Context) error {
	return o.call(ctx, http.MethodDelete, func(*http.Response) error { return nil })
}

func (o *oracle) call(ctx context.Context, method string, read func(*http.Response) error) error {
	req, err := http.NewRequestWithContext(ctx, method, o.url+"/recordings", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // read to its end, or given up
	return read(resp)
}
