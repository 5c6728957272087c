package input

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fleetune/fleetune/worker/load/conversation"
	"github.com/fleetune/fleetune/worker/load/tree"
)

type wekaTrace struct {
	ID           string          `json:"id"`
	Models       []string        `json:"models"`
	BlockSize    int             `json:"block_size"`
	HashIDScope  string          `json:"hash_id_scope"`
	ToolTokens   int             `json:"tool_tokens"`
	SystemTokens int             `json:"system_tokens"`
	Requests     []wekaRequest   `json:"requests"`
	Totals       json.RawMessage `json:"totals"`
}

// wekaRequest is a request, or the marker of a sub-agent with its requests.
type wekaRequest struct {
	T           float64  `json:"t"`
	Type        string   `json:"type"`
	Model       string   `json:"model"`
	In          int      `json:"in"`
	Out         int      `json:"out"`
	HashIDs     []int64  `json:"hash_ids"`
	InputTypes  []string `json:"input_types"`
	OutputTypes []string `json:"output_types"`
	Stop        string   `json:"stop"`
	APITime     *float64 `json:"api_time"`
	ThinkTime   *float64 `json:"think_time"`
	TTFT        *float64 `json:"ttft"`

	AgentID      string        `json:"agent_id"`
	SubagentType string        `json:"subagent_type"`
	Status       string        `json:"status"`
	DurationMS   *float64      `json:"duration_ms"`
	TotalTokens  *int          `json:"total_tokens"`
	ToolUseCount *int          `json:"tool_use_count"`
	Models       []string      `json:"models"`
	ToolTokens   int           `json:"tool_tokens"`
	SystemTokens int           `json:"system_tokens"`
	Requests     []wekaRequest `json:"requests"`
}

func (r *wekaRequest) api() float64 {
	if r.APITime == nil {
		return 0
	}
	return *r.APITime
}

// loadWeka reads agentic traces, one a file. What a sub-agent's marker means
// is decided by a vote of the whole corpus: see endMarked.
func loadWeka(files []File, opt Options) (*Workload, error) {
	traces, err := readWeka(files)
	if err != nil {
		return nil, err
	}
	w := &Workload{}
	votes, of := 0, 0
	for i := range traces {
		v, n := traces[i].votes()
		votes, of = votes+v, of+n
	}
	corrected := 2*votes > of
	if of > 0 {
		reading := "its start"
		if corrected {
			reading = "its end"
		}
		w.Notes = append(w.Notes, fmt.Sprintf("a sub-agent's marker is read as %s: %d of %d completed sub-agents end at their marker", reading, votes, of))
	}
	var shortened []string
	for i := range traces {
		w.Rows += traces[i].rows()
		if n := traces[i].within(opt.MaxInput); n > 0 {
			w.tooLong(n)
			shortened = append(shortened, traces[i].ID)
		}
		t, dropped, err := traces[i].tree(opt, corrected)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", files[i].Name, err)
		}
		w.Skipped += dropped
		if t != nil {
			w.Trees = append(w.Trees, t)
		}
	}
	if len(shortened) > 0 {
		w.Notes = append(w.Notes, fmt.Sprintf("traces that end before their first prompt of more than %d tokens: %s", opt.MaxInput, strings.Join(shortened, ", ")))
	}
	return w, nil
}

// readWeka decodes and checks the traces of all files.
func readWeka(files []File) ([]wekaTrace, error) {
	var found problems
	traces := make([]wekaTrace, len(files))
	ids := map[string]string{}
	for i, f := range files {
		err := strict(f.Data, &traces[i])
		if err == nil {
			err = traces[i].validate()
		}
		if before, again := ids[traces[i].ID]; err == nil && again {
			err = fmt.Errorf("the trace %q is in %s already", traces[i].ID, before)
		}
		ids[traces[i].ID] = f.Name
		if err != nil && !found.add(fmt.Errorf("%s: %w", f.Name, err)) {
			break
		}
	}
	return traces, found.err()
}

func (t *wekaTrace) validate() error {
	switch {
	case t.ID == "":
		return errors.New("the trace has no id")
	case t.BlockSize < 1 || t.BlockSize > maxLength:
		return fmt.Errorf("block_size %d is not from 1 to %d", t.BlockSize, maxLength)
	case t.HashIDScope != "local" && t.HashIDScope != "global":
		return fmt.Errorf("hash_id_scope %q is neither local nor global", t.HashIDScope)
	}
	var found problems
	for i := range t.Requests {
		r := &t.Requests[i]
		at := fmt.Sprintf("requests[%d]", i)
		if r.Type != "subagent" {
			if err := r.validate(t.BlockSize); err != nil && !found.add(fmt.Errorf("%s: %w", at, err)) {
				break
			}
			continue
		}
		if err := r.validateAgent(t.BlockSize, at); err != nil && !found.add(err) {
			break
		}
	}
	return found.err()
}

