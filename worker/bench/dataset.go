package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/fleetune/fleetune/worker/load/conversation"
	"github.com/fleetune/fleetune/worker/load/dataset"
	"github.com/fleetune/fleetune/worker/load/input"
	"github.com/fleetune/fleetune/worker/load/token"
	"github.com/fleetune/fleetune/worker/load/token/tokenizerjson"
)

// dataOptions say how prompts are read and counted.
type dataOptions struct {
	InputFile    string   `json:"input_file,omitempty"`
	Public       string   `json:"public_dataset,omitempty"`
	Format       string   `json:"format,omitempty"`
	Order        string   `json:"sampling,omitempty"`
	Limit        int      `json:"limit,omitempty"`
	MaxInput     int      `json:"max_input,omitempty"`
	BlockSize    int      `json:"block_size,omitempty"`
	WholePrompts bool     `json:"whole_prompts,omitempty"`
	MaxTokens    int      `json:"max_tokens,omitempty"`
	Seed         int64    `json:"random_seed"`
	Tokenizer    string   `json:"tokenizer,omitempty"`
	Fields       []string `json:"map,omitempty"`
	Template     string   `json:"prompt_template,omitempty"`
	Deduplicate  bool     `json:"dataset_deduplicate,omitempty"`
	Sample       string   `json:"dataset_sample,omitempty"`
	Stratum      string   `json:"dataset_stratum,omitempty"`
	Member       string   `json:"archive_member,omitempty"`
	TokenEnv     string   `json:"dataset_token_env,omitempty"`
	Cache        string   `json:"-"`
	Look         bool     `json:"-"`
}

func (d *dataOptions) flags(f *pflag.FlagSet) {
	f.StringVarP(&d.InputFile, "input-file", "f", "", "file, directory or URL to play, instead of synthetic prompts")
	f.StringVar(&d.Public, "public-dataset", "", "published dataset to play instead, loaded from where it is published: "+publicNames())
	f.StringVar(&d.Tokenizer, "tokenizer", "", "tokenizer.json, a model's directory, or a model in the local Hugging Face cache; without one, lengths are estimated from bytes")
	f.StringArrayVar(&d.Fields, "map", nil, "field of a dataset's rows, such as prompt=question; names: prompt, prompts, messages, conversations, request_body, system, output_len, output, id")
	f.StringVar(&d.Template, "prompt-template", "", "prompt made of a row's fields, such as 'Translate: {{text}}', or @FILE")
	f.BoolVar(&d.Deduplicate, "dataset-deduplicate", false, "keep the first of entries that send the same")
	f.StringVar(&d.Sample, "dataset-sample", "", "which entries --num-dataset-entries takes: sequential, random or stratified")
	f.StringVar(&d.Stratum, "dataset-stratum", "", "field whose values are the strata (default: the prompts' lengths)")
	f.StringVar(&d.Member, "archive-member", "", "file to read of a zip or tar archive, as a glob pattern (default: the largest CSV, else JSONL, JSON or Parquet)")
	f.StringVar(&d.TokenEnv, "dataset-token-env", "", "environment variable that holds the bearer token of the input's URL")
	f.StringVar(&d.Cache, "dataset-cache", "", "directory of downloaded datasets (default: fleetune/datasets in the user's cache)")
	f.BoolVar(&d.Look, "preview", false, "show the input's figures and its first requests, and send nothing; with --json - as JSON")
	f.StringVar(&d.Format, "custom-dataset-type", "", "format of the input: "+formatNames()+", dataset for rows with fields (default: detected)")
	f.StringVar(&d.Order, "dataset-sampling-strategy", "", "sequential, random or shuffle")
	f.IntVar(&d.Limit, "num-dataset-entries", 0, "play only so many entries, the first unless --dataset-sample says otherwise; of synthetic prompts, make so many and play them again and again")
	f.IntVar(&d.MaxInput, "max-context-length", 0, "leave out requests with longer prompts, in tokens, and what follows them")
	f.IntVar(&d.BlockSize, "isl-block-size", 0, "tokens of a hashed block, instead of the format's own")
	f.BoolVar(&d.WholePrompts, "whole-prompts", false, "rows of a mooncake_trace's session are whole prompts, not what each turn adds")
	f.IntVar(&d.MaxTokens, "max-tokens", 0, "output length of every request, instead of the workload's")
	f.Int64Var(&d.Seed, "random-seed", 1, "seed of everything random")
}

// publicNames lists the datasets that have a name.
func publicNames() string {
	var out []string
	for _, p := range dataset.Publics() {
		out = append(out, p.Name)
	}
	return strings.Join(out, ", ")
}

// find makes the input of a published dataset's name.
func (d *dataOptions) find() error {
	if d.Public == "" {
		return nil
	}
	if d.InputFile != "" {
		return errors.New("--public-dataset and --input-file exclude each other")
	}
	p, err := dataset.FindPublic(d.Public, os.Getenv)
	if err != nil {
		return fmt.Errorf("--public-dataset: %w", err)
	}
	d.InputFile = p.URL
	if d.Format == "" {
		d.Format = string(p.Format)
	}
	return nil
}

