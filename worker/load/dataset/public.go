package dataset

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/worker/load/input"
)

// A Public is a published dataset that has a name here. Its file stays where it
// is published, under its own licence.
type Public struct {
	Name   string
	URL    string
	Format input.Format
	// What it holds.
	What string
}

// hub is where datasets of the Hugging Face hub are, unless HF_ENDPOINT names
// another hub.
const hub = "https://huggingface.co"

const (
	mooncake = "https://raw.githubusercontent.com/kvcache-ai/Mooncake/main/FAST25-release/traces/"
	azure    = "https://raw.githubusercontent.com/Azure/AzurePublicDataset/master/data/"
)

// Publics lists the datasets that have a name.
func Publics() []Public {
	return []Public{
		{"sharegpt", hub + "/datasets/anon8231489123/ShareGPT_Vicuna_unfiltered/resolve/main/ShareGPT_V3_unfiltered_cleaned_split.json", input.ShareGPT, "conversations with a chat model"},
		{"mooncake_conversation", mooncake + "conversation_trace.jsonl", input.Mooncake, "an hour of a chat service, with hashed prompts"},
		{"mooncake_synthetic", mooncake + "synthetic_trace.jsonl", input.Mooncake, "a mix of public datasets, with hashed prompts"},
		{"mooncake_toolagent", mooncake + "toolagent_trace.jsonl", input.Mooncake, "an hour of tools and agents, with hashed prompts"},
		{"azure_code_2023", azure + "AzureLLMInferenceTrace_code.csv", input.Azure, "an hour of code completion, lengths alone"},
		{"azure_conv_2023", azure + "AzureLLMInferenceTrace_conv.csv", input.Azure, "an hour of conversation, lengths alone"},
	}
}

// The environment that says where published datasets come from: HubVariable the
// hub in place of Hugging Face's, MirrorVariable a server that has any of them
// below HOST/PATH.
const HubVariable, MirrorVariable = "HF_ENDPOINT", "FLEETUNE_DATASET_MIRROR"

// FindPublic finds a dataset by its name, with the address to load it from in
// an environment.
func FindPublic(name string, getenv func(string) string) (Public, error) {
	var names []string
	for _, p := range Publics() {
		if p.Name == name {
			return p.at(getenv)
		}
		names = append(names, p.Name)
	}
	if near := space.Nearest(name, names); near != "" {
		return Public{}, fmt.Errorf("no dataset has the name %q: did you mean %s?", name, near)
	}
	return Public{}, fmt.Errorf("no dataset has the name %q: there are %s; --input-file takes the URL of any other", name, strings.Join(names, ", "))
}

// at moves the address to where the environment says.
func (p Public) at(getenv func(string) string) (Public, error) {
	if mirror := getenv(MirrorVariable); mirror != "" {
		if err := base(MirrorVariable, mirror); err != nil {
			return Public{}, err
		}
		p.URL = strings.TrimSuffix(mirror, "/") + "/" + strings.TrimPrefix(p.URL, "https://")
		return p, nil
	}
	if path, ok := strings.CutPrefix(p.URL, hub); ok && getenv(HubVariable) != "" {
		if err := base(HubVariable, getenv(HubVariable)); err != nil {
			return Public{}, err
		}
		p.URL = strings.TrimSuffix(getenv(HubVariable), "/") + path
	}
	return p, nil
}

// base checks that a variable holds the beginning of a URL.
func base(name, value string) error {
	u, err := url.Parse(value)
	if err != nil || !IsURL(value) || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("%s: want the beginning of an http(s) URL", name)
	}
	return nil
}
