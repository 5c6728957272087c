package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/shared/filelock"
	"golang.org/x/sys/unix"
)

// ErrSpace says that the disk cannot hold the model.
var ErrSpace = errors.New("not enough room on the disk")

// listingLimit bounds the hub's description of a model, in bytes.
const listingLimit = 16 << 20

// Fetch brings a model's files into the cache and returns their folder. Parts
// that an earlier fetch left are used; tell gets a line now and then. The token
// opens gated models and may be empty. One worker of a node fetches a model at
// a time; others wait and find it there.
func (h *Hub) Fetch(ctx context.Context, m task.Model, token string, tell func(string)) (string, error) {
	if !Remote(m.ID) || !filepath.IsLocal(m.ID) {
		return "", fmt.Errorf("%w: %q is not on a hub", ErrMissing, m.ID)
	}
	repo := h.repository(m.ID)
	for _, dir := range []string{"blobs", "refs", "snapshots"} {
		if err := os.MkdirAll(filepath.Join(repo, dir), 0o755); err != nil {
			return "", fmt.Errorf("making the model's folder: %w", err)
		}
	}
	lock, err := wait(ctx, filepath.Join(repo, "fleetune.lock"), m.ID, tell)
	if err != nil {
		return "", err
	}
	path, err := h.fetch(ctx, m, token, tell)
	if rerr := lock.Release(); err == nil {
		err = rerr
	}
	return path, err
}

// lockEvery is how often a lock that another worker holds is tried again.
const lockEvery = 500 * time.Millisecond

func wait(ctx context.Context, path, note string, tell func(string)) (*filelock.Lock, error) {
	told := false
	for {
		lock, err := filelock.Take(path, note)
		if !errors.Is(err, filelock.ErrHeld) {
			return lock, err
		}
		if !told {
			tell("another worker of this node fetches the model; waiting for it")
			told = true
		}
		timer := time.NewTimer(lockEvery)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, context.Cause(ctx)
		case <-timer.C:
		}
	}
}

func (h *Hub) fetch(ctx context.Context, m task.Model, token string, tell func(string)) (string, error) {
	if path, err := h.Find(m); err == nil {
		return path, nil
	}
	list, err := h.list(ctx, m, token)
	if err != nil {
		return "", err
	}
	files := wanted(list.Files)
	if err := h.room(m, files); err != nil {
		return "", err
	}
	repo := h.repository(m.ID)
	snapshot := filepath.Join(repo, "snapshots", list.Commit)
	for i, f := range files {
		tell(fmt.Sprintf("file %d of %d: %s (%s)", i+1, len(files), f.Name, node.Bytes(f.Size)))
		if err := h.file(ctx, m, list.Commit, f, token, tell); err != nil {
			return "", fmt.Errorf("fetching %s of %s: %w", f.Name, m.ID, err)
		}
		if err := link(repo, snapshot, f); err != nil {
			return "", err
		}
	}
	// The note comes last: what it names is complete.
	if err := write(filepath.Join(repo, "refs", revision(m)), list.Commit); err != nil {
		return "", err
	}
	h.Refresh()
	return snapshot, nil
}

// A listing is the hub's description of a model at a revision.
type listing struct {
	Commit string `json:"sha"`
	Files  []file `json:"siblings"`
}

type file struct {
	Name string `json:"rfilename"`
	Size int64  `json:"size"`
	Blob string `json:"blobId"`
	LFS  *struct {
		SHA256 string `json:"sha256"`
		Size   int64  `json:"size"`
	} `json:"lfs"`
}

// digest names a file's content: the SHA-256 of a large file, git's own digest
// of a small one.
func (f *file) digest() string {
	if f.LFS != nil {
		return f.LFS.SHA256
	}
	return f.Blob
}

