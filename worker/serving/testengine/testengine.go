// Package testengine is an engine for tests: a real server process that speaks
// the OpenAI API and goes wrong as it is told. A test binary becomes the engine
// when it is started by what Program returns.
package testengine

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/fleetune/fleetune/worker/load/mockopenai"
)

// word makes a test binary an engine.
const word = "fleetune-test-engine"

// Shape is how an engine behaves.
type Shape string

// The shapes.
const (
	Good        Shape = "good"
	NeverReady  Shape = "never-ready"  // answers 503 for ever
	Silent      Shape = "silent"       // listens and answers nothing
	DiesLoading Shape = "dies-loading" // ends with a device's out of memory
	BadFlag     Shape = "bad-flag"     // ends as argparse does
	DiesLater   Shape = "dies-later"   // ends with out of memory at the 30th request
	Leaks       Shape = "leaks"        // leaves a process of its own session behind
	Floods      Shape = "floods"       // prints 100 MB before it serves
	Slow        Shape = "slow"         // takes a minute for a token
	Deaf        Shape = "deaf"         // does not hear SIGTERM
	Fails       Shape = "fails"        // answers every third request with 500
	PortTaken   Shape = "port-taken"   // finds its port taken, the first time
	Tells       Shape = "tells"        // prints its environment and serves
	Betrays     Shape = "betrays"      // prints its environment and ends with it as the reason
	Lags        Shape = "lags"         // takes longer to a first token the more --threads it has
)

// dies is how many requests DiesLater answers.
const dies = 30

// lagging is how much later Lags answers with each thread after the first.
const lagging = 400 * time.Millisecond

// Program starts an engine of a shape. Dir is where it leaves its traces: a
// lock on the file "device" while any process of it lives, and the pid of what
// Leaks leaves behind in "leaked".
func Program(shape Shape, dir string) []string {
	return append([]string{os.Args[0]}, Arguments(shape, dir)...)
}

// Arguments make any program that calls Main an engine.
func Arguments(shape Shape, dir string) []string { return []string{word, string(shape), dir} }

// Main becomes the engine if the process was started as one. It must be the
// first thing in TestMain.
func Main() {
	if len(os.Args) < 4 || os.Args[1] != word {
		return
	}
	if err := run(Shape(os.Args[2]), os.Args[3], os.Args[4:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run(shape Shape, dir string, args []string) error {
	if err := hold(dir); err != nil {
		return err
	}
	if shape == "hold" {
		select {} // what Leaks leaves behind
	}
	address := net.JoinHostPort(argument(args, "--host"), argument(args, "--port"))
	switch shape {
	case DiesLoading:
		fmt.Fprintln(os.Stderr, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.10 GiB of which 1.00 GiB is free.")
		os.Exit(1)
	case BadFlag:
		fmt.Fprintln(os.Stderr, "usage: server [options]\nserver: error: unrecognized arguments: --no-such-flag")
		os.Exit(2)
	case PortTaken:
		if _, err := os.Stat(dir + "/tried"); err != nil {
			_ = os.WriteFile(dir+"/tried", nil, 0o600)
			fmt.Fprintf(os.Stderr, "OSError: [Errno 98] error while attempting to bind on address ('127.0.0.1', %s): address already in use\n", argument(args, "--port"))
			os.Exit(1)
		}
	case Floods:
		line := strings.Repeat("x", 1023) + "\n"
		for range 100 << 10 {
			if _, err := os.Stdout.WriteString(line); err != nil {
				return err
			}
		}
	case Leaks:
		if err := leak(dir); err != nil {
			return err
		}
	case Betrays:
		fmt.Fprintln(os.Stderr, "RuntimeError: not allowed with "+strings.Join(os.Environ(), " "))
		os.Exit(1)
	case Tells:
		fmt.Println(strings.Join(os.Environ(), "\n"))
	}
	fmt.Println("argv:", strings.Join(args, " "))
	return serve(shape, address, lag(shape, args))
}

// lag is how much later than others an engine answers.
func lag(shape Shape, args []string) time.Duration {
	if shape != Lags {
		return 0
	}
	threads, err := strconv.Atoi(argument(args, "--threads"))
	if err != nil {
		return 0 // its own default is as good as any
	}
	return time.Duration(threads-1) * lagging
}

// hold keeps a lock on the device while this process lives.
func hold(dir string) error {
	f, err := os.OpenFile(dir+"/device", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	// The lock is the file's, shared by every process that inherits it.
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("the device is in use: %w", err)
	}
	kept.Store(f)
	return nil
}

var kept atomic.Pointer[os.File] // so that it stays open

// Free says whether no process of an engine with this folder lives.
func Free(dir string) bool {
	f, err := os.OpenFile(dir+"/device", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return false
	}
	defer f.Close()
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}

// leak starts a process that has a session of its own and nothing of our
// environment.
func leak(dir string) error {
	child := exec.Command(os.Args[0], word, "hold", dir)
	child.Env = []string{}
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := child.Start(); err != nil {
		return err
	}
	return os.WriteFile(dir+"/leaked", fmt.Append(nil, child.Process.Pid), 0o600)
}

func argument(args []string, name string) string {
	for i, a := range args[:max(len(args)-1, 0)] {
		if a == name {
			return args[i+1]
		}
	}
	return ""
}

func serve(shape Shape, address string, late time.Duration) error {
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	mock, err := mockopenai.Start(mockopenai.Config{Forget: true, Behave: behave(shape, late)})
	if err != nil {
		return err
	}
	target, err := url.Parse(mock.URL)
	if err != nil {
		return err
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.FlushInterval = -1
	var seen atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, r *http.Request) {
		switch shape {
		case NeverReady:
			http.Error(w, "loading model", http.StatusServiceUnavailable)
		case Silent:
			<-r.Context().Done()
		}
	})
	mux.HandleFunc("POST /v1/", func(w http.ResponseWriter, r *http.Request) {
		if shape == DiesLater && seen.Add(1) > dies {
			fmt.Fprintln(os.Stderr, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 512.00 MiB.")
			os.Exit(1)
		}
		proxy.ServeHTTP(w, r)
	})
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	go func() {
		for range terminated {
			if shape != Deaf {
				os.Exit(0)
			}
		}
	}()
	return http.Serve(l, mux)
}

func behave(shape Shape, late time.Duration) func(int, *mockopenai.Recording) mockopenai.Behaviour {
	return func(n int, r *mockopenai.Recording) mockopenai.Behaviour {
		b := mockopenai.Behaviour{TTFT: 2*time.Millisecond + late, ITL: time.Millisecond}
		if shape == Slow && r.Limit() > 1 {
			b.TTFT = time.Minute
		}
		if shape == Fails && n%3 == 0 {
			b.Fault = mockopenai.ServerError
		}
		return b
	}
}
