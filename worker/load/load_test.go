package load

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/fleetune/fleetune/worker/load/agentic"
	"github.com/fleetune/fleetune/worker/load/conversation"
	"github.com/fleetune/fleetune/worker/load/drive"
	"github.com/fleetune/fleetune/worker/load/endpoint"
	"github.com/fleetune/fleetune/worker/load/input"
	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/fleetune/fleetune/worker/load/mockopenai"
	"github.com/fleetune/fleetune/worker/load/pace"
	"github.com/fleetune/fleetune/worker/load/play"
	"github.com/fleetune/fleetune/worker/load/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func serve(t *testing.T, b mockopenai.Behaviour) *mockopenai.Server {
	s, err := mockopenai.Start(mockopenai.Config{Behave: func(int, *mockopenai.Recording) mockopenai.Behaviour { return b }})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

func TestACellAgainstTheOracle(t *testing.T) {
	server := serve(t, mockopenai.Behaviour{TTFT: 4 * time.Millisecond, ITL: time.Millisecond})
	slos, err := metrics.ParseSLOs("time_to_first_token:1000")
	require.NoError(t, err)
	res, err := RunCell(t.Context(), Cell{"D(20,5)", 4}, CellOptions{URL: server.URL, Model: "m", Requests: 24, Warmup: 4, SLOs: slos, Extra: map[string]any{"temperature": 0}})
	require.NoError(t, err)
	require.Equal(t, 24, res.Requests)
	require.Zero(t, res.Errors)
	require.Equal(t, 20.0, res.Input.Avg)
	require.Equal(t, 5.0, res.Output.Avg)
	require.GreaterOrEqual(t, res.TTFT.Min, 4.0, "the server never sends sooner")
	require.GreaterOrEqual(t, res.Latency.Min, 8.0)
	require.GreaterOrEqual(t, res.Goodput, res.RequestThroughput*0.99)
	require.EqualValues(t, 4, res.Full.Warmup.Value(metrics.TagRequestCount))
	require.Len(t, server.Recordings(), 28)
	for _, r := range server.Recordings() {
		require.Equal(t, `0`, string(r.Body["temperature"]))
		require.Equal(t, `true`, string(r.Body["ignore_eos"]))
		require.Equal(t, `"m"`, string(r.Body["model"]))
	}
}

// Two configurations are measured on the same prompts; two cells on one server
// are not, for its prefix cache would know the second cell's.
func TestCellsSendTheirOwnPrompts(t *testing.T) {
	server := serve(t, mockopenai.Behaviour{})
	prompts := func(concurrency int, seed int64) map[string]bool {
		server.Forget()
		_, err := RunCell(t.Context(), Cell{"U(40,60)/(2,4)", concurrency}, CellOptions{URL: server.URL, Requests: 8, Seed: seed})
		require.NoError(t, err)
		out := map[string]bool{}
		for _, r := range server.Recordings() {
			out[r.PromptText()] = true
		}
		require.Len(t, out, 8)
		return out
	}
	first := prompts(2, 1)
	require.Equal(t, first, prompts(2, 1))
	for p := range prompts(4, 1) {
		require.NotContains(t, first, p)
	}
	for p := range prompts(2, 2) {
		require.NotContains(t, first, p)
	}
}

func TestTheEnginesOwnFiguresAreRead(t *testing.T) {
	server := serve(t, mockopenai.Behaviour{})
	engine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "vllm:num_requests_running 2\nvllm:generation_tokens_total %d\n", 3*len(server.Recordings()))
	}))
	defer engine.Close()
	plan := Plan{Target: transport.Config{URLs: []string{server.URL}, Options: endpoint.Options{Kind: endpoint.Chat, Stream: true}},
		Source: input.Synthetic{Scenario: scenario(t, "D(5,2)")}.NewSource(), ServerMetrics: engine.URL,
		Profile: drive.Phase{Shape: drive.Shape{Kind: drive.Closed, Concurrency: 1}, Requests: 5, Grace: -1}}
	res, err := Run(t.Context(), plan)
	require.NoError(t, err)
	require.Equal(t, 15.0, res.Summary.Value("server_generation_tokens"))
	require.Equal(t, 2.0, res.Summary.Value("server_requests_running"))

	plan.ServerMetrics = AutoMetrics // the server has none, and that is no error
	_, err = Run(t.Context(), plan)
	require.NoError(t, err)
	plan.ServerMetrics = server.URL + "/nowhere"
	_, err = Run(t.Context(), plan)
	require.ErrorContains(t, err, "server's metrics: status")
}

