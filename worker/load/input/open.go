// Package input reads workloads: synthetic ones from a description, recorded
// ones from the files of the field's trace formats. Whatever comes in leaves
// as conversations, or as trees where agents spawn agents.
package input

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/worker/load/conversation"
	"github.com/fleetune/fleetune/worker/load/parquetlines"
	"github.com/fleetune/fleetune/worker/load/token"
	"github.com/fleetune/fleetune/worker/load/tree"
)

// Format names a file format.
type Format string

// The formats.
const (
	SingleTurn Format = "single_turn"
	MultiTurn  Format = "multi_turn"
	Mooncake   Format = "mooncake_trace"
	Bailian    Format = "bailian_trace"
	ShareGPT   Format = "sharegpt"
	BurstGPT   Format = "burst_gpt"
	Azure      Format = "azure_csv"
	Weka       Format = "weka_trace"
	DAG        Format = "dag_jsonl"
	RawPayload Format = "raw_payload"
	InputsJSON Format = "inputs_json"
	RandomPool Format = "random_pool"
	Baseten    Format = "baseten_trace"
)

// Formats lists every format.
func Formats() []Format {
	return []Format{SingleTurn, MultiTurn, Mooncake, Bailian, ShareGPT, BurstGPT, Azure, Weka, DAG, RawPayload, InputsJSON, RandomPool, Baseten}
}

// Check refuses what is no format, with the name that may have been meant.
func (f Format) Check() error {
	if slices.Contains(Formats(), f) {
		return nil
	}
	var names []string
	for _, known := range Formats() {
		names = append(names, string(known))
	}
	if near := space.Nearest(string(f), names); near != "" {
		return fmt.Errorf("format %q is not known: did you mean %s?", string(f), near)
	}
	return fmt.Errorf("format %q is not known: there are %s", string(f), strings.Join(names, ", "))
}

// Options of loading.
type Options struct {
	// Format of the files; empty detects it.
	Format Format
	Seed   int64
	// BlockSize of hashed prompts; 0 is the format's own (512 or 16).
	BlockSize int
	// Limit keeps the first conversations or trees; 0 keeps all.
	Limit int
	// MaxInput drops requests with longer prompts, in tokens; 0 keeps all.
	MaxInput int
	// Counter measures texts whose length the format does not say.
	Counter token.Counter
	// Words make filler; nil makes the fallback's.
	Words *token.Words
	// Models to map recorded models to, in the order they first appear.
	Models []string
	// IdleGap takes the time beyond it out of every recorded gap; 0 keeps them.
	IdleGap float64
	// IgnoreDelays sends every turn right after the reply before it; ThinkTime
	// uses an agentic trace's think time as the delay; DelayCap bounds delays, s;
	// DelayRatio is a factor of them, where 0 is 1.
	IgnoreDelays, ThinkTime bool
	DelayCap, DelayRatio    float64
	// WholePrompts reads the rows of a Mooncake session as whole prompts, not as
	// what each turn adds.
	WholePrompts bool
	// Synthesis changes the lengths and prefixes that are recorded.
	Synthesis Synthesis
	// Flattened tells the agents of an agentic trace apart that were recorded
	// in one list.
	Flattened bool
}

// A Workload is what a file holds: conversations, or trees.
type Workload struct {
	Format        Format
	Conversations []*conversation.Conversation
	Trees         []*tree.Tree
	// Notes tell what was decided while reading.
	Notes []string
	// Rows counts the entries of the files, Skipped those that were left out,
	// TooLong those of these that were too long.
	Rows, Skipped, TooLong int

	hashes      []hashed
	completions []completion
}

// maxExpanded bounds what a compressed file may expand to.
const maxExpanded = 4 << 30

// ErrFormat is returned when a file is of no known format.
var ErrFormat = errors.New("the format is not known; name it")

// A File is one input file in memory.
type File struct {
	Name string
	Data []byte
}

// Load reads a file, or a directory of files, gzip-compressed or not.
func Load(path string, opt Options) (*Workload, error) {
	names, err := list(path)
	if err != nil {
		return nil, fmt.Errorf("listing input: %w", err)
	}
	var files []File
	for _, name := range names {
		data, err := read(name)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", filepath.Base(name), err)
		}
		files = append(files, File{filepath.Base(name), data})
	}
	return Decode(files, opt)
}

// Decode reads files that are in memory, of which there must be one.
func Decode(files []File, opt Options) (*Workload, error) {
	if opt.Counter == nil {
		opt.Counter = token.Bytes{}
	}
	var err error
	if opt.Format == "" {
		if opt.Format, err = detectAll(files); err != nil {
			return nil, err
		}
	}
	if err := opt.Format.Check(); err != nil {
		return nil, err
	}
	w, err := decode(files, opt)
	if err != nil {
		return nil, err
	}
	w.Format = opt.Format
	if err := w.shape(opt); err != nil {
		return nil, fmt.Errorf("%s: %w", files[0].Name, err)
	}
	w.use(opt.Words)
	w.delays(opt)
	w.endLonger(opt.MaxInput)
	cacheHits(w.hashes)
	w.hashes = nil
	w.limit(opt.Limit)
	if len(w.Conversations) == 0 && len(w.Trees) == 0 {
		return nil, w.empty(files[0].Name, opt)
	}
	return w, nil
}

