package tokenizerjson

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// ErrNotFound is returned for a model whose tokenizer is not on this machine.
var ErrNotFound = errors.New("no such file, and no such model in the local Hugging Face cache")

// Find tells where a tokenizer is: a tokenizer.json, a directory that holds
// one, or a model (org/name) that was downloaded into Hugging Face's cache,
// whose place HF_HUB_CACHE or HF_HOME may name. Nothing is downloaded.
func Find(name string) (string, error) {
	if name == "" {
		return "", fmt.Errorf("a tokenizer without a name: %w", ErrNotFound)
	}
	if _, err := os.Stat(name); err == nil {
		return name, nil
	}
	org, model, ok := strings.Cut(name, "/")
	if strings.Contains(model, "/") || strings.HasPrefix(name, ".") || strings.Contains(name, "..") {
		return "", fmt.Errorf("%s: %w", name, ErrNotFound)
	}
	repo := "models--" + org
	if ok {
		repo += "--" + model
	}
	dir := filepath.Join(hub(), repo)
	if ref, err := os.ReadFile(filepath.Join(dir, "refs", "main")); err == nil {
		revision := strings.TrimSpace(string(ref))
		if found := filepath.Join(dir, "snapshots", filepath.Base(revision), "tokenizer.json"); exists(found) {
			return found, nil
		}
	}
	// A revision that was fetched by its hash has no ref.
	found, err := filepath.Glob(filepath.Join(dir, "snapshots", "*", "tokenizer.json"))
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("%s: %w", name, ErrNotFound)
	}
	return found[0], nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// hub is Hugging Face's cache of models.
func hub() string {
	if dir := os.Getenv("HF_HUB_CACHE"); dir != "" {
		return dir
	}
	if dir := os.Getenv("HF_HOME"); dir != "" {
		return filepath.Join(dir, "hub")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".cache", "huggingface", "hub")
}
