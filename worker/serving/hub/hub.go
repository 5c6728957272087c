// Package hub keeps this node's models: it finds the folder of a model, fetches
// what is missing from a model hub, and lists what is there. Fetched models lie
// as the hub's own library lays them out, so that engines and people share one
// cache, and every file is verified by its digest.
package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fleetune/fleetune/proto/task"
)

// What is wrong with a model.
var (
	// ErrMissing says that there is no such model, here or on the hub.
	ErrMissing = errors.New("model not found")
	// ErrGated says that the hub gives the model to known people only.
	ErrGated = errors.New("the hub does not give the model out to us")
)

// DefaultEndpoint is the hub that is asked unless told otherwise.
const DefaultEndpoint = "https://huggingface.co"

// Config of a Hub.
type Config struct {
	// Root holds folders with models, by name or by org/name.
	Root string
	// Cache is the cache folder (HF_HOME).
	Cache string
	// Endpoint is the hub's URL; empty means DefaultEndpoint.
	Endpoint string
	Client   *http.Client
	// Stall is how long the hub may send nothing before it is asked again; 0
	// means a minute.
	Stall time.Duration
}

// A Hub finds and fetches models. Its methods may be called from many
// goroutines, and many workers may share its folders.
type Hub struct {
	Config
	mu    sync.Mutex
	known []string
}

// New returns a Hub. Refresh tells it what is there.
func New(c Config) *Hub {
	if c.Endpoint == "" {
		c.Endpoint = DefaultEndpoint
	}
	c.Endpoint = strings.TrimSuffix(c.Endpoint, "/")
	if c.Client == nil {
		c.Client = http.DefaultClient
	}
	if c.Stall <= 0 {
		c.Stall = time.Minute
	}
	return &Hub{Config: c}
}

// Remote says whether a model's id is one of a hub: org/name. All other ids
// name a folder of this node.
func Remote(id string) bool {
	org, name, ok := strings.Cut(id, "/")
	return ok && org != "" && name != "" && !strings.ContainsAny(name, "/") && !strings.HasPrefix(org, ".") && !strings.HasPrefix(org, "~")
}

// A Wish is a model as an engine wants it.
type Wish struct {
	task.Model
	// GGUF wants one file of that format, as llama.cpp does, not a folder. An id
	// with a quantisation behind it wants that in any case.
	GGUF bool
}

func (w Wish) gguf() bool {
	_, quantisation := Split(w.ID)
	return w.GGUF || quantisation != ""
}

// Find returns the folder or file of a model that is complete on this node, or
// ErrMissing.
func (h *Hub) Find(w Wish) (string, error) {
	id, quantisation := Split(w.ID)
	switch {
	case w.ID == "":
		return "", fmt.Errorf("%w: it has no name", ErrMissing)
	case filepath.IsAbs(w.ID):
		return placed(w.ID, w.GGUF, "")
	case !filepath.IsLocal(w.ID):
		return "", fmt.Errorf("%w: %q is neither a path nor a name", ErrMissing, w.ID)
	}
	if h.Root != "" {
		path, err := placed(filepath.Join(h.Root, id), w.gguf(), quantisation)
		if err == nil || !Remote(id) {
			return path, err
		}
	}
	if !Remote(id) {
		return "", fmt.Errorf("%w: there is no %s, and no folder of models", ErrMissing, id)
	}
	dir, err := h.snapshot(w.Model)
	if err == nil && w.gguf() {
		return fileIn(dir, quantisation)
	}
	if err == nil && complete(dir) {
		return dir, nil
	}
	return "", fmt.Errorf("%w: %s is not in the cache", ErrMissing, w.ID)
}

// placed returns what people put at a path, or the file in it that is wanted.
func placed(path string, gguf bool, quantisation string) (string, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "", fmt.Errorf("%w: there is no %s", ErrMissing, path)
	case info.IsDir() && gguf:
		return fileIn(path, quantisation)
	}
	return path, nil
}