// counter opens the tokenizer; without one the fallback counts.
func (d *dataOptions) counter() (token.Counter, *token.Words, error) {
	if d.Tokenizer == "" {
		return token.Bytes{}, nil, nil
	}
	path, err := tokenizerjson.Find(d.Tokenizer)
	if err != nil {
		return nil, nil, fmt.Errorf("--tokenizer: %w", err)
	}
	t, err := tokenizerjson.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("--tokenizer: %w", err)
	}
	return t, token.NewWords(t), nil
}

// check tells what is wrong with the flags.
func (d *dataOptions) check(file string) error {
	var errs []error
	if _, err := dataset.ParseMap(d.Fields); err != nil {
		errs = append(errs, fmt.Errorf("--map %w", err))
	}
	if _, err := dataset.ParseChoice(d.Sample); err != nil {
		errs = append(errs, fmt.Errorf("--dataset-sample: %w", err))
	}
	if file == "" && (len(d.Fields) > 0 || d.Template != "" || d.Deduplicate || d.Sample != "" || d.Stratum != "" || d.Member != "" || d.TokenEnv != "") {
		errs = append(errs, errors.New("--map, --prompt-template, --archive-member and --dataset-… need --input-file"))
	}
	if d.Look && file == "" {
		errs = append(errs, errors.New("--preview needs --input-file; --dry-run shows synthetic requests"))
	}
	return errors.Join(errs...)
}

func (d *dataOptions) template() (string, error) {
	name, ok := strings.CutPrefix(d.Template, "@")
	if !ok {
		return d.Template, nil
	}
	raw, err := os.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("--prompt-template: %w", err)
	}
	return string(raw), nil
}

// dataset reads the input.
func (o *options) dataset(ctx context.Context, counter token.Counter, words *token.Words) (*dataset.Dataset, error) {
	fields, err := dataset.ParseMap(o.Fields)
	if err != nil {
		return nil, fmt.Errorf("--map %w", err)
	}
	choice, err := dataset.ParseChoice(o.Sample)
	if err != nil {
		return nil, fmt.Errorf("--dataset-sample: %w", err)
	}
	template, err := o.template()
	if err != nil {
		return nil, err
	}
	secret := ""
	if o.TokenEnv != "" {
		if secret = os.Getenv(o.TokenEnv); secret == "" {
			return nil, fmt.Errorf("--dataset-token-env: %s is not set", o.TokenEnv)
		}
	}
	d, err := dataset.Load(ctx, o.InputFile, dataset.Options{
		Input: input.Options{
			Format: input.Format(o.Format), Seed: o.Seed, BlockSize: o.BlockSize, Limit: o.Limit, MaxInput: o.MaxInput, Counter: counter, Words: words,
			Models: o.Models, IdleGap: o.IdleGap, IgnoreDelays: o.IgnoreDelays, ThinkTime: o.ThinkTime, DelayCap: o.DelayCap, DelayRatio: o.DelayRatio, WholePrompts: o.WholePrompts, Flattened: o.Flattened,
			Synthesis: o.recipe(),
		},
		Fetch: dataset.Fetch{Cache: o.Cache, Token: secret, OnRetry: o.retrying}, Unpack: dataset.Unpack{Member: o.Member},
		Map: fields, Template: template, Deduplicate: o.Deduplicate, Choice: choice, Stratum: o.Stratum,
	})
	switch {
	case errors.Is(err, input.ErrTooLong):
		return nil, fmt.Errorf("loading the input: %w (--max-context-length)", err)
	case err != nil:
		return nil, fmt.Errorf("loading the input: %w", err)
	}
	return d, nil
}

// retrying tells the person at the terminal why nothing happens yet.
func (o *options) retrying(err error, wait time.Duration) {
	if o.UI != "none" {
		fmt.Fprintf(os.Stderr, "fetching the input: %v; trying again in %v\n", err, wait.Round(time.Second))
	}
}

// look shows what the input holds.
func (o *options) look(w *workload, out io.Writer) error {
	if o.JSON == "-" {
		return writeJSON(out, w.stats)
	}
	plan, err := o.plan(w, 0)
	if err != nil {
		return err
	}
	var b strings.Builder
	if err := o.figures(&b, w); err != nil {
		return err
	}
	requests, err := o.first(plan, w.conversations())
	if err != nil {
		return err
	}
	if err := preview(&b, requests); err != nil {
		return err
	}
	if _, err := io.WriteString(out, b.String()); err != nil {
		return fmt.Errorf("writing the preview: %w", err)
	}
	return nil
}

// figures writes those of the input.
func (o *options) figures(b *strings.Builder, w *workload) error {
	if err := w.stats.Write(b); err != nil {
		return fmt.Errorf("writing the figures: %w", err)
	}
	if w.trees() {
		branches := 0
		for _, t := range w.file.Trees {
			branches += len(t.Branches)
		}
		fmt.Fprintf(b, "Branches: %d\n", branches)
	}
	for _, n := range w.file.Notes {
		fmt.Fprintf(b, "Note: %s.\n", n)
	}
	return nil
}

// conversations are those of the workload, in trees or not.
func (w *workload) conversations() []*conversation.Conversation {
	if w.file == nil {
		return w.list
	}
	return w.file.All()
}
