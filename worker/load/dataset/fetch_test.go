package dataset

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// site serves one dataset and counts what it is asked.
type site struct {
	*httptest.Server
	requests, unchanged atomic.Int32
	answer              func(n int32, w http.ResponseWriter, r *http.Request) bool // true when it answered
	text, etag          atomic.Value
}

func serve(t *testing.T, text string) *site {
	s := &site{}
	s.text.Store(text)
	s.etag.Store(`"1"`)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := s.requests.Add(1)
		if s.answer != nil && s.answer(n, w, r) {
			return
		}
		w.Header().Set("ETag", s.etag.Load().(string))
		if r.Header.Get("If-None-Match") == s.etag.Load() {
			s.unchanged.Add(1)
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = w.Write([]byte(s.text.Load().(string))) // a client that is gone ends its test
	}))
	t.Cleanup(s.Close)
	return s
}

func content(t *testing.T, c *Copy) string {
	raw, err := os.ReadFile(c.Path)
	require.NoError(t, err)
	return string(raw)
}

func TestADownloadIsKeptByItsContent(t *testing.T) {
	s := serve(t, "prompt\na\n")
	f := Fetch{Cache: t.TempDir()}
	source := s.URL + "/sets/a.csv?sig=hush"
	one, err := f.Get(t.Context(), source)
	require.NoError(t, err)
	require.Equal(t, "a.csv", one.Name)
	require.False(t, one.Cached)
	two, err := f.Get(t.Context(), source)
	require.NoError(t, err)
	require.True(t, two.Cached)
	require.Equal(t, one.Path, two.Path)
	require.EqualValues(t, 1, s.unchanged.Load())

	other, err := f.Get(t.Context(), s.URL+"/elsewhere")
	require.NoError(t, err)
	require.Equal(t, one.Path, other.Path, "the same content is kept once")

	s.text.Store("prompt\nb\n")
	s.etag.Store(`"2"`)
	three, err := f.Get(t.Context(), source)
	require.NoError(t, err)
	require.False(t, three.Cached)
	require.Equal(t, "prompt\nb\n", content(t, three))
	require.Equal(t, "prompt\na\n", content(t, one), "what a run reads does not change under it")

	require.NoError(t, os.WriteFile(three.Path, []byte("damaged"), 0o600))
	four, err := f.Get(t.Context(), source)
	require.NoError(t, err)
	require.Equal(t, "prompt\nb\n", content(t, four), "damaged content is fetched again")

	s.Close()
	five, err := Fetch{Cache: f.Cache, Tries: 1}.Get(t.Context(), source)
	require.NoError(t, err)
	require.Contains(t, five.Note, "did not answer")
	_, err = Fetch{Cache: t.TempDir(), Tries: 1}.Get(t.Context(), source)
	require.Error(t, err)
	require.NotContains(t, err.Error(), "hush", "a signature in a URL is a secret")
	require.NoError(t, filepath.WalkDir(f.Cache, func(p string, _ os.DirEntry, _ error) error {
		require.NotContains(t, p, "new", "nothing half written is left")
		return nil
	}))
}

func TestDownloadsAreTriedAgain(t *testing.T) {
	s := serve(t, "prompt\na\n")
	s.answer = func(n int32, w http.ResponseWriter, _ *http.Request) bool {
		switch n {
		case 1:
			w.WriteHeader(http.StatusBadGateway)
		case 2: // a reply that breaks off
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte("prompt\n"))
		case 3:
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusTooManyRequests)
		}
		return n <= 3
	}
	var waits []time.Duration
	f := Fetch{Cache: t.TempDir(), firstWait: time.Millisecond, OnRetry: func(_ error, wait time.Duration) { waits = append(waits, wait) }}
	c, err := f.Get(t.Context(), s.URL)
	require.NoError(t, err)
	require.Equal(t, "prompt\na\n", content(t, c))
	require.Len(t, waits, 3)
	require.Zero(t, waits[2], "the server's own wait holds")
}

func TestWaitsThatServersAskFor(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]int{"7": 7, "0": 0, now.Add(90 * time.Second).Format(http.TimeFormat): 90, now.Add(-time.Hour).Format(http.TimeFormat): 0} {
		got, ok := retryAfter(value, now)
		require.True(t, ok, value)
		require.Equal(t, want, got, value)
	}
	for _, bad := range []string{"", "-1", "soon"} {
		_, ok := retryAfter(bad, now)
		require.False(t, ok, bad)
	}
}

// What another try would not change is not tried again.
func TestRefusalsAreFinal(t *testing.T) {
	for code, says := range map[int]string{http.StatusNotFound: "404", http.StatusUnauthorized: "401", http.StatusForbidden: "403"} {
		s := serve(t, "")
		s.answer = func(_ int32, w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(code); return true }
		_, err := Fetch{Cache: t.TempDir(), firstWait: time.Millisecond}.Get(t.Context(), s.URL)
		require.ErrorContains(t, err, says)
		require.EqualValues(t, 1, s.requests.Load())
	}
	s := serve(t, strings.Repeat("x", 100))
	for _, stated := range []bool{true, false} {
		s.answer = func(_ int32, w http.ResponseWriter, _ *http.Request) bool {
			if !stated {
				w.(http.Flusher).Flush()
			}
			return false
		}
		_, err := Fetch{Cache: t.TempDir(), MaxBytes: 99, firstWait: time.Millisecond}.Get(t.Context(), s.URL)
		require.ErrorIs(t, err, ErrTooLarge)
	}
	_, err := Fetch{Cache: t.TempDir()}.Get(t.Context(), "http://")
	require.Error(t, err)
}

// A token goes to the host that was named, and not where that one points.
func TestATokenStaysWithItsHost(t *testing.T) {
	var seen atomic.Value
	away := serve(t, "prompt\na\n")
	away.answer = func(_ int32, _ http.ResponseWriter, r *http.Request) bool {
		seen.Store("away:" + r.Header.Get("Authorization"))
		return false
	}
	u, err := url.Parse(away.URL)
	require.NoError(t, err)
	home := serve(t, "")
	home.answer = func(_ int32, w http.ResponseWriter, r *http.Request) bool {
		require.Equal(t, "Bearer hush", r.Header.Get("Authorization"))
		http.Redirect(w, r, "http://localhost:"+u.Port(), http.StatusFound)
		return true
	}
	_, err = Fetch{Cache: t.TempDir(), Token: "hush"}.Get(t.Context(), home.URL)
	require.NoError(t, err)
	require.Equal(t, "away:", seen.Load())
}

// Many at once download once, and each has the whole.
func TestConcurrentUseOfTheCache(t *testing.T) {
	s := serve(t, strings.Repeat("prompt\n", 1000))
	dir := t.TempDir()
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() {
			c, err := Fetch{Cache: dir}.Get(t.Context(), s.URL)
			if err == nil && len(content(t, c)) != 7000 {
				err = errors.New("half a copy")
			}
			errs[i] = err
		})
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	require.EqualValues(t, 7, s.unchanged.Load())
}

// Whatever the cache holds, what comes out of it is what its name says.
func FuzzCacheEntry(f *testing.F) {
	f.Add([]byte(`{"sha256":"../../x"}`))
	f.Add([]byte(`{"sha256":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","etag":"x"}`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		dir := t.TempDir()
		c := cached{base: filepath.Join(dir, "u"), blobs: dir}
		require.NoError(t, os.WriteFile(c.base+".json", raw, 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"), []byte("abc"), 0o600))
		if e := c.read(); e != nil && filepath.Base(c.blob(e)) != "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" {
			t.Errorf("%+v was taken for good", e)
		}
	})
}