func TestACellInWhichEverythingFails(t *testing.T) {
	server := serve(t, mockopenai.Behaviour{Fault: mockopenai.ServerError})
	res, err := RunCell(t.Context(), Cell{"D(20,5)", 2}, CellOptions{URL: server.URL, Requests: 6})
	require.ErrorIs(t, err, ErrAllFailed)
	require.Equal(t, 6, res.Errors)
	require.Equal(t, 1.0, res.ErrorRate)
	require.Equal(t, metrics.ErrServer, res.Full.Summary.Errors[0].Class)
	_, err = RunCell(t.Context(), Cell{"D(20)", 2}, CellOptions{URL: server.URL, Requests: 6})
	require.ErrorContains(t, err, "scenario")
	_, err = RunCell(t.Context(), Cell{"D(20,5)", 2}, CellOptions{URL: server.URL})
	require.ErrorContains(t, err, "needs an end")
}

// Live replies enter the prompts of later turns, in order.
func TestConversationsCarryTheirReplies(t *testing.T) {
	server := serve(t, mockopenai.Behaviour{Tokens: 2, Reasoning: 1})
	list := input.Synthetic{Scenario: scenario(t, "D(5,2)"), Turns: input.Length{Law: input.Fixed, A: 3}}.Take(4)
	source, err := conversation.NewDataset(list, conversation.Sequential, 1)
	require.NoError(t, err)
	_, err = Run(t.Context(), Plan{Target: transport.Config{URLs: []string{server.URL}, Options: endpoint.Options{Kind: endpoint.Chat, Stream: true}},
		Source: source, Profile: drive.Phase{Shape: drive.Shape{Kind: drive.Closed, Concurrency: 2}, Sessions: 4, Grace: -1}})
	require.NoError(t, err)
	bySession := map[string][]mockopenai.Recording{}
	for _, r := range server.Recordings() {
		bySession[r.Session] = append(bySession[r.Session], r)
	}
	require.Len(t, bySession, 4)
	for _, turns := range bySession {
		require.Len(t, turns, 3)
		for k, r := range turns {
			var messages []endpoint.Message
			require.NoError(t, json.Unmarshal(r.Body["messages"], &messages))
			require.Len(t, messages, 2*k+1)
			for i, m := range messages {
				if i%2 == 1 {
					require.Equal(t, "assistant", m.Role)
					require.Equal(t, "tok ", m.Plain(), "the reply without its reasoning")
				}
			}
		}
	}
}

func scenario(t *testing.T, text string) input.Scenario {
	s, err := input.ParseScenario(text)
	require.NoError(t, err)
	return s
}

