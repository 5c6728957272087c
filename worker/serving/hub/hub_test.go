package hub

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
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

	"github.com/fleetune/fleetune/proto/task"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const commit = "0123456789abcdef0123456789abcdef01234567"

// server is a model hub with one model.
type server struct {
	*httptest.Server
	mu    sync.Mutex
	files map[string]string
	token string
	// cut is how many bytes of weights the first answer sends.
	cut     int
	corrupt bool
	// code is how the hub refuses, once where times is 1; quiet answers stop.
	code   string
	status int
	refuse int
	silent int
	asked  []string
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{files: map[string]string{
		"config.json": `{"hidden_size": 8}`, "model.safetensors": strings.Repeat("weights ", 4000),
		"pytorch_model.bin": "the same in another format", "extra/notes.txt": "notes", "picture.png": "png",
	}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(func() {
		s.Client().CloseIdleConnections()
		s.Close()
	})
	return s
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, strings.TrimSpace(r.URL.Path+" "+r.Header.Get("Range")))
	if s.token != "" && r.Header.Get("Authorization") != "Bearer "+s.token {
		http.Error(w, "gated", http.StatusUnauthorized)
		return
	}
	if s.refuse > 0 {
		s.refuse--
		if s.code != "" {
			w.Header().Set("X-Error-Code", s.code)
		}
		w.WriteHeader(s.status)
		return
	}
	if r.URL.Path == "/api/models/org/small/revision/main" || r.URL.Path == "/api/models/org/small/revision/"+commit {
		s.describe(w)
		return
	}
	name, ok := strings.CutPrefix(r.URL.Path, "/org/small/resolve/"+commit+"/")
	content, there := s.files[name]
	if !ok || !there {
		http.NotFound(w, r)
		return
	}
	if s.corrupt && name == "model.safetensors" {
		s.corrupt = false
		content = strings.Replace(content, "weights", "Weights", 1)
	}
	if s.silent > 0 && name == "model.safetensors" {
		s.silent--
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		_, _ = w.Write([]byte(content[:1000]))
		w.(http.Flusher).Flush()
		s.mu.Unlock()
		<-r.Context().Done() // nothing more until the client goes away
		s.mu.Lock()
		return
	}
	if s.cut > 0 && name == "model.safetensors" {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		_, _ = w.Write([]byte(content[:s.cut]))
		s.cut = 0
		return // the connection breaks off here
	}
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
}

func (s *server) describe(w http.ResponseWriter) {
	list := listing{Commit: commit}
	for name, content := range s.files {
		f := file{Name: name, Size: int64(len(content))}
		if weights(name) != "" {
			sum := sha256.Sum256([]byte(content))
			f.LFS = &struct {
				SHA256 string `json:"sha256"`
				Size   int64  `json:"size"`
			}{hex.EncodeToString(sum[:]), f.Size}
		}
		sum := sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(content), content))
		f.Blob = hex.EncodeToString(sum[:])
		list.Files = append(list.Files, f)
	}
	_ = json.NewEncoder(w).Encode(list)
}

func (s *server) times(path string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.asked {
		if strings.HasPrefix(a, path) {
			n++
		}
	}
	return n
}

func (s *server) hub(t *testing.T) *Hub {
	t.Helper()
	return New(Config{Cache: t.TempDir(), Endpoint: s.URL + "/", Client: s.Client()})
}

var small = wish("org/small")

func wish(id string) Wish { return Wish{Model: task.Model{ID: id}} }

var quiet Listener

func TestFetchOnceAndFindAgain(t *testing.T) {
	s := newServer(t)
	h := s.hub(t)
	_, err := h.Find(small)
	require.ErrorIs(t, err, ErrMissing)
	dir, err := h.Fetch(t.Context(), small, "", quiet)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(h.Cache, "hub", "models--org--small", "snapshots", commit), dir)
	for _, name := range []string{"config.json", "model.safetensors", "extra/notes.txt"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, s.files[name], string(data))
	}
	require.NoFileExists(t, filepath.Join(dir, "pytorch_model.bin"))
	require.NoFileExists(t, filepath.Join(dir, "picture.png"))
	require.Equal(t, []string{"org/small"}, h.Models())

	before := len(s.asked)
	again, err := h.Fetch(t.Context(), small, "", quiet)
	require.NoError(t, err)
	require.Equal(t, dir, again)
	require.Len(t, s.asked, before, "what is there was asked for again")
}