// validateAgent checks the marker of a sub-agent and its requests.
func (r *wekaRequest) validateAgent(size int, at string) error {
	if r.AgentID == "" {
		return fmt.Errorf("%s: a sub-agent without an agent_id", at)
	}
	if _, err := span(r.T, time.Second); err != nil {
		return fmt.Errorf("%s: t: %w", at, err)
	}
	if r.DurationMS != nil {
		if _, err := span(*r.DurationMS, time.Millisecond); err != nil {
			return fmt.Errorf("%s: duration_ms: %w", at, err)
		}
	}
	for j := range r.Requests {
		if r.Requests[j].Type == "subagent" {
			return fmt.Errorf("%s.requests[%d]: a sub-agent inside a sub-agent", at, j)
		}
		if err := r.Requests[j].validate(size); err != nil {
			return fmt.Errorf("%s.requests[%d]: %w", at, j, err)
		}
	}
	return nil
}

func (r *wekaRequest) validate(size int) error {
	if r.Type != "n" && r.Type != "s" {
		return fmt.Errorf("type %q is not n, s or subagent", r.Type)
	}
	if r.In < 1 || r.In > maxLength || r.Out < 0 || r.Out > maxLength {
		return fmt.Errorf("in %d and out %d are not from 1 and 0 to %d", r.In, r.Out, maxLength)
	}
	if len(r.HashIDs) > (r.In+size-1)/size {
		return fmt.Errorf("%d blocks of %d are more than %d tokens need", len(r.HashIDs), size, r.In)
	}
	if _, err := span(r.T, time.Second); err != nil {
		return fmt.Errorf("t: %w", err)
	}
	for name, x := range map[string]*float64{"api_time": r.APITime, "think_time": r.ThinkTime} {
		if x == nil {
			continue
		}
		if _, err := span(*x, time.Second); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// rows counts the requests of the trace and its sub-agents.
func (t *wekaTrace) rows() int {
	n := 0
	for i := range t.Requests {
		if t.Requests[i].Type == "subagent" {
			n += len(t.Requests[i].Requests)
		} else {
			n++
		}
	}
	return n
}

// within ends the trace, and each of its sub-agents, before the first prompt of
// more tokens: what follows has that prompt in its own. It returns how many
// entries that leaves out.
func (t *wekaTrace) within(most int) int {
	if most <= 0 {
		return 0
	}
	out := 0
	cut := func(list []wekaRequest) []wekaRequest {
		i := slices.IndexFunc(list, func(r wekaRequest) bool { return r.Type != "subagent" && r.In > most })
		if i < 0 {
			return list
		}
		out += len(list) - i
		return list[:i]
	}
	t.Requests = cut(t.Requests)
	for i := range t.Requests {
		t.Requests[i].Requests = cut(t.Requests[i].Requests)
	}
	return out
}

// votes counts the completed sub-agents with a duration and relative inner
// times, and those of them whose marker can be their end.
func (t *wekaTrace) votes() (end, of int) {
	last := (*wekaRequest)(nil)
	for i := range t.Requests {
		r := &t.Requests[i]
		if r.Type != "subagent" {
			last = r
			continue
		}
		if r.DurationMS == nil || !r.relative() || r.Status != "completed" {
			continue
		}
		of++
		if r.endMarked(last) {
			end++
		}
	}
	return end, of
}

// relative reports whether the inner times count from the sub-agent's start.
func (r *wekaRequest) relative() bool {
	return len(r.Requests) > 0 && r.Requests[0].T < r.T
}

// endMarked reports whether the marker can be the sub-agent's end: then its
// start is not before the end of the request that spawned it. Recorders differ
// in this; reading an end as a start delays every join.
func (r *wekaRequest) endMarked(before *wekaRequest) bool {
	const tolerance = 1 // s
	return before != nil && r.T-*r.DurationMS/1e3 >= before.T+before.api()-tolerance
}

// agent is a sub-agent with its instants worked out, in seconds.
type agent struct {
	marker      *wekaRequest
	kind        string // of the name: sa where the trace says so, else found
	start, end  float64
	spawn, join int
}

// tree makes a tree of a trace; nil without a root request.
func (t *wekaTrace) tree(opt Options, corrected bool) (*tree.Tree, int, error) {
	var root []*wekaRequest
	var agents []agent
	dropped := 0
	for i := range t.Requests {
		r := &t.Requests[i]
		if r.Type != "subagent" {
			root = append(root, r)
			continue
		}
		a := agent{marker: r, kind: "sa", start: r.T, spawn: len(root) - 1}
		if corrected && r.DurationMS != nil && r.relative() && r.Status == "completed" {
			a.start = max(0, r.T-*r.DurationMS/1e3)
			a.spawn = -1 // found below, by time
		} else if a.spawn < 0 {
			a.spawn = -2
		}
		agents = append(agents, a)
	}
	if len(root) == 0 {
		return nil, 1, nil
	}
	var kept []agent
	if opt.Flattened && len(agents) == 0 {
		// Where markers count turns, their numbers are the recorder's.
		root, kept = flattened(root)
	}
	ids := map[string]bool{}
	for _, a := range agents {
		if a.place(root); a.spawn < 0 || len(a.marker.Requests) == 0 {
			dropped++
			continue
		}
		if ids[a.marker.AgentID] {
			return nil, 0, fmt.Errorf("two sub-agents have the agent_id %q", a.marker.AgentID)
		}
		ids[a.marker.AgentID] = true
		kept = append(kept, a)
	}
	out := t.build(root, kept, opt)
	intervals(out, root, kept)
	warp(out, time.Duration(opt.IdleGap*float64(time.Second)))
	delays(out, root, kept, opt)
	return out, dropped, out.Validate()
}

// place finds the turns that spawn and join the agent.
func (a *agent) place(root []*wekaRequest) {
	if a.spawn == -1 {
		for i, r := range root {
			if r.T <= a.start {
				a.spawn = i
			}
		}
	}
	a.end = a.start
	for i := range a.marker.Requests {
		r := &a.marker.Requests[i]
		a.end = max(a.end, a.at(r)+r.api())
	}
	if a.marker.DurationMS != nil {
		a.end = a.start + *a.marker.DurationMS/1e3
	}
	a.join = tree.NoJoin
	for i := a.spawn + 1; i >= 0 && i < len(root); i++ {
		if root[i].T+1e-6 >= a.end {
			a.join = i
			return
		}
	}
}

// at is the instant of an inner request since the start of the trace.
func (a *agent) at(r *wekaRequest) float64 {
	if a.marker.relative() || r.T < a.marker.T {
		return a.start + r.T
	}
	return r.T
}

func seconds(x float64) time.Duration { return time.Duration(x * float64(time.Second)) }

func (t *wekaTrace) build(root []*wekaRequest, agents []agent, opt Options) *tree.Tree {
	names := []string{"weka"}
	if t.HashIDScope == "local" {
		names = append(names, t.ID) // a global id is the same text in every trace
	}
	w := &weaver{seed: conversation.Seed(opt.Seed, names...), size: t.BlockSize, models: map[string]int{}, to: opt.Models}
	out := &tree.Tree{ID: t.ID, Timed: true}
	conv, starts := w.stream(t.ID, root, t.ToolTokens+t.SystemTokens, func(r *wekaRequest) float64 { return r.T })
	out.Streams = []tree.Stream{{Conv: conv, Parent: -1, Branch: -1, Starts: starts}}
	slices.SortStableFunc(agents, func(a, b agent) int { return cmp.Or(cmp.Compare(a.spawn, b.spawn), cmp.Compare(a.join, b.join)) })
	for i := range agents {
		a := &agents[i]
		var inner []*wekaRequest
		for j := range a.marker.Requests {
			inner = append(inner, &a.marker.Requests[j])
		}
		conv, starts := w.stream(t.ID+"::"+a.kind+":"+a.marker.AgentID, inner, a.marker.ToolTokens+a.marker.SystemTokens, a.at)
		n := len(out.Branches)
		if n == 0 || out.Branches[n-1].Spawn != a.spawn || out.Branches[n-1].Join != a.join {
			out.Branches = append(out.Branches, tree.Branch{Spawn: a.spawn, Join: a.join, Start: seconds(a.start)})
			n++
		}
		b := &out.Branches[n-1]
		b.Start = min(b.Start, seconds(a.start))
		b.Children = append(b.Children, len(out.Streams))
		out.Streams = append(out.Streams, tree.Stream{Conv: conv, Parent: 0, Branch: n - 1, Depth: 1, Starts: starts})
	}
	w.cacheHits(out, root, agents)
	return out
}
