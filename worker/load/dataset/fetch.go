package dataset

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/gofrs/flock"
)

// Fetch says how a dataset is brought here.
type Fetch struct {
	// Cache is the directory of what was downloaded; empty is the user's own.
	Cache string
	// Token is sent as a bearer token to the host of the URL, and to no other.
	Token string
	// MaxBytes bounds a download; 0 is 8 GiB.
	MaxBytes int64
	// Tries bounds how often a download is begun; 0 is 4.
	Tries int
	// OnRetry is told of every wait between two tries; may be nil.
	OnRetry func(err error, wait time.Duration)
	// firstWait is the wait after the first failure; 0 is a second.
	firstWait time.Duration
}

const (
	defaultMaxBytes = 8 << 30
	defaultTries    = 4
	longestWait     = time.Minute
	// longestFetch bounds all tries together.
	longestFetch = 30 * time.Minute
	// stalled bounds the wait for a server's first byte.
	stalled = 2 * time.Minute
)

// ErrTooLarge is returned when a dataset exceeds a limit of size.
var ErrTooLarge = errors.New("too large")

// A Copy is a dataset's file on this machine.
type Copy struct {
	Path string
	// Name is the file's name as its source has it.
	Name string
	// SHA256 of the content in hex; empty for a local file.
	SHA256 string
	// Cached is set when the content was here already.
	Cached bool
	// Note tells what a reader of the figures should know; empty for nothing.
	Note string
}

// IsURL reports whether a source is fetched over HTTP.
func IsURL(source string) bool {
	s := strings.ToLower(source)
	return strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://")
}

// Get finds the file of a source: a path, a file:// URL, or an http(s) one,
// which is downloaded into the cache unless the cache has it unchanged. Any
// number of processes may do so at once.
func (f Fetch) Get(ctx context.Context, source string) (*Copy, error) {
	if !IsURL(source) {
		return local(source)
	}
	u, err := url.Parse(source)
	if err != nil || u.Host == "" {
		return nil, errors.New("the dataset's URL does not parse")
	}
	c, err := f.cache(u)
	if err != nil {
		return nil, fmt.Errorf("opening the dataset cache: %w", err)
	}
	lock := flock.New(c.base+".lock", flock.SetPermissions(0o600))
	if ok, err := lock.TryLockContext(ctx, 100*time.Millisecond); err != nil || !ok {
		return nil, fmt.Errorf("locking the dataset cache: %w", err)
	}
	defer func() { _ = lock.Close() }() // the kernel drops the lock in any case
	return f.get(ctx, u, c)
}

func local(source string) (*Copy, error) {
	name := source
	if strings.HasPrefix(strings.ToLower(source), "file://") {
		u, err := url.Parse(source)
		if err != nil || u.Host != "" && u.Host != "localhost" {
			return nil, fmt.Errorf("%s: a file URL names a path on this machine", source)
		}
		name = u.Path
	}
	if _, err := os.Stat(name); err != nil {
		return nil, err
	}
	return &Copy{Path: name, Name: filepath.Base(name)}, nil
}

// show names a URL without what may be secret in it.
func show(u *url.URL) string {
	s := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	return s.String()
}

// cached is one URL's place in the cache: base.json tells what it held when it
// was last asked for. The content lies beside it under its own hash, once for
// all URLs that have it.
type cached struct {
	base, blobs string
}