// A connection that breaks off costs what was not received yet, not the rest.
func TestFetchGoesOnWhereItBrokeOff(t *testing.T) {
	s := newServer(t)
	s.cut = 5000
	h := s.hub(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err := h.Fetch(ctx, small, "", Listener{Line: func(line string) {
		if strings.Contains(line, "trying again") {
			cancel(fmt.Errorf("that was enough"))
		}
	}})
	require.ErrorContains(t, err, "that was enough")
	dir, err := h.Fetch(t.Context(), small, "", quiet)
	require.NoError(t, err)
	data, err := os.ReadFile(filepath.Join(dir, "model.safetensors"))
	require.NoError(t, err)
	require.Equal(t, s.files["model.safetensors"], string(data))
	require.Equal(t, 1, s.times("/org/small/resolve/"+commit+"/model.safetensors bytes=5000-"))
}

func TestFetchVerifies(t *testing.T) {
	s := newServer(t)
	s.corrupt = true
	h := s.hub(t)
	var lines []string
	dir, err := h.Fetch(t.Context(), small, "", Listener{Line: func(line string) { lines = append(lines, line) }})
	require.NoError(t, err)
	require.Contains(t, strings.Join(lines, "\n"), "digest is wrong")
	data, err := os.ReadFile(filepath.Join(dir, "model.safetensors"))
	require.NoError(t, err)
	require.Equal(t, s.files["model.safetensors"], string(data))
}

func TestFetchTellsWhatIsWrong(t *testing.T) {
	s := newServer(t)
	s.token = "hf_secret"
	h := s.hub(t)
	_, err := h.Fetch(t.Context(), small, "", quiet)
	require.ErrorIs(t, err, ErrGated)
	_, err = h.Fetch(t.Context(), small, "hf_secret", quiet)
	require.NoError(t, err)
	_, err = h.Fetch(t.Context(), wish("org/none"), "hf_secret", quiet)
	require.ErrorIs(t, err, ErrMissing)
	_, err = h.Fetch(t.Context(), wish("none"), "", quiet)
	require.ErrorIs(t, err, ErrMissing)
	_, err = h.Fetch(t.Context(), wish("../none"), "", quiet)
	require.ErrorIs(t, err, ErrMissing)
}

// Names that lead out of the cache are refused before anything is written.
func TestHostileListing(t *testing.T) {
	for name, f := range map[string]file{
		"path":   {Name: "../../outside", Size: 1, Blob: "00"},
		"digest": {Name: "inside", Size: 1, Blob: "../../outside"},
	} {
		t.Run(name, func(t *testing.T) {
			hostile := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_ = json.NewEncoder(w).Encode(listing{Commit: commit, Files: []file{f}})
			}))
			defer hostile.Close()
			defer hostile.Client().CloseIdleConnections()
			h := New(Config{Cache: t.TempDir(), Endpoint: hostile.URL, Client: hostile.Client()})
			_, err := h.Fetch(t.Context(), small, "", quiet)
			require.ErrorContains(t, err, "cannot be kept")
		})
	}
}

func TestFindOnThisNode(t *testing.T) {
	root, cache := t.TempDir(), t.TempDir()
	h := New(Config{Root: root, Cache: cache})
	put := func(path string) string {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte("{}"), 0o644))
		return path
	}
	put(filepath.Join(root, "plain", "model.safetensors"))
	put(filepath.Join(root, "team", "nested", "model.gguf"))
	sharded := filepath.Join(root, "sharded")
	require.NoError(t, os.MkdirAll(sharded, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(sharded, "model.safetensors.index.json"),
		[]byte(`{"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}`), 0o644))
	put(filepath.Join(sharded, "one.safetensors"))
	h.Refresh()
	require.Equal(t, []string{"plain", "team/nested"}, h.Models(), "half a model counts as one")
	put(filepath.Join(sharded, "two.safetensors"))
	h.Refresh()
	require.Equal(t, []string{"plain", "sharded", "team/nested"}, h.Models())

	for id, want := range map[string]string{
		"plain": filepath.Join(root, "plain"), "team/nested": filepath.Join(root, "team", "nested"),
		filepath.Join(root, "plain"): filepath.Join(root, "plain"),
	} {
		got, err := h.Find(wish(id))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, id := range []string{"", "nobody", "../plain", "/nowhere", "org/none"} {
		_, err := h.Find(wish(id))
		require.ErrorIs(t, err, ErrMissing, id)
	}
}