// Snapshot is the folder of what the cache has of a hub's model, complete or
// not; empty without one.
func (h *Hub) Snapshot(id string) string {
	if id, _ = Split(id); !Remote(id) || !filepath.IsLocal(id) {
		return ""
	}
	dir, err := h.snapshot(task.Model{ID: id})
	if err != nil {
		return ""
	}
	return dir
}

func exists(path string) (string, error) {
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%w: there is no %s", ErrMissing, path)
	}
	return path, nil
}

// repository is the cache's folder of a model, whatever its quantisation.
func (h *Hub) repository(id string) string {
	id, _ = Split(id)
	return filepath.Join(h.Cache, "hub", prefix+strings.ReplaceAll(id, "/", "--"))
}

// prefix stands before the folders of models in the cache.
const prefix = "models--"

func revision(m task.Model) string {
	if m.Revision == "" {
		return "main"
	}
	return m.Revision
}

// snapshot returns the folder of the model's files at its revision: a branch
// whose commit is noted, or a commit.
func (h *Hub) snapshot(m task.Model) (string, error) {
	repo, commit := h.repository(m.ID), revision(m)
	if !filepath.IsLocal(commit) {
		return "", fmt.Errorf("%w: revision %q", ErrMissing, commit)
	}
	if note, err := os.ReadFile(filepath.Join(repo, "refs", commit)); err == nil {
		commit = strings.TrimSpace(string(note))
	}
	return exists(filepath.Join(repo, "snapshots", filepath.Base(commit)))
}

// complete says whether a folder holds a model's weights: every file that its
// index names, or any.
func complete(dir string) bool {
	indexes, err := filepath.Glob(filepath.Join(dir, "*.index.json"))
	if err != nil {
		return false
	}
	for _, path := range indexes {
		data, err := os.ReadFile(path)
		var index struct {
			Files map[string]string `json:"weight_map"`
		}
		if err != nil || json.Unmarshal(data, &index) != nil {
			return false
		}
		for _, name := range index.Files {
			if _, err := os.Stat(filepath.Join(dir, filepath.Base(name))); err != nil {
				return false
			}
		}
	}
	if len(indexes) > 0 {
		return true
	}
	entries, err := os.ReadDir(dir)
	return err == nil && slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		_, err := os.Stat(filepath.Join(dir, e.Name())) // a link may lead nowhere
		return err == nil && weights(e.Name()) != ""
	})
}

// weights is the format of a file of weights, by its name; empty for others.
func weights(name string) string {
	switch ext := filepath.Ext(name); ext {
	case ".safetensors", ".gguf", ".bin", ".pt", ".pth":
		return ext
	}
	return ""
}

// Models lists what Refresh has found.
func (h *Hub) Models() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.known
}

// Refresh looks which models are complete on this node: hub ids, and names of
// folders below the root. A folder that cannot be read has none.
func (h *Hub) Refresh() {
	var found []string
	if entries, err := os.ReadDir(filepath.Join(h.Cache, "hub")); err == nil {
		for _, e := range entries {
			name, ok := strings.CutPrefix(e.Name(), prefix)
			if !ok {
				continue
			}
			id := strings.Replace(name, "--", "/", 1)
			if _, err := h.Find(Wish{Model: task.Model{ID: id}}); err == nil {
				found = append(found, id)
			}
		}
	}
	if h.Root != "" {
		found = append(found, folders(h.Root, "", 2)...)
	}
	slices.Sort(found)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.known = slices.Compact(found)
}

// folders lists the complete models below a folder.
func folders(root, below string, depth int) []string {
	var found []string
	entries, err := os.ReadDir(filepath.Join(root, below))
	if err != nil {
		return nil
	}
	for _, e := range entries {
		name := filepath.Join(below, e.Name())
		if info, err := os.Stat(filepath.Join(root, name)); err != nil || !info.IsDir() {
			continue
		}
		if complete(filepath.Join(root, name)) {
			found = append(found, name)
		} else if depth > 1 {
			found = append(found, folders(root, name, depth-1)...)
		}
	}
	return found
}