// entry is what is known of a URL's content.
type entry struct {
	SHA256       string `json:"sha256"`
	Size         int64  `json:"size"`
	Name         string `json:"name"`
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"last_modified,omitempty"`
}

func (f Fetch) cache(u *url.URL) (cached, error) {
	dir := f.Cache
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return cached{}, err
		}
		dir = filepath.Join(user, "fleetune", "datasets")
	}
	key := sha256.Sum256([]byte(u.String()))
	c := cached{base: filepath.Join(dir, "urls", hex.EncodeToString(key[:16])), blobs: filepath.Join(dir, "content")}
	return c, errors.Join(os.MkdirAll(filepath.Dir(c.base), 0o700), os.MkdirAll(c.blobs, 0o700))
}

func (c cached) blob(e *entry) string { return filepath.Join(c.blobs, e.SHA256) }

// read returns what the cache has, nil for nothing that can be used: content
// that is gone or damaged is fetched again.
func (c cached) read() *entry {
	raw, err := os.ReadFile(c.base + ".json")
	if err != nil {
		return nil
	}
	var e entry
	if json.Unmarshal(raw, &e) != nil || len(e.SHA256) != sha256.Size*2 {
		return nil
	}
	in, err := os.Open(c.blob(&e))
	if err != nil {
		return nil
	}
	defer func() { _ = in.Close() }() // nothing was written
	sum := sha256.New()
	if _, err := io.Copy(sum, in); err != nil || hex.EncodeToString(sum.Sum(nil)) != e.SHA256 {
		return nil
	}
	return &e
}

func (c cached) write(e *entry) error {
	raw, err := json.Marshal(e)
	if err != nil {
		return err
	}
	tmp := c.base + ".new" // the lock lets nobody else write it
	if err := os.WriteFile(tmp, raw, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, c.base+".json")
}

func (f Fetch) get(ctx context.Context, u *url.URL, c cached) (*Copy, error) {
	have := c.read()
	first := f.firstWait
	if first == 0 {
		first = time.Second
	}
	grow := backoff.NewExponentialBackOff()
	grow.InitialInterval, grow.MaxInterval = first, longestWait
	tries := f.Tries
	if tries <= 0 {
		tries = defaultTries
	}
	opts := []backoff.RetryOption{backoff.WithBackOff(grow), backoff.WithMaxTries(uint(tries)), backoff.WithMaxElapsedTime(longestFetch)}
	if f.OnRetry != nil {
		opts = append(opts, backoff.WithNotify(f.OnRetry))
	}
	now, err := backoff.Retry(ctx, func() (*entry, error) { return f.download(ctx, u, c, have) }, opts...)
	var last refused
	switch {
	case err == nil && now == have:
		return &Copy{Path: c.blob(have), Name: have.Name, SHA256: have.SHA256, Cached: true}, nil
	case err == nil:
		return &Copy{Path: c.blob(now), Name: now.Name, SHA256: now.SHA256}, nil
	case have != nil && ctx.Err() == nil && !errors.As(err, &last):
		return &Copy{Path: c.blob(have), Name: have.Name, SHA256: have.SHA256, Cached: true,
			Note: "the dataset's server did not answer; the copy in the cache was used"}, nil
	}
	return nil, fmt.Errorf("fetching %s: %w", show(u), err)
}

// refused is a failure that another try would not change.
type refused struct{ error }

func (r refused) Unwrap() error { return r.error }

func final(err error) error { return backoff.Permanent(refused{err}) }

// download makes one try. It returns have when the server says that it holds.
func (f Fetch) download(ctx context.Context, u *url.URL, c cached, have *entry) (*entry, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, final(errors.New("the URL makes no request"))
	}
	if f.Token != "" {
		req.Header.Set("Authorization", "Bearer "+f.Token) // dropped by the client when it is sent to another host
	}
	if have != nil {
		if have.ETag != "" {
			req.Header.Set("If-None-Match", have.ETag)
		}
		if have.LastModified != "" {
			req.Header.Set("If-Modified-Since", have.LastModified)
		}
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment}
	if standard, ok := http.DefaultTransport.(*http.Transport); ok {
		transport = standard.Clone()
	}
	transport.DisableCompression = true // a .gz stays one, whatever the server says of it
	transport.ResponseHeaderTimeout = stalled
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		var where *url.Error // its text holds the whole URL
		if errors.As(err, &where) {
			err = where.Err
		}
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }() // what it held was read or is not wanted
	if resp.StatusCode == http.StatusNotModified && have != nil {
		return have, nil
	}
	if resp.StatusCode != http.StatusOK {
		return nil, refusal(resp)
	}
	return f.keep(resp, u, c)
}

// refusal says whether another try may help.
func refusal(resp *http.Response) error {
	err := fmt.Errorf("the server answered %s", resp.Status)
	switch code := resp.StatusCode; {
	case code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable:
		if wait, ok := retryAfter(resp.Header.Get("Retry-After"), time.Now()); ok {
			return fmt.Errorf("%w: %w", err, backoff.RetryAfter(wait))
		}
		return err
	case code >= 500 || code == http.StatusRequestTimeout || code == http.StatusTooEarly:
		return err
	}
	return final(err)
}

// retryAfter reads the header's seconds or date (RFC 9110, 10.2.3), in whole
// seconds from now.
func retryAfter(value string, now time.Time) (int, bool) {
	if n, err := strconv.Atoi(value); err == nil && n >= 0 {
		return n, true
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	return max(0, int(at.Sub(now).Round(time.Second)/time.Second)), true
}

// keep writes a reply under its hash, whole or not at all.
func (f Fetch) keep(resp *http.Response, u *url.URL, c cached) (*entry, error) {
	most := f.MaxBytes
	if most <= 0 {
		most = defaultMaxBytes
	}
	tooLarge := final(fmt.Errorf("more than %d bytes: %w", most, ErrTooLarge))
	if resp.ContentLength > most {
		return nil, tooLarge
	}
	tmp, err := os.CreateTemp(c.blobs, "new-*")
	if err != nil {
		return nil, final(err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // gone already when it was kept
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(tmp, sum), io.LimitReader(resp.Body, most+1))
	if err == nil {
		err = tmp.Sync()
	}
	err = errors.Join(err, tmp.Close())
	switch {
	case n > most:
		return nil, tooLarge
	case err != nil:
		return nil, fmt.Errorf("after %d bytes: %w", n, err)
	}
	e := &entry{SHA256: hex.EncodeToString(sum.Sum(nil)), Size: n, Name: fileName(u, resp.Header.Get("Content-Disposition")),
		ETag: resp.Header.Get("ETag"), LastModified: resp.Header.Get("Last-Modified")}
	if err := errors.Join(os.Rename(tmp.Name(), c.blob(e)), c.write(e)); err != nil {
		return nil, final(err)
	}
	return e, nil
}

// fileName is what a URL's file is called; it only ever names, and opens
// nothing.
func fileName(u *url.URL, disposition string) string {
	if _, after, ok := strings.Cut(disposition, "filename="); ok {
		name, _, _ := strings.Cut(after, ";")
		if name = path.Base(strings.Trim(name, `" `)); fs.ValidPath(name) && name != "." {
			return name
		}
	}
	if name := path.Base(u.Path); name != "." && name != "/" {
		return name
	}
	return u.Host
}
