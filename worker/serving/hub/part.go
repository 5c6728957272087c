package hub

import (
	"context"
	"crypto/sha1" // git names its blobs so; nothing rests on it but what the hub says anyway
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"time"

	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/task"
)

// errDigest says that a file is not what the hub said it was.
var errDigest = errors.New("the file's digest is wrong")

const (
	// tries of one file, with a pause between them that doubles.
	tries      = 5
	firstPause = time.Second
	// tellEvery is how often a large file's progress is told.
	tellEvery = 10 * time.Second
)

// file fetches one file into the blobs, going on where an earlier try broke
// off.
func (h *Hub) file(ctx context.Context, m task.Model, commit string, f file, token string, tell func(string)) error {
	blob := h.blob(m, &f)
	if _, err := os.Stat(blob); err == nil {
		return nil
	}
	pause := firstPause
	for try := 1; ; try++ {
		err := h.part(ctx, m, commit, f, token, tell)
		switch {
		case err == nil:
			if err := os.Rename(blob+incomplete, blob); err != nil {
				return fmt.Errorf("keeping the file: %w", err)
			}
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, ErrGated), errors.Is(err, ErrMissing), try == tries:
			return err
		}
		tell(fmt.Sprintf("%s: %v; trying again in %v", f.Name, err, pause))
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		}
		pause *= 2
	}
}

const incomplete = ".incomplete"

// part fetches what is missing of a file and verifies the whole.
func (h *Hub) part(ctx context.Context, m task.Model, commit string, f file, token string, tell func(string)) (err error) {
	out, err := os.OpenFile(h.blob(m, &f)+incomplete, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("keeping a part: %w", err)
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	have, err := out.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("reading the part that is there: %w", err)
	}
	if have < f.Size || f.Size == 0 {
		if err := h.receive(ctx, h.address(m, commit, f), token, out, have, f, tell); err != nil {
			return err
		}
	}
	if err := verify(out, f); err != nil {
		// Nothing in it can be trusted: the next try starts anew.
		return errors.Join(err, out.Truncate(0))
	}
	return out.Sync()
}

func (h *Hub) address(m task.Model, commit string, f file) string {
	parts := strings.Split(path.Clean(f.Name), "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return fmt.Sprintf("%s/%s/resolve/%s/%s", h.Endpoint, m.ID, commit, strings.Join(parts, "/"))
}

// receive appends the body of the answer to out.
func (h *Hub) receive(ctx context.Context, target, token string, out *os.File, have int64, f file, tell func(string)) error {
	response, err := h.get(ctx, target, token, have)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if have > 0 && response.StatusCode != http.StatusPartialContent {
		// The server sends the whole file again.
		if err := out.Truncate(0); err != nil {
			return fmt.Errorf("beginning the file anew: %w", err)
		}
		if _, err := out.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("beginning the file anew: %w", err)
		}
		have = 0
	}
	told := time.Now()
	buffer := make([]byte, 1<<20)
	for {
		n, err := response.Body.Read(buffer)
		if _, werr := out.Write(buffer[:n]); werr != nil {
			return fmt.Errorf("keeping a part: %w", werr)
		}
		have += int64(n)
		if time.Since(told) > tellEvery {
			told = time.Now()
			tell(fmt.Sprintf("%s: %s of %s", f.Name, node.Bytes(have), node.Bytes(f.Size)))
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("receiving: %w", err)
		}
	}
}

// verify compares a file with its digest.
func verify(in io.ReadSeeker, f file) error {
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("reading the file again: %w", err)
	}
	var sum hash.Hash
	if f.LFS != nil {
		sum = sha256.New()
	} else {
		sum = sha1.New()
		fmt.Fprintf(sum, "blob %d\x00", f.Size)
	}
	n, err := io.Copy(sum, in)
	if err != nil {
		return fmt.Errorf("reading the file again: %w", err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != f.digest() {
		return fmt.Errorf("%w: %d bytes with %s, not %d with %s", errDigest, n, got, f.Size, f.digest())
	}
	return nil
}