func (h *Hub) list(ctx context.Context, m task.Model, token string) (*listing, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	target := fmt.Sprintf("%s/api/models/%s/revision/%s?blobs=true", h.Endpoint, m.ID, url.PathEscape(revision(m)))
	response, err := h.get(ctx, target, token, 0)
	if err != nil {
		return nil, fmt.Errorf("asking the hub for %s: %w", m.ID, err)
	}
	defer response.Body.Close()
	var list listing
	if err := json.NewDecoder(io.LimitReader(response.Body, listingLimit)).Decode(&list); err != nil {
		return nil, fmt.Errorf("reading the hub's answer about %s: %w", m.ID, err)
	}
	if list.Commit == "" || strings.ContainsAny(list.Commit, "/.") {
		return nil, fmt.Errorf("the hub's answer about %s names no commit", m.ID)
	}
	for _, f := range list.Files {
		if !filepath.IsLocal(f.Name) || f.digest() == "" || strings.ContainsAny(f.digest(), "/.") {
			return nil, fmt.Errorf("the hub's answer about %s has a file that cannot be kept: %q", m.ID, f.Name)
		}
	}
	return &list, nil
}

// get asks for a URL, from an offset on. Statuses that are no success are
// errors.
func (h *Hub) get(ctx context.Context, target, token string, from int64) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	if from > 0 {
		request.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	response, err := h.Client.Do(request)
	if err != nil {
		return nil, err
	}
	switch response.StatusCode {
	case http.StatusOK, http.StatusPartialContent:
		return response, nil
	}
	response.Body.Close()
	switch response.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, fmt.Errorf("%w (%s)", ErrGated, response.Status)
	case http.StatusNotFound:
		return nil, fmt.Errorf("%w (%s)", ErrMissing, response.Status)
	default:
		return nil, fmt.Errorf("the hub answers %s", response.Status)
	}
}

// wanted leaves out what no engine of ours reads: weights in formats beside
// safetensors, and pictures.
func wanted(files []file) []file {
	safe := slices.ContainsFunc(files, func(f file) bool { return weights(f.Name) == ".safetensors" && !strings.Contains(f.Name, "/") })
	var kept []file
	for _, f := range files {
		switch filepath.Ext(f.Name) {
		case ".msgpack", ".h5", ".onnx", ".ot", ".png", ".jpg", ".jpeg", ".gif", ".mp4", ".mlmodel", ".tflite":
			continue
		case ".bin", ".pt", ".pth", ".gguf":
			if safe {
				continue
			}
		case ".safetensors":
			if safe && strings.Contains(f.Name, "/") {
				continue
			}
		}
		kept = append(kept, f)
	}
	return kept
}

// room checks that the disk holds what is still to come.
func (h *Hub) room(m task.Model, files []file) error {
	var need int64
	for _, f := range files {
		if _, err := os.Stat(h.blob(m, &f)); err != nil {
			need += f.Size
		}
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(h.repository(m.ID), &disk); err != nil {
		return fmt.Errorf("asking for the room on the disk: %w", err)
	}
	if free := int64(disk.Bavail) * disk.Bsize; need > free {
		return fmt.Errorf("%w: %s needs %s more, %s are free in %s", ErrSpace, m.ID, node.Bytes(need), node.Bytes(free), h.Cache)
	}
	return nil
}

func (h *Hub) blob(m task.Model, f *file) string {
	return filepath.Join(h.repository(m.ID), "blobs", f.digest())
}

// link puts a file in its place in the snapshot.
func link(repo, snapshot string, f file) error {
	place := filepath.Join(snapshot, f.Name)
	if err := os.MkdirAll(filepath.Dir(place), 0o755); err != nil {
		return fmt.Errorf("making the snapshot's folder: %w", err)
	}
	target, err := filepath.Rel(filepath.Dir(place), filepath.Join(repo, "blobs", f.digest()))
	if err == nil {
		err = os.Symlink(target, place)
	}
	if err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("placing %s in the snapshot: %w", f.Name, err)
	}
	return nil
}

// write replaces a small file as a whole.
func write(path, text string) error {
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = os.WriteFile(path+".part", []byte(text), 0o644)
	}
	if err == nil {
		err = os.Rename(path+".part", path)
	}
	if err != nil {
		return fmt.Errorf("noting the model's commit: %w", err)
	}
	return nil
}