// shape makes prompts of the lengths that are recorded, or of others where the
// options say so. Replies come first: what a turn adds is counted with them.
func (w *Workload) shape(opt Options) error {
	if err := w.synthesize(&opt.Synthesis, opt.Seed); err != nil {
		return err
	}
	for i := range w.hashes {
		w.hashes[i].fill()
	}
	for _, c := range w.All() {
		opt.Synthesis.Outputs(c)
	}
	for _, c := range w.Conversations {
		c.Accumulate()
	}
	if w.Format == DAG {
		for _, t := range w.Trees {
			lengths(t)
		}
	}
	return nil
}

// ErrTooLong is returned when no request is short enough.
var ErrTooLong = errors.New("every request is too long, or follows one that is")

// empty says why there is nothing to send.
func (w *Workload) empty(name string, opt Options) error {
	const nothing = "%s holds no usable request"
	switch {
	case w.TooLong > 0:
		return fmt.Errorf(nothing+" of at most %d tokens (%d were left out): %w", name, opt.MaxInput, w.TooLong, ErrTooLong)
	case w.Skipped > 0:
		return fmt.Errorf(nothing+": all %d were left out", name, w.Skipped)
	}
	return fmt.Errorf(nothing, name)
}

// detectAll tells the one format that all files have.
func detectAll(files []File) (Format, error) {
	first, err := Detect(files[0].Data)
	if err != nil {
		return "", fmt.Errorf("%s: %w", files[0].Name, err)
	}
	for _, f := range files[1:] {
		if other, err := Detect(f.Data); err != nil || other != first {
			return "", fmt.Errorf("%s is %s, %s is not: files that are read together have one format", files[0].Name, first, f.Name)
		}
	}
	return first, nil
}

// delays makes of the recorded pauses what the options want. Those of agentic
// traces were bounded when they were read, after their idle gaps were cut.
func (w *Workload) delays(opt Options) {
	ratio := cmp.Or(opt.DelayRatio, 1)
	for _, c := range w.All() {
		for i := range c.Turns {
			d := &c.Turns[i].Delay
			if limit := seconds(opt.DelayCap); limit > 0 && w.Format != Weka {
				*d = min(*d, limit)
			}
			if *d = time.Duration(ratio * float64(*d)); opt.IgnoreDelays {
				*d = 0
			}
		}
	}
}

// All lists the conversations, those of trees too.
func (w *Workload) All() []*conversation.Conversation {
	out := slices.Clone(w.Conversations)
	for _, t := range w.Trees {
		for i := range t.Streams {
			out = append(out, t.Streams[i].Conv)
		}
	}
	return out
}

func (w *Workload) use(words *token.Words) {
	for _, c := range w.All() {
		c.Use(words)
	}
}

// endLonger ends conversations before their first prompt of more tokens, and
// leaves out trees that have one. Agentic traces have been cut when they were
// read.
func (w *Workload) endLonger(most int) {
	if most <= 0 {
		return
	}
	long := func(t conversation.Turn) bool { return t.InputTokens > most }
	w.Conversations = slices.DeleteFunc(w.Conversations, func(c *conversation.Conversation) bool {
		if i := slices.IndexFunc(c.Turns, long); i >= 0 {
			w.tooLong(len(c.Turns) - i)
			c.Turns = c.Turns[:i]
		}
		return len(c.Turns) == 0
	})
	w.Trees = slices.DeleteFunc(w.Trees, func(t *tree.Tree) bool {
		out := slices.ContainsFunc(t.Streams, func(s tree.Stream) bool { return slices.ContainsFunc(s.Conv.Turns, long) })
		if out {
			w.tooLong(t.Requests())
		}
		return out
	})
}

func (w *Workload) tooLong(n int) {
	w.Skipped += n
	w.TooLong += n
}

func (w *Workload) limit(n int) {
	if n > 0 && len(w.Conversations) > n {
		w.Conversations = w.Conversations[:n]
	}
	if n > 0 && len(w.Trees) > n {
		w.Trees = w.Trees[:n]
	}
}

func list(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	var names []string
	err = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		plain := strings.TrimSuffix(p, ".gz")
		if d.Type().IsRegular() && slices.Contains([]string{".json", ".jsonl", ".csv", ".parquet"}, filepath.Ext(plain)) {
			names = append(names, p)
		}
		return nil
	})
	if err == nil && len(names) == 0 {
		err = errors.New("the directory holds no .json, .jsonl, .csv or .parquet file")
	}
	slices.Sort(names)
	return names, err
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // nothing was written
	r := bufio.NewReader(f)
	var in io.Reader = r
	if magic, _ := r.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, err
		}
		in = z
	}
	data, err := io.ReadAll(io.LimitReader(in, maxExpanded+1))
	switch {
	case err != nil:
		return nil, err
	case len(data) > maxExpanded:
		return nil, fmt.Errorf("more than %d bytes", int64(maxExpanded))
	case parquetlines.Is(data):
		return parquetlines.Lines(data, maxExpanded)
	}
	return data, nil
}

func decode(files []File, opt Options) (*Workload, error) {
	switch opt.Format {
	case Weka:
		return loadWeka(files, opt)
	case RandomPool:
		return loadPool(files, opt)
	}
	w := &Workload{}
	var errs []error
	for _, f := range files {
		errs = append(errs, readers[opt.Format](w, f, opt))
	}
	w.sessions()
	return w, errors.Join(errs...)
}

// readers read one file each into a workload.
var readers = map[Format]func(*Workload, File, Options) error{
	SingleTurn: loadTurns, MultiTurn: loadTurns, RawPayload: loadTurns, Mooncake: loadMooncake, Bailian: loadBailian,
	ShareGPT: loadShareGPT, BurstGPT: loadCSV, Azure: loadCSV, DAG: loadDAG, InputsJSON: loadInputs, Baseten: loadBaseten,
}