// Ctrl-C: the run ends at once and what it measured stands.
func TestAStoppedRunIsAValidPartialOne(t *testing.T) {
	server := serve(t, mockopenai.Behaviour{TTFT: time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	var once sync.Once
	var mu sync.Mutex
	seen := 0
	res, err := Run(ctx, Plan{Target: transport.Config{URLs: []string{server.URL}, Options: endpoint.Options{Kind: endpoint.Chat, Stream: true}},
		Source:  input.Synthetic{Scenario: scenario(t, "D(5,2)")}.NewSource(),
		Profile: drive.Phase{Shape: drive.Shape{Kind: drive.Open, Rate: 500, Arrival: pace.Constant}, Duration: time.Hour, Grace: -1},
		OnRecord: func(*metrics.Record) {
			mu.Lock()
			defer mu.Unlock()
			if seen++; seen == 50 {
				once.Do(cancel)
			}
		}})
	require.NoError(t, err)
	require.True(t, res.Cancelled)
	require.GreaterOrEqual(t, res.Summary.Value(metrics.TagRequestCount), 49.0)
	require.True(t, res.Drive.Stopped)
}

// Agentic end to end: markers per tree, children under their root, each turn once.
func TestAgenticReplayEndToEnd(t *testing.T) {
	dir := t.TempDir()
	for i := range 3 {
		text := fmt.Sprintf(`{"id":"w%d","models":["a"],"block_size":4,"hash_id_scope":"local","tool_tokens":3,"system_tokens":3,"requests":[
{"t":0,"type":"n","model":"a","in":30,"out":2,"hash_ids":[1,2,3],"input_types":[],"output_types":[],"stop":"x","api_time":0.01},
{"t":0.05,"type":"subagent","agent_id":"s1","subagent_type":"e","status":"completed","duration_ms":30,"models":["a"],"requests":[
 {"t":0,"type":"n","model":"a","in":9,"out":1,"hash_ids":[7,8],"input_types":[],"output_types":[],"stop":"x"},
 {"t":0.01,"type":"n","model":"a","in":9,"out":1,"hash_ids":[7,8],"input_types":[],"output_types":[],"stop":"x"}]},
{"t":0.06,"type":"n","model":"a","in":22,"out":5,"hash_ids":[1,2,3,4,5],"input_types":[],"output_types":[],"stop":"x"}]}`, i)
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("w%d.json", i)), []byte(text), 0o600))
	}
	w, err := input.Load(dir, input.Options{})
	require.NoError(t, err)
	server := serve(t, mockopenai.Behaviour{})
	var mu sync.Mutex
	roots := map[string]string{} // request → root
	res, err := Run(t.Context(), Plan{Target: transport.Config{URLs: []string{server.URL}, Options: endpoint.Options{Kind: endpoint.Chat, Stream: true, LegacyMaxTokens: true}},
		Models: []string{"m"}, Seed: 1, Profile: drive.Phase{Grace: -1},
		Agentic: &Agentic{Config: agentic.Config{Trees: w.Trees, Lanes: 2, Marker: play.FirstTurnPrefix, MaxTrees: 6, Benchmark: "b", StartMax: 1}, Warmup: true},
		OnRecord: func(r *metrics.Record) {
			mu.Lock()
			defer mu.Unlock()
			require.Nil(t, r.Err)
			roots[r.Request] = r.Root
		}})
	require.NoError(t, err)
	require.Equal(t, 6, res.Branches.TreesDone)
	marker := map[string]string{}
	used := map[string]string{}
	for _, r := range server.Recordings() {
		text := r.PromptText()
		at := strings.Index(text, "[rid:")
		require.GreaterOrEqual(t, at, 0)
		m := text[at : at+18]
		root := roots[r.ID]
		require.NotEmpty(t, root)
		if marker[root] == "" {
			require.Empty(t, used[m], "two trees share a marker")
			marker[root], used[m] = m, root
		}
		require.Equal(t, marker[root], m, "a tree's requests, its children's too, carry one marker")
	}
	require.Len(t, marker, 6)
}

func result(valid, bad, good float64) *Result {
	return &Result{Summary: &metrics.Summary{Metrics: []metrics.Metric{
		{Tag: metrics.TagErrorCount, Stats: metrics.Stats{Avg: bad}},
		{Tag: metrics.TagGoodCount, Stats: metrics.Stats{Avg: good}},
		{Tag: metrics.TagRequestCount, Stats: metrics.Stats{Avg: valid}},
	}}}
}

func TestSearchFindsTheHighestLoad(t *testing.T) {
	for limit := 1; limit <= 40; limit++ {
		runs := 0
		points, best, err := Search(t.Context(), SearchSpec{Least: 1, Most: 32, Whole: true, Tolerance: 1e-9, Attainment: Attainment{HasSLOs: true}},
			func(_ context.Context, x float64) (*Result, error) {
				runs++
				if int(x) <= limit {
					return result(100, 0, 96), nil
				}
				return result(100, 10, 90), nil
			})
		require.NoError(t, err)
		require.Len(t, points, runs)
		require.Equal(t, float64(min(limit, 32)), best.Load)
		require.LessOrEqual(t, runs, 11)
	}
	_, best, err := Search(t.Context(), SearchSpec{Least: 2, Most: 8, Whole: true}, func(context.Context, float64) (*Result, error) { return result(0, 9, 0), ErrAllFailed })
	require.NoError(t, err)
	require.Nil(t, best)
	_, _, err = Search(t.Context(), SearchSpec{}, nil)
	require.Error(t, err)
}

// A rate that the generator itself could not send was not carried.
func TestLostScheduleMissesTheTarget(t *testing.T) {
	r := result(100, 0, 100)
	r.Drive = &drive.Report{Issued: 100, Elapsed: time.Second}
	require.True(t, Attainment{HasSLOs: true}.Met(r))
	r.Drive.Lost = 100 * time.Millisecond
	require.False(t, Attainment{HasSLOs: true}.Met(r))
}

func TestSweepKeepsEveryPoint(t *testing.T) {
	points, err := Sweep(t.Context(), []float64{1, 2, 3}, Attainment{}, func(_ context.Context, x float64) (*Result, error) {
		if x == 3 {
			return result(0, 5, 0), ErrAllFailed
		}
		return result(10, 0, 0), nil
	})
	require.NoError(t, err)
	require.Equal(t, []bool{true, true, false}, []bool{points[0].Meets, points[1].Meets, points[2].Meets})
}