// A fetch that broke off leaves nothing that looks like a model, whatever the
// revision is called.
func TestHalfAModelIsNone(t *testing.T) {
	s := newServer(t)
	s.files["tokenizer.json"] = "{}" // behind the weights in the hub's list
	h := s.hub(t)
	pinned := Wish{Model: task.Model{ID: "org/small", Revision: commit}}
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err := h.Fetch(ctx, pinned, "", Listener{Line: func(line string) {
		if strings.Contains(line, "file 4 of 4") {
			cancel(fmt.Errorf("that was enough"))
		}
	}})
	require.ErrorContains(t, err, "that was enough")
	_, err = h.Find(pinned)
	require.ErrorIs(t, err, ErrMissing)
	dir, err := h.Fetch(t.Context(), pinned, "", quiet)
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(dir, "tokenizer.json"))
}

// A hub that goes on sending nothing is asked again, from where it stopped.
func TestFetchDoesNotWaitForASilentHub(t *testing.T) {
	s := newServer(t)
	s.silent = 1
	h := New(Config{Cache: t.TempDir(), Endpoint: s.URL, Client: s.Client(), Stall: time.Second})
	var lines []string
	_, err := h.Fetch(t.Context(), small, "", Listener{Line: func(line string) { lines = append(lines, line) }})
	require.NoError(t, err)
	require.Contains(t, strings.Join(lines, "\n"), "the hub sends nothing for 1s; trying again")
	require.Equal(t, 1, s.times("/org/small/resolve/"+commit+"/model.safetensors bytes=1000-"))
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		status int
		code   string
		is     error
		says   string
	}{
		{401, "GatedRepo", ErrGated, "does not give the model out"},
		{403, "GatedRepo", ErrGated, "does not give the model out"},
		{401, "RepoNotFound", ErrMissing, "private and no token was sent"},
		{404, "RevisionNotFound", ErrMissing, "no revision main"},
		{401, "", ErrGated, "no token was sent (401 Unauthorized)"},
		{404, "", ErrMissing, "404 Not Found"},
		{400, "", nil, "the hub answers 400 Bad Request"},
	} {
		t.Run(fmt.Sprint(c.status, c.code), func(t *testing.T) {
			s := newServer(t)
			s.refuse, s.status, s.code = 1, c.status, c.code
			_, err := s.hub(t).Fetch(t.Context(), small, "", quiet)
			require.ErrorContains(t, err, c.says)
			if c.is != nil {
				require.ErrorIs(t, err, c.is)
			}
			require.Len(t, s.asked, 1, "what is final was asked again")
		})
	}
	s := newServer(t)
	s.refuse, s.status = 1, http.StatusServiceUnavailable
	_, err := s.hub(t).Fetch(t.Context(), small, "", quiet)
	require.NoError(t, err, "what may pass is asked again")
}

// Where the hub sends its clients to, the address opens the file: it is not
// told, and nor is the token sent there.
func TestSignedAddressesAreNotTold(t *testing.T) {
	s := newServer(t)
	sent := make(chan string, 8)
	far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent <- r.Header.Get("Authorization")
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			err = conn.Close()
		}
		if err != nil {
			t.Error(err)
		}
	}))
	defer far.Close()
	near := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/resolve/") {
			// By another name, as a hub's store has.
			http.Redirect(w, r, strings.Replace(far.URL, "127.0.0.1", "localhost", 1)+"/blob?signature=opens-it", http.StatusFound)
			return
		}
		s.serve(w, r)
	}))
	defer near.Close()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	h := New(Config{Cache: t.TempDir(), Endpoint: near.URL, Client: client})
	ctx, cancel := context.WithCancel(t.Context())
	var told string
	_, err := h.Fetch(ctx, small, "hf_secret", Listener{Line: func(line string) {
		if strings.Contains(line, "trying again") {
			told = line
			cancel()
		}
	}})
	require.ErrorIs(t, err, context.Canceled)
	require.Contains(t, told, "asking localhost:")
	require.NotContains(t, told, "signature")
	require.Empty(t, <-sent)
}

func TestProgressOfAFetch(t *testing.T) {
	s := newServer(t)
	var have, all int64
	_, err := s.hub(t).Fetch(t.Context(), small, "", Listener{Bytes: func(h, a int64, _ float64) { have, all = h, a }})
	require.NoError(t, err)
	require.Equal(t, int64(len(s.files["config.json"])+len(s.files["model.safetensors"])+len(s.files["extra/notes.txt"])), all)
	require.Equal(t, all, have, "the last word is the whole")

	require.Equal(t, "4.3 GB of 8.6 GB (50 %), 430 MB/s, 10s left", Progress(4_300_000_000, 8_600_000_000, 430e6))
	require.Equal(t, "0 B of 8.6 GB (0 %)", Progress(0, 8_600_000_000, 0))
	require.Equal(t, "0 B of 0 B", Progress(0, 0, 0))
}
