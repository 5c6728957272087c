package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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

// Fetch brings a model's files into the cache and returns their folder, or the
// file in it that is wanted. Parts that an earlier fetch left are used. The
// token opens gated models and may be empty. One worker of a node fetches a
// model at a time; others wait and find it there.
func (h *Hub) Fetch(ctx context.Context, w Wish, token string, l Listener) (string, error) {
	id, _ := Split(w.ID)
	if !Remote(id) || !filepath.IsLocal(id) {
		return "", fmt.Errorf("%w: %q is not on a hub", ErrMissing, w.ID)
	}
	repo := h.repository(id)
	for _, dir := range []string{"blobs", "refs", "snapshots"} {
		if err := os.MkdirAll(filepath.Join(repo, dir), 0o755); err != nil {
			return "", fmt.Errorf("making the model's folder: %w", err)
		}
	}
	lock, err := wait(ctx, filepath.Join(repo, "fleetune.lock"), id, l)
	if err != nil {
		return "", err
	}
	path, err := h.fetch(ctx, w, token, l)
	if rerr := lock.Release(); err == nil {
		err = rerr
	}
	return path, err
}

// lockEvery is how often a lock that another worker holds is tried again.
const lockEvery = 500 * time.Millisecond

func wait(ctx context.Context, path, note string, l Listener) (*filelock.Lock, error) {
	told := false
	for {
		lock, err := filelock.Take(path, note)
		if !errors.Is(err, filelock.ErrHeld) {
			return lock, err
		}
		if !told {
			l.line("somebody else on this node fetches the model; waiting for that")
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

func (h *Hub) fetch(ctx context.Context, w Wish, token string, l Listener) (string, error) {
	if path, err := h.Find(w); err == nil {
		return path, nil
	}
	f := &fetch{hub: h, model: w.Model, token: token, Listener: l}
	f.model.ID, _ = Split(w.ID)
	list, err := f.list(ctx)
	if err != nil {
		return "", err
	}
	files, err := wanted(list.Files, w)
	if err != nil {
		return "", fmt.Errorf("choosing files of %s: %w", w.ID, err)
	}
	f.commit = list.Commit
	if err := f.room(files); err != nil {
		return "", err
	}
	for i, part := range files {
		f.line("file %d of %d: %s (%s)", i+1, len(files), part.Name, node.Bytes(part.Size))
		if err := f.file(ctx, part); err != nil {
			return "", fmt.Errorf("fetching %s of %s: %w", part.Name, f.model.ID, err)
		}
	}
	if err := f.place(files); err != nil {
		return "", err
	}
	h.Refresh()
	return h.Find(w)
}

// A fetch is one model on its way.
type fetch struct {
	hub    *Hub
	model  task.Model // its id without a quantisation
	commit string
	token  string
	Listener
	got, all int64 // bytes, of all files
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

func (f *fetch) list(ctx context.Context) (*listing, error) {
	var list listing
	err := f.retry(ctx, "asking the hub for "+f.model.ID, func(ctx context.Context) error {
		return f.describe(ctx, &list)
	})
	if err != nil {
		return nil, err
	}
	if list.Commit == "" || strings.ContainsAny(list.Commit, "/.") {
		return nil, fmt.Errorf("the hub's answer about %s names no commit", f.model.ID)
	}
	for _, part := range list.Files {
		if !filepath.IsLocal(part.Name) || part.digest() == "" || strings.ContainsAny(part.digest(), "/.") {
			return nil, fmt.Errorf("the hub's answer about %s has a file that cannot be kept: %q", f.model.ID, part.Name)
		}
	}
	return &list, nil
}

func (f *fetch) describe(ctx context.Context, list *listing) error {
	ctx, cancel := context.WithTimeoutCause(ctx, f.hub.Stall, errStalled)
	defer cancel()
	target := fmt.Sprintf("%s/api/models/%s/revision/%s?blobs=true", f.hub.Endpoint, f.model.ID, url.PathEscape(revision(f.model)))
	response, err := f.get(ctx, target, 0)
	if err != nil {
		return fmt.Errorf("asking the hub for %s: %w", f.model.ID, err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(io.LimitReader(response.Body, listingLimit)).Decode(list); err != nil {
		return fmt.Errorf("reading the hub's answer about %s: %w", f.model.ID, err)
	}
	return nil
}

// wanted leaves out what the engine does not read: weights in formats beside
// the one that is wanted, other quantisations, and pictures. Weights come last,
// so that a folder with weights in it is whole.
func wanted(files []file, w Wish) ([]file, error) {
	safe := slices.ContainsFunc(files, func(f file) bool { return weights(f.Name) == ".safetensors" && !strings.Contains(f.Name, "/") })
	var chosen variant
	if w.gguf() {
		var names []string
		for _, f := range files {
			names = append(names, f.Name)
		}
		_, quantisation := Split(w.ID)
		var err error
		if chosen, err = choose(names, quantisation); err != nil {
			return nil, err
		}
		if len(chosen.files) != chosen.parts {
			return nil, fmt.Errorf("%w: the hub has %d of the %d parts of %s", ErrMissing, len(chosen.files), chosen.parts, chosen.name)
		}
	}
	var kept, heavy []file
	for _, f := range files {
		ext := filepath.Ext(f.Name)
		switch {
		case slices.Contains(unread, ext):
		case weights(f.Name) == "":
			kept = append(kept, f)
		case w.gguf():
			if slices.Contains(chosen.files, f.Name) {
				heavy = append(heavy, f)
			}
		case !safe, ext == ".safetensors" && !strings.Contains(f.Name, "/"):
			heavy = append(heavy, f)
		}
	}
	return append(kept, heavy...), nil
}

// unread are the ends of the names of files that no engine of ours reads.
var unread = []string{".msgpack", ".h5", ".onnx", ".ot", ".png", ".jpg", ".jpeg", ".gif", ".mp4", ".mlmodel", ".tflite"}

// room checks that the disk holds what is still to come.
func (f *fetch) room(files []file) error {
	var need int64
	for _, part := range files {
		f.all += part.Size
		blob := f.blob(part)
		if _, err := os.Stat(blob); err == nil {
			continue
		}
		need += part.Size
		if info, err := os.Stat(blob + incomplete); err == nil {
			need -= min(info.Size(), part.Size)
		}
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(f.hub.repository(f.model.ID), &disk); err != nil {
		return fmt.Errorf("asking for the room on the disk: %w", err)
	}
	if free := int64(disk.Bavail) * disk.Bsize; need > free {
		return fmt.Errorf("%w: %s needs %s more, %s are free in %s", ErrSpace, f.model.ID, node.Bytes(need), node.Bytes(free), f.hub.Cache)
	}
	return nil
}

func (f *fetch) blob(part file) string {
	return filepath.Join(f.hub.repository(f.model.ID), "blobs", part.digest())
}

// place puts the files, which are all here by now, into their snapshot, and
// notes the commit at last: a fetch that broke off leaves nothing that looks
// like a model.
func (f *fetch) place(files []file) error {
	repo := f.hub.repository(f.model.ID)
	for _, part := range files {
		if err := link(repo, filepath.Join(repo, "snapshots", f.commit), part); err != nil {
			return err
		}
	}
	if rev := revision(f.model); rev != f.commit {
		return write(filepath.Join(repo, "refs", rev), f.commit)
	}
	return nil
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
