package simulate

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/shared/engine"
)

// asProgram makes the test's own program the simulated engine.
const asProgram = "FLEETUNE_TEST_SIMULATE"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) == "" {
		goleak.VerifyTestMain(m)
		return
	}
	command := Command()
	command.SetArgs(os.Args[1:])
	command.SilenceErrors = true
	err := command.ExecuteContext(context.Background())
	var failure *Failure
	if errors.As(err, &failure) {
		_, _ = os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(failure.ExitStatus())
	}
	os.Exit(0)
}

// program is a started engine.
type program struct {
	*exec.Cmd
	out  *bufio.Reader
	errs bytes.Buffer
}

func start(t *testing.T, arguments string) *program {
	p := &program{Cmd: exec.CommandContext(t.Context(), os.Args[0], strings.Fields(arguments)...)}
	p.Env = append(os.Environ(), asProgram+"=1")
	p.Stderr = &p.errs
	out, err := p.StdoutPipe()
	require.NoError(t, err)
	p.out = bufio.NewReader(out)
	require.NoError(t, p.Start())
	return p
}

// serving reads the log until the engine serves, and returns its address.
func (p *program) serving(t *testing.T) (url, log string) {
	for {
		line, err := p.out.ReadString('\n')
		log += line
		require.NoError(t, err, "%s%s", log, &p.errs)
		require.Contains(t, line, "simulated", "every line says so")
		if found := regexp.MustCompile(`http://\S+`).FindString(line); found != "" {
			return found, log
		}
	}
}

// end waits for the program and returns its exit code and last words.
func (p *program) end(t *testing.T) (code int, log string) {
	rest, err := io.ReadAll(p.out)
	require.NoError(t, err)
	var exit *exec.ExitError
	if err := p.Wait(); err != nil {
		require.ErrorAs(t, err, &exit)
	}
	return p.ProcessState.ExitCode(), string(rest) + p.errs.String()
}

const fast = "--simulate-gpu h100-sxm --simulate-speed 1000 "

func TestTheEngineServesAndEndsWhenTold(t *testing.T) {
	p := start(t, fast+"serve meta-llama/Llama-3.2-1B --port 0 --disable-custom-all-reduce")
	url, log := p.serving(t)
	require.Contains(t, log, "without effect here: --disable-custom-all-reduce")
	vllm, err := engine.Lookup("vllm")
	require.NoError(t, err)
	require.NotEmpty(t, vllm.ReadLog(log)[engine.SettingKVTokens], "its log is read like the engine's own")
	response, err := http.Get(url + "/health")
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, 200, response.StatusCode)
	http.DefaultClient.CloseIdleConnections()
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	code, log := p.end(t)
	require.Zero(t, code)
	require.Contains(t, log, "ended")
}

func TestAnEngineThatLoadsEndsWhenTold(t *testing.T) {
	p := start(t, "--simulate-gpu h100-sxm --simulate-speed 0.001 serve meta-llama/Llama-3.2-1B --port 0")
	for {
		line, err := p.out.ReadString('\n')
		require.NoError(t, err)
		if strings.Contains(line, "loading takes") {
			break
		}
	}
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	code, _ := p.end(t)
	require.Zero(t, code)
}

// Each way to fail has the exit code of the real engine, and words that are
// diagnosed as what they are.
func TestFailuresAreThoseOfARealEngine(t *testing.T) {
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	_, port, err := net.SplitHostPort(taken.Addr().String())
	require.NoError(t, err)
	vllm, err := engine.Lookup("vllm")
	require.NoError(t, err)
	for name, c := range map[string]struct {
		arguments string
		code      int
		cause     engine.Cause
	}{
		"flag":   {fast + "serve meta-llama/Llama-3.2-1B --max-nmu-seqs 3", 2, engine.CauseBadFlag},
		"value":  {fast + "serve meta-llama/Llama-3.2-1B --max-num-seqs many", 2, engine.CauseBadFlag},
		"memory": {fast + "serve meta-llama/Llama-3.1-405B", 1, engine.CauseOOMAtLoad},
		"port":   {fast + "serve meta-llama/Llama-3.2-1B --port " + port, 1, engine.CausePortTaken},
	} {
		t.Run(name, func(t *testing.T) {
			code, log := start(t, c.arguments).end(t)
			require.Equal(t, c.code, code, log)
			require.Equal(t, c.cause, vllm.Diagnose(log, engine.Ended{Phase: engine.PhaseLoad, ExitCode: &code}).Cause, log)
		})
	}
	for arguments, want := range map[string]string{
		"--simulate-gpu abacus serve m": "no GPU \"abacus\"",
		"serve m":                       "--simulate-gpu is missing",
		"--simulate-gpu h100 --simulate-speed fast serve m": "no factor",
		"--simulate-gpu h100 --simulate-sped 2 serve m":     "no flag of the simulation",
		"--simulate-gpu": "needs a value",
	} {
		code, log := start(t, arguments).end(t)
		require.Equal(t, 2, code, log)
		require.Contains(t, log, want)
	}
}

func TestAPromptThatFindsNoMemoryKillsTheEngine(t *testing.T) {
	p := start(t, fast+"--simulate-engine sglang --model-path meta-llama/Llama-3.1-8B --mem-fraction-static 0.987 --port 0")
	url, _ := p.serving(t)
	body := `{"prompt":"` + strings.Repeat("word", 20000) + `","max_tokens":4}`
	_, err := http.Post(url+"/v1/completions", "application/json", strings.NewReader(body)) // it hangs up
	require.Error(t, err)
	code, log := p.end(t)
	require.Equal(t, 1, code)
	sglang, err := engine.Lookup("sglang")
	require.NoError(t, err)
	require.Equal(t, engine.CauseOOMAtRun, sglang.Diagnose(log, engine.Ended{Phase: engine.PhaseRun, ExitCode: &code}).Cause, log)
}

// What a worker puts before the engine's own command line is understood.
func TestProgramIsReadBack(t *testing.T) {
	shape := &task.Architecture{Layers: 2, Hidden: 64, Intermediate: 128, Heads: 4, Vocabulary: 100, MaxPositions: 2048}
	program, err := Program("/opt/fleetune", task.Simulate{GPU: "l4", Speed: 2.5}, "sglang", "0.5.2", shape)
	require.NoError(t, err)
	require.Equal(t, []string{"/opt/fleetune", "worker", "simulate-engine"}, program[:3])
	o, err := read(append(program[3:], "-m", "sglang.launch_server", "--model-path", "anything"))
	require.NoError(t, err)
	require.Equal(t, "l4", o.gpu.Name)
	require.InDelta(t, 2.5, o.speed, 0)
	require.Equal(t, shape, o.architecture)
	program, err = Program("/opt/fleetune-worker", task.Simulate{GPU: "l4"}, "vllm", "", nil)
	require.NoError(t, err)
	require.Equal(t, []string{"/opt/fleetune-worker", "simulate-engine", "--simulate-gpu", "l4", "--simulate-engine", "vllm"}, program)
}
